/** Versions as S3's clients see them. */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import type { Ask } from './testing/harness.ts';

const server = serverOfFile({ limits: { minPartBytes: 8 } });
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
});

async function setVersioning(status: string, more = ''): Promise<number> {
  const body = `<VersioningConfiguration><Status>${status}</Status>${more}</VersioningConfiguration>`;
  return (await server.ask('PUT', `${B}?versioning`, { body })).status;
}

async function put(key: string, body: string, ask: Ask = {}): Promise<string> {
  const { status, headers } = await server.ask('PUT', `${B}/${key}`, { body, ...ask });
  expect(status).toBe(200);
  return String(headers['x-amz-version-id']);
}

const get = (target: string, ask: Ask = {}) => server.ask('GET', `${B}/${target}`, ask);
const remove = (target: string, ask: Ask = {}) => server.ask('DELETE', `${B}/${target}`, ask);

/** `KEY VERSION [latest] [marker]`, in the order of the listing. */
async function listed(query = ''): Promise<string[]> {
  const { text } = await server.ask('GET', `${B}?versions${query}`);
  return [
    ...text.matchAll(
      /<(Version|DeleteMarker)><Key>(.*?)<\/Key><VersionId>(.*?)<\/VersionId><IsLatest>(\w+)</g,
    ),
  ].map(
    ([, kind, key, id, latest]) =>
      `${key} ${id}${latest === 'true' ? ' latest' : ''}${kind === 'DeleteMarker' ? ' marker' : ''}`,
  );
}

describe('a bucket that keeps versions', () => {
  it('says so once it is told, and refuses what it can not keep', async () => {
    const status = async (): Promise<string> =>
      (await server.ask('GET', `${B}?versioning`)).text.replace(/.*?<Status>(\w+)<.*|.*/s, '$1');
    expect(await status()).toBe('');
    expect(await setVersioning('Enabled')).toBe(200);
    expect(await status()).toBe('Enabled');
    expect(await setVersioning('Suspended')).toBe(200);
    expect(await status()).toBe('Suspended');
    expect(await setVersioning('Off')).toBe(400);
    expect(await setVersioning('Enabled', '<MfaDelete>Enabled</MfaDelete>')).toBe(501);
    expect(await setVersioning('Enabled', '<MfaDelete>Disabled</MfaDelete>')).toBe(200);
  });

  it('gives every version by its id, with its own metadata and tags', async () => {
    await setVersioning('Enabled');
    const one = await put('k', 'one', { headers: { 'x-amz-meta-n': '1', 'x-amz-tagging': 'a=1' } });
    const two = await put('k', 'second', { headers: { 'x-amz-meta-n': '2' } });
    expect(one).not.toBe(two);
    const current = await get('k');
    expect([current.text, current.headers['x-amz-version-id']]).toEqual(['second', two]);
    const old = await get(`k?versionId=${one}`);
    expect([old.text, old.headers['x-amz-version-id']]).toEqual(['one', one]);
    expect(old.headers['x-amz-meta-n']).toBe('1');
    const head = await server.ask('HEAD', `${B}/k?versionId=${one}`);
    expect([head.headers['content-length'], head.headers['x-amz-version-id']]).toEqual(['3', one]);
    expect((await get(`k?tagging&versionId=${one}`)).text).toContain('<Value>1</Value>');
    expect((await get('k?tagging')).text).not.toContain('<Value>');
    const tags = '<Tagging><TagSet><Tag><Key>b</Key><Value>9</Value></Tag></TagSet></Tagging>';
    const tagged = await server.ask('PUT', `${B}/k?tagging&versionId=${one}`, { body: tags });
    expect([tagged.status, tagged.headers['x-amz-version-id']]).toEqual([200, one]);
    expect((await get(`k?tagging&versionId=${one}`)).text).toContain('<Value>9</Value>');
    // Also where none is named the answer says which it was.
    for (const [method, target] of [
      ['PUT', 'k?tagging'],
      ['DELETE', 'k?tagging'],
    ] as const) {
      const body = method === 'PUT' ? tags : undefined;
      const answer = await server.ask(method, `${B}/${target}`, { ...(body && { body }) });
      const current = await server.ask('HEAD', `${B}/k`);
      expect(answer.headers['x-amz-version-id']).toBe(current.headers['x-amz-version-id']);
      expect(answer.headers['x-amz-version-id']).not.toBe(one);
    }
    expect((await get('k?tagging')).text).not.toContain('<Value>');
    const attributes = await server.ask('GET', `${B}/k?attributes&versionId=${one}`, {
      headers: { 'x-amz-object-attributes': 'ObjectSize' },
    });
    expect(attributes.text).toContain('<ObjectSize>3</ObjectSize>');
    expect(await listed()).toEqual([`k ${two} latest`, `k ${one}`]);
  });

  it('tells who may list, but not read, of delete markers', async () => {
    await setVersioning('Enabled');
    await server.ask('PUT', `${B}?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    await put('k', 'x');
    await remove('k');
    const answer = await server.ask('GET', `${B}/k`, { as: '' });
    expect(answer).toMatchObject({ status: 404, code: 'NoSuchKey' });
    expect(answer.headers['x-amz-delete-marker']).toBe('true');
  });

  it('tells of versions that are not there, and of ids that can not be', async () => {
    await setVersioning('Enabled');
    const id = await put('k', 'x');
    const other = id.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'));
    expect((await get(`k?versionId=${other}`)).code).toBe('NoSuchVersion');
    expect((await get('k?versionId=null')).code).toBe('NoSuchVersion');
    expect((await get('k?versionId=..%2F')).code).toBe('InvalidArgument');
    expect((await get('k?versionId=')).code).toBe('InvalidArgument');
    expect((await remove(`k?versionId=${other}`)).status).toBe(204);
    const unlike = { headers: { 'if-match': '"x"' } };
    expect((await remove(`k?versionId=${other}`, unlike)).code).toBe('NoSuchKey');
    expect((await remove(`k?versionId=${id}`, unlike)).code).toBe('PreconditionFailed');
    expect((await get('k')).text).toBe('x');
  });

  it('hides an object behind a delete marker, and shows it again without', async () => {
    await setVersioning('Enabled');
    const one = await put('k', 'one');
    const deleted = await remove('k');
    const marker = String(deleted.headers['x-amz-version-id']);
    expect([deleted.status, deleted.headers['x-amz-delete-marker']]).toEqual([204, 'true']);
    const gone = await get('k');
    expect([gone.status, gone.code]).toEqual([404, 'NoSuchKey']);
    expect(gone.headers['x-amz-delete-marker']).toBe('true');
    expect(gone.headers['x-amz-version-id']).toBe(marker);
    const named = await get(`k?versionId=${marker}`);
    expect([named.status, named.code]).toEqual([405, 'MethodNotAllowed']);
    expect(named.headers['x-amz-delete-marker']).toBe('true');
    expect((await server.ask('GET', B)).text).not.toContain('<Contents>');
    expect(await listed()).toEqual([`k ${marker} latest marker`, `k ${one}`]);
    const undone = await remove(`k?versionId=${marker}`);
    expect(undone.headers['x-amz-delete-marker']).toBe('true');
    expect((await get('k')).text).toBe('one');
    expect((await server.ask('GET', B)).text).toContain('<Key>k</Key>');
    expect(await listed()).toEqual([`k ${one} latest`]);
  });

  it('falls back to the newest version that is left', async () => {
    await setVersioning('Enabled');
    const [one, two, three] = [await put('k', '1'), await put('k', '2'), await put('k', '3')];
    expect((await remove(`k?versionId=${two}`)).headers['x-amz-version-id']).toBe(two);
    expect((await get('k')).text).toBe('3');
    await remove(`k?versionId=${three}`);
    expect((await get('k')).text).toBe('1');
    await remove(`k?versionId=${one}`);
    expect((await get('k')).status).toBe(404);
    expect(await listed()).toEqual([]);
    expect((await server.ask('DELETE', B)).status).toBe(204);
  });

  it('keeps what was there before as the null version', async () => {
    expect(await put('k', 'before')).toBe('undefined');
    await setVersioning('Enabled');
    expect(await listed()).toEqual(['k null latest']);
    expect((await get('k')).headers['x-amz-version-id']).toBe('null');
    const two = await put('k', 'two');
    expect((await get('k?versionId=null')).text).toBe('before');
    expect(await listed()).toEqual([`k ${two} latest`, 'k null']);
    await setVersioning('Suspended');
    expect(await put('k', 'suspended')).toBe('null');
    expect((await get('k?versionId=null')).text).toBe('suspended');
    expect(await listed()).toEqual(['k null latest', `k ${two}`]);
    expect((await remove('k')).headers['x-amz-version-id']).toBe('null');
    expect(await listed()).toEqual(['k null latest marker', `k ${two}`]);
    expect((await remove('k?versionId=null')).status).toBe(204);
    expect((await get('k')).text).toBe('two');
  });

  it('copies versions, also over the object that they are of', async () => {
    await setVersioning('Enabled');
    const one = await put('k', 'one');
    await put('k', 'two');
    const headers = { 'x-amz-copy-source': `${B}/k?versionId=${one}` };
    const copied = await server.ask('PUT', `${B}/k`, { headers });
    expect(copied.status).toBe(200);
    expect(copied.headers['x-amz-copy-source-version-id']).toBe(one);
    expect((await get('k')).text).toBe('one');
    const marker = String((await remove('k')).headers['x-amz-version-id']);
    const ofMarker = { 'x-amz-copy-source': `${B}/k?versionId=${marker}` };
    expect((await server.ask('PUT', `${B}/c`, { headers: ofMarker })).code).toBe('InvalidRequest');
    const hidden = { 'x-amz-copy-source': `${B}/k` };
    expect((await server.ask('PUT', `${B}/c`, { headers: hidden })).code).toBe('NoSuchKey');
  });

  it('asks conditions of the current version', async () => {
    await setVersioning('Enabled');
    const absent = { headers: { 'if-none-match': '*' } };
    const one = await put('k', 'one', absent);
    expect((await server.ask('PUT', `${B}/k`, { body: 'x', ...absent })).status).toBe(412);
    const { etag } = (await get('k')).headers;
    const matching = { headers: { 'if-match': etag! } };
    const two = await put('k', 'two', matching);
    expect((await server.ask('PUT', `${B}/k`, { body: 'x', ...matching })).status).toBe(412);
    expect(await listed()).toEqual([`k ${two} latest`, `k ${one}`]);
    await remove('k');
    const three = await put('k', 'three', absent);
    expect((await get('k')).headers['x-amz-version-id']).toBe(three);
  });

  it('deletes many at once, versions and markers too', async () => {
    await setVersioning('Enabled');
    const one = await put('a', 'one');
    await put('b', 'two');
    const object = (key: string, id = ''): string =>
      `<Object><Key>${key}</Key>${id && `<VersionId>${id}</VersionId>`}</Object>`;
    const body = `<Delete>${object('a', one)}${object('b')}${object('c', one)}</Delete>`;
    const { text } = await server.ask('POST', `${B}?delete`, { body });
    expect(text).toContain(`<Deleted><Key>a</Key><VersionId>${one}</VersionId></Deleted>`);
    expect(text).toMatch(
      /<Deleted><Key>b<\/Key><DeleteMarker>true<\/DeleteMarker><DeleteMarkerVersionId>\w+</,
    );
    expect(text).toContain(`<Key>c</Key>`);
    expect(text).not.toContain('<Error>');
    expect((await server.ask('DELETE', B)).code).toBe('BucketNotEmpty');
  });

  it('lists page by page, also when what was listed is deleted meanwhile', async () => {
    await put('a', 'null version');
    await setVersioning('Enabled');
    for (const key of ['a', 'a', 'b/1', 'b/2', 'b/2', 'c', 'd']) await put(key, key);
    await remove('c');
    const all = await listed();
    expect(all).toHaveLength(9);
    for (const deletes of [false, true]) {
      for (const size of deletes ? [2] : [1, 2, 3, 9]) {
        const found: string[] = [];
        let markers = '';
        for (let pages = 0; pages < 20; pages++) {
          const query = `&max-keys=${size}${markers}`;
          const items = await listed(query);
          const { text } = await server.ask('GET', `${B}?versions${query}`);
          found.push(...items);
          if (deletes) {
            for (const item of items) {
              const [key, id] = item.split(' ');
              await remove(`${key}?versionId=${id}`);
            }
          }
          if (text.includes('<IsTruncated>false')) break;
          const key = /<NextKeyMarker>(.*?)</.exec(text)![1]!;
          const id = /<NextVersionIdMarker>(.*?)</.exec(text)![1]!;
          markers = `&key-marker=${encodeURIComponent(key)}&version-id-marker=${id}`;
        }
        const ids = (items: readonly string[]): string[] =>
          items.map((item) => item.split(' ')[1]!);
        expect(ids(found)).toEqual(ids(all));
      }
    }
    expect(await listed()).toEqual([]);
  });

  it('rolls up keys by a delimiter', async () => {
    await setVersioning('Enabled');
    for (const key of ['a', 'b/1', 'b/1', 'b/2', 'c/x/y', 'd']) await put(key, key);
    const { text } = await server.ask('GET', `${B}?versions&delimiter=/`);
    expect(
      [...text.matchAll(/<CommonPrefixes><Prefix>(.+?)<\/Prefix>/g)].map(([, prefix]) => prefix),
    ).toEqual(['b/', 'c/']);
    expect(await listed('&delimiter=/')).toHaveLength(2);
    expect(await listed('&delimiter=/&prefix=b/')).toHaveLength(3);
    expect(await listed('&delimiter=/&key-marker=b/')).toHaveLength(1);
  });

  it('makes a version of an upload, whose parts stay for as long as it does', async () => {
    await setVersioning('Enabled');
    const begun = await server.ask('POST', `${B}/k?uploads`);
    const id = /<UploadId>(\w+)</.exec(begun.text)![1]!;
    const part = await server.ask('PUT', `${B}/k?partNumber=1&uploadId=${id}`, {
      body: 'the part',
    });
    const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers['etag']}</ETag></Part></CompleteMultipartUpload>`;
    const completed = await server.ask('POST', `${B}/k?uploadId=${id}`, { body });
    expect(completed.status).toBe(200);
    const version = String(completed.headers['x-amz-version-id']);
    const repeated = await server.ask('POST', `${B}/k?uploadId=${id}`, { body });
    expect(repeated.status).toBe(200);
    await put('k', 'over');
    expect((await get(`k?versionId=${version}`)).text).toBe('the part');
    expect(await listed()).toHaveLength(2);
  });

  it('keeps what the client encrypted with a key of his own, the null version too', async () => {
    const key = Buffer.alloc(32, 7);
    const secret = {
      'x-amz-server-side-encryption-customer-algorithm': 'AES256',
      'x-amz-server-side-encryption-customer-key': key.toString('base64'),
      'x-amz-server-side-encryption-customer-key-md5': createHash('md5')
        .update(key)
        .digest('base64'),
    };
    await put('k', 'before', { headers: secret });
    await setVersioning('Enabled');
    const one = await put('k', 'one', { headers: secret });
    const two = await put('k', 'two');
    expect((await get('k?versionId=null', { headers: secret })).text).toBe('before');
    expect((await get(`k?versionId=${one}`, { headers: secret })).text).toBe('one');
    expect((await get(`k?versionId=${one}`)).status).toBe(400);
    expect((await get('k')).text).toBe('two');
    await remove(`k?versionId=${two}`);
    expect((await get('k', { headers: secret })).text).toBe('one');
    expect((await server.ask('HEAD', `${B}/k`, { headers: secret })).status).toBe(200);
  });
});
