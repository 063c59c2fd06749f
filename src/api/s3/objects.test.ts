import { createHash, randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import { DOMAIN } from './testing/harness.ts';

const server = serverOfFile();
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
});

const md5 = (body: string | Uint8Array) => createHash('md5').update(body).digest();

describe('an object', () => {
  it('comes back as it was put, with its metadata, and is gone after DELETE', async () => {
    const headers = {
      'content-type': 'text/plain',
      'content-encoding': 'gzip',
      'cache-control': 'no-cache',
      'x-amz-meta-color': 'blue',
      'x-amz-meta-empty': '',
    };
    const put = await server.ask('PUT', `${B}/key`, { body: 'hello', headers });
    expect(put.status).toBe(200);
    expect(put.headers.etag).toBe(`"${md5('hello').toString('hex')}"`);
    const got = await server.ask('GET', `${B}/key`);
    expect(got).toMatchObject({ status: 200, text: 'hello' });
    expect(got.headers).toMatchObject({
      ...headers,
      etag: put.headers.etag,
      'content-length': '5',
    });
    expect((await server.ask('DELETE', `${B}/key`)).status).toBe(204);
    expect(await server.ask('GET', `${B}/key`)).toMatchObject({ status: 404, code: 'NoSuchKey' });
    expect((await server.ask('DELETE', `${B}/key`)).status).toBe(204);
  });

  it('has metadata of any language, and one header several times is one list', async () => {
    const meta = (value: string) => ({ headers: { 'x-amz-meta-m': value } });
    const shown = async () => (await server.ask('HEAD', `${B}/m`)).headers['x-amz-meta-m'];
    await server.ask('PUT', `${B}/m`, meta(Buffer.from('größe').toString('latin1')));
    expect(await shown()).toBe(`=?UTF-8?B?${Buffer.from('größe').toString('base64')}?=`);
    await server.ask('PUT', `${B}/m`, meta('=?UTF-8?Q?=C3=A4?= b'));
    expect(await shown()).toBe(`=?UTF-8?B?${Buffer.from('ä b').toString('base64')}?=`);
    const signed = server.signed('PUT', `${B}/m`, meta('fred,barney'));
    const twice = { ...signed, 'x-amz-meta-m': ['fred', 'barney'] as unknown as string };
    expect((await server.ask('PUT', `${B}/m`, { as: '', headers: twice, body: '' })).status).toBe(
      200,
    );
    expect(await shown()).toBe('fred,barney');
  });

  it.each([
    'a//b',
    'a/../b',
    './x',
    'ü ☃',
    '%2e%2e',
    'a+b',
    'x?y#z',
    ' ',
    '/lead',
    'tail/',
    '\u0001',
  ])('may be called %j', async (key) => {
    const target = `${B}/${encodeURIComponent(key)}`;
    expect((await server.ask('PUT', target, { body: key })).status).toBe(200);
    expect((await server.ask('GET', target)).text).toBe(key);
    const listed = await server.ask('GET', `${B}?list-type=2&encoding-type=url`);
    const [, shown = ''] = /<Key>([^<]*)<\/Key>/.exec(listed.text) ?? [];
    expect(decodeURIComponent(shown.replaceAll('+', ' '))).toBe(key);
  });

  it('has a key of at most 1,024 bytes', async () => {
    expect((await server.ask('PUT', `${B}/${'k'.repeat(1024)}`, { body: '' })).status).toBe(200);
    const long = await server.ask('PUT', `${B}/${'k'.repeat(1025)}`, { body: '' });
    expect(long).toMatchObject({ status: 400, code: 'KeyTooLongError' });
  });

  it('has at most 2 KiB of metadata', async () => {
    const headers = { 'x-amz-meta-a': 'x'.repeat(2048) };
    const answer = await server.ask('PUT', `${B}/k`, { body: '', headers });
    expect(answer).toMatchObject({ status: 400, code: 'MetadataTooLarge' });
  });

  it('is read by ranges', async () => {
    await server.ask('PUT', `${B}/k`, { body: '0123456789' });
    const get = (range: string) => server.ask('GET', `${B}/k`, { headers: { range } });
    expect(await get('bytes=2-4')).toMatchObject({ status: 206, text: '234' });
    expect((await get('bytes=-3')).headers['content-range']).toBe('bytes 7-9/10');
    expect(await get('bytes=20-')).toMatchObject({ status: 416, code: 'InvalidRange' });
    expect(await get('bytes=x')).toMatchObject({ status: 200, text: '0123456789' });
    const several = await get('bytes=0-1,8-9');
    expect(several.status).toBe(206);
    expect(several.headers['content-type']).toMatch(/^multipart\/byteranges; boundary=/);
    expect(several.text).toContain('Content-Range: bytes 8-9/10\r\n\r\n89');
    expect(String(several.body.length)).toBe(several.headers['content-length']);
  });

  it('is answered as response-* parameters ask, for who signed', async () => {
    await server.ask('PUT', `${B}/k`, { body: 'x' });
    const target = `${B}/k?response-content-type=a%2Fb&response-cache-control=no-store`;
    const answer = await server.ask('GET', target);
    expect(answer.headers).toMatchObject({ 'content-type': 'a/b', 'cache-control': 'no-store' });
    await server.ask('PUT', `${B}/k?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    expect(await server.ask('GET', target, { as: '' })).toMatchObject({ code: 'InvalidRequest' });
    const split = await server.ask('GET', `${B}/k?response-content-type=a%0d%0aX-Evil:%201`);
    expect(split.status).toBe(400);
  });

  it('obeys the conditions of reads', async () => {
    const { etag = '' } = (await server.ask('PUT', `${B}/k`, { body: 'x' })).headers;
    const get = (headers: Record<string, string>) => server.ask('GET', `${B}/k`, { headers });
    const past = 'Wed, 21 Oct 2015 07:28:00 GMT';
    expect((await get({ 'if-match': etag })).status).toBe(200);
    expect(await get({ 'if-match': '"other"' })).toMatchObject({ code: 'PreconditionFailed' });
    expect((await get({ 'if-none-match': etag })).status).toBe(304);
    expect((await get({ 'if-none-match': '"other"' })).status).toBe(200);
    expect((await get({ 'if-modified-since': past })).status).toBe(200);
    expect((await get({ 'if-unmodified-since': past })).status).toBe(412);
    expect((await get({ 'if-match': etag, 'if-unmodified-since': past })).status).toBe(200);
  });

  it('obeys the conditions of writes, and refuses those it does not know', async () => {
    const put = (headers: Record<string, string>, key = 'k') =>
      server.ask('PUT', `${B}/${key}`, { body: 'x', headers });
    expect((await put({ 'if-none-match': '*' })).status).toBe(200);
    expect(await put({ 'if-none-match': '*' })).toMatchObject({ code: 'PreconditionFailed' });
    const { etag = '' } = (await put({})).headers;
    expect((await put({ 'if-match': etag })).status).toBe(200);
    expect(await put({ 'if-match': '"other"' })).toMatchObject({ status: 412 });
    expect(await put({ 'if-match': etag }, 'absent')).toMatchObject({ code: 'NoSuchKey' });
    expect(await put({ 'if-none-match': etag })).toMatchObject({ code: 'NotImplemented' });
    expect(await put({ 'if-unmodified-since': 'Wed, 21 Oct 2015 07:28:00 GMT' })).toMatchObject({
      code: 'NotImplemented',
    });
    const remove = (headers: Record<string, string>) => server.ask('DELETE', `${B}/k`, { headers });
    expect(await remove({ 'if-match': '"other"' })).toMatchObject({ status: 412 });
    expect(await remove({ 'x-amz-if-match-size': '2' })).toMatchObject({ status: 412 });
    expect((await remove({ 'if-match': etag })).status).toBe(204);
    expect(await remove({ 'if-match': etag })).toMatchObject({ code: 'NoSuchKey' });
  });

  it('has one version, the null version', async () => {
    await server.ask('PUT', `${B}/k`, { body: 'x' });
    expect((await server.ask('GET', `${B}/k?versionId=null`)).text).toBe('x');
    const other = await server.ask('GET', `${B}/k?versionId=${'0'.repeat(30)}`);
    expect(other).toMatchObject({ status: 404, code: 'NoSuchVersion' });
    expect((await server.ask('GET', `${B}?versions`)).text).toContain(
      '<VersionId>null</VersionId>',
    );
  });

  it('has tags of its own, set with it or alone', async () => {
    await server.ask('PUT', `${B}/k`, { body: 'x', headers: { 'x-amz-tagging': 'a=1&b=%C3%BC' } });
    expect((await server.ask('HEAD', `${B}/k`)).headers['x-amz-tagging-count']).toBe('2');
    expect((await server.ask('GET', `${B}/k?tagging`)).text).toContain('<Value>ü</Value>');
    const xml = '<Tagging><TagSet><Tag><Key>c</Key><Value></Value></Tag></TagSet></Tagging>';
    expect((await server.ask('PUT', `${B}/k?tagging`, { body: xml })).status).toBe(200);
    expect((await server.ask('GET', `${B}/k?tagging`)).text).not.toContain('<Key>a<');
    expect((await server.ask('GET', `${B}/k`)).text).toBe('x');
    expect((await server.ask('DELETE', `${B}/k?tagging`)).status).toBe(204);
    expect((await server.ask('GET', `${B}/k?tagging`)).text).toContain('<TagSet></TagSet>');
    const empty = { body: 'x', headers: { 'x-amz-tagging': '' } };
    expect((await server.ask('PUT', `${B}/k2`, empty)).status).toBe(200);
    const twice = xml.replace('</TagSet>', '<Tag><Key>c</Key><Value/></Tag></TagSet>');
    expect(await server.ask('PUT', `${B}/k?tagging`, { body: twice })).toMatchObject({
      code: 'InvalidTag',
    });
  });

  it('is copied, with its own or new metadata, never onto itself unchanged', async () => {
    const headers = { 'x-amz-meta-a': '1', 'content-type': 'a/b', 'x-amz-tagging': 't=1' };
    await server.ask('PUT', `${B}/k%20%2B`, { body: 'content', headers });
    const copy = (to: string, more: Record<string, string> = {}) =>
      server.ask('PUT', `${B}/${to}`, {
        headers: { 'x-amz-copy-source': `${B}/k%20%2B`, ...more },
      });
    expect((await copy('copy')).text).toContain(
      `<ETag>&quot;${md5('content').toString('hex')}&quot;`,
    );
    const got = await server.ask('GET', `${B}/copy`);
    expect(got).toMatchObject({ text: 'content' });
    expect(got.headers).toMatchObject({ 'x-amz-meta-a': '1', 'content-type': 'a/b' });
    expect(got.headers['x-amz-tagging-count']).toBe('1');
    await copy('new', { 'x-amz-metadata-directive': 'REPLACE', 'x-amz-meta-b': '2' });
    const replaced = (await server.ask('HEAD', `${B}/new`)).headers;
    expect(replaced).toMatchObject({ 'x-amz-meta-b': '2' });
    expect(replaced['x-amz-meta-a']).toBeUndefined();
    expect(await copy('k%20%2B')).toMatchObject({ status: 400, code: 'InvalidRequest' });
    const touched = await copy('k%20%2B', { 'x-amz-metadata-directive': 'REPLACE' });
    expect(touched.status).toBe(200);
    expect(await copy('x', { 'x-amz-copy-source-if-match': '"no"' })).toMatchObject({
      status: 412,
    });
    expect(await copy('x', { 'x-amz-copy-source': `${B}/nothing` })).toMatchObject({ status: 404 });
    expect(await copy('x', { 'x-amz-copy-source': 'nothing' })).toMatchObject({ status: 400 });
  });

  it('of another storage class than its bucket has is refused', async () => {
    const put = (name: string) =>
      server.ask('PUT', `${B}/k`, { body: '', headers: { 'x-amz-storage-class': name } });
    expect((await put('STANDARD')).status).toBe(200);
    expect(await put('GLACIER')).toMatchObject({ status: 400, code: 'InvalidStorageClass' });
  });

  it('tells its attributes', async () => {
    await server.ask('PUT', `${B}/k`, { body: 'x' });
    const ask = (names: string) =>
      server.ask('GET', `${B}/k?attributes`, { headers: { 'x-amz-object-attributes': names } });
    const { text } = await ask('ETag,ObjectSize,Checksum,StorageClass');
    expect(text).toContain(`<ETag>${md5('x').toString('hex')}</ETag>`);
    expect(text).toContain('<ObjectSize>1</ObjectSize>');
    expect(text).toMatch(/<ChecksumCRC64NVME>[^<]+<.*FULL_OBJECT/);
    expect(await ask('Nonsense')).toMatchObject({ status: 400, code: 'InvalidArgument' });
  });
});

describe('DeleteObjects', () => {
  it('deletes what is named and says what became of each', async () => {
    for (const key of ['a', 'b', 'c']) await server.ask('PUT', `${B}/${key}`, { body: key });
    const object = (key: string, more = '') => `<Object><Key>${key}</Key>${more}</Object>`;
    const body = `<Delete>${object('a')}${object('none')}${object('c', '<ETag>"no"</ETag>')}</Delete>`;
    const { text } = await server.ask('POST', `${B}?delete`, { body });
    expect(text).toContain('<Deleted><Key>a</Key></Deleted><Deleted><Key>none</Key></Deleted>');
    expect(text).toContain('<Error><Key>c</Key><Code>PreconditionFailed</Code>');
    expect((await server.ask('GET', `${B}/b`)).status).toBe(200);
    const quiet = `<Delete><Quiet>true</Quiet>${object('b')}</Delete>`;
    expect((await server.ask('POST', `${B}?delete`, { body: quiet })).text).not.toContain(
      'Deleted>',
    );
    const many = `<Delete>${object('x').repeat(1001)}</Delete>`;
    expect(await server.ask('POST', `${B}?delete`, { body: many })).toMatchObject({
      code: 'MalformedXML',
    });
  });
});

describe('a bucket', () => {
  it('belongs to who made it, everywhere', async () => {
    const again = await server.ask('PUT', B);
    expect(again).toMatchObject({ status: 409, code: 'BucketAlreadyOwnedByYou' });
    const other = await server.ask('PUT', B, { as: 'stranger' });
    expect(other).toMatchObject({ status: 409, code: 'BucketAlreadyExists' });
    expect(await server.ask('GET', B, { as: 'stranger' })).toMatchObject({ status: 403 });
    expect(await server.ask('GET', B, { as: '' })).toMatchObject({ status: 403 });
    await server.ask('PUT', `${B}/k`, { body: '' });
    expect(await server.ask('DELETE', B)).toMatchObject({ status: 409, code: 'BucketNotEmpty' });
    await server.ask('DELETE', `${B}/k`);
    expect((await server.ask('DELETE', B)).status).toBe(204);
    expect((await server.ask('HEAD', B)).status).toBe(404);
    expect((await server.ask('PUT', B, { as: 'stranger' })).status).toBe(200);
  });

  it.each(['ab', 'Upper', 'under_score', '1.2.3.4', 'a..b', '-a-', 'x'.repeat(64), 'xn--abc'])(
    'may not be called %s',
    async (name) => {
      const answer = await server.ask('PUT', `/${name}`);
      expect(answer).toMatchObject({ status: 400, code: 'InvalidBucketName' });
    },
  );

  it('is named by the host, too', async () => {
    const host = `${B.slice(1)}.${DOMAIN}`;
    expect((await server.ask('PUT', '/k', { host, body: 'x' })).status).toBe(200);
    expect((await server.ask('GET', `${B}/k`)).text).toBe('x');
    expect((await server.ask('GET', '/', { host })).text).toContain('<Key>k</Key>');
  });

  it('is open to whom its ACL and those of its objects name', async () => {
    await server.ask('PUT', `${B}/k`, { body: 'x' });
    const as = { as: 'stranger' };
    expect((await server.ask('GET', `${B}/k`, as)).status).toBe(403);
    await server.ask('PUT', `${B}?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    expect((await server.ask('GET', B, { as: '' })).status).toBe(200);
    expect((await server.ask('GET', `${B}/k`, { as: '' })).status).toBe(403);
    await server.ask('PUT', `${B}/k?acl`, { headers: { 'x-amz-acl': 'authenticated-read' } });
    expect((await server.ask('GET', `${B}/k`, as)).text).toBe('x');
    expect((await server.ask('GET', `${B}/k`, { as: '' })).status).toBe(403);
    const { text } = await server.ask('GET', `${B}/k?acl`);
    expect(text).toContain('AuthenticatedUsers</URI></Grantee><Permission>READ');
    const put = await server.ask('PUT', `${B}/k?acl`, { body: text.replace('READ', 'READ_ACP') });
    expect(put.status).toBe(200);
    expect((await server.ask('GET', `${B}/k`, as)).status).toBe(403);
    expect((await server.ask('GET', `${B}/k?acl`, as)).status).toBe(200);
  });

  it('answers for every configuration that it does not have', async () => {
    const codes = await Promise.all(
      ['policy', 'cors', 'lifecycle', 'website', 'encryption', 'publicAccessBlock', 'object-lock']
        .concat(['ownershipControls', 'replication', 'tagging'])
        .map(async (name) => (await server.ask('GET', `${B}?${name}`)).code),
    );
    expect(codes).toEqual([
      'NoSuchBucketPolicy',
      'NoSuchCORSConfiguration',
      'NoSuchLifecycleConfiguration',
      'NoSuchWebsiteConfiguration',
      'ServerSideEncryptionConfigurationNotFoundError',
      'NoSuchPublicAccessBlockConfiguration',
      'ObjectLockConfigurationNotFoundError',
      'OwnershipControlsNotFoundError',
      'ReplicationConfigurationNotFoundError',
      'NoSuchTagSet',
    ]);
    for (const name of ['versioning', 'logging', 'notification', 'accelerate', 'requestPayment']) {
      expect((await server.ask('GET', `${B}?${name}`)).status).toBe(200);
    }
  });

  it('downloads of 5 MiB arrive whole', async () => {
    const body = randomBytes(5 * 1024 * 1024);
    await server.ask('PUT', `${B}/big`, { body });
    expect((await server.ask('GET', `${B}/big`)).body.equals(body)).toBe(true);
  });
});
