import { createHash, randomBytes } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NodeClock } from '#env/node/clock.ts';
import { NodeRandom } from '#env/node/random.ts';
import { PARTS_ACCOUNT } from '#proxy/multipart/names.ts';
import { Sweeper } from '#proxy/multipart/sweeper.ts';
import type { State } from '#state/state.ts';
import { Checksums } from './checksums.ts';
import { serverOfFile } from './testing/file-server.ts';
import type { Ask } from './testing/harness.ts';
import { memoryState } from './testing/memory-state.ts';

/** Parts may be this small here. */
const MIN = 8;

const server = serverOfFile({ limits: { minPartBytes: MIN } });
let checksums: Checksums;
let B = '';

beforeAll(async () => {
  checksums = await Checksums.create();
});
beforeEach(async () => {
  B = await server.freshBucket();
});

async function begin(key: string, headers: Record<string, string> = {}): Promise<string> {
  const { text } = await server.ask('POST', `${B}/${key}?uploads`, { headers });
  return /<UploadId>(\w+)</.exec(text)![1]!;
}

function put(key: string, id: string, number: number, body: string, headers = {}) {
  return server.ask('PUT', `${B}/${key}?partNumber=${number}&uploadId=${id}`, { body, headers });
}

const etagOf = (body: string): string => createHash('md5').update(body).digest('hex');

function partXml(number: number, body: string, more = ''): string {
  return `<Part><PartNumber>${number}</PartNumber><ETag>"${etagOf(body)}"</ETag>${more}</Part>`;
}

function complete(key: string, id: string, parts: readonly string[], more: Ask = {}) {
  const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
  return server.ask('POST', `${B}/${key}?uploadId=${id}`, { ...more, body });
}

/** Names of everything that is kept for uploads. */
function kept(): string[] {
  const all = [...server.store.containers].filter(([path]) =>
    path.startsWith(`/${PARTS_ACCOUNT}/`),
  );
  return all
    .filter(([path]) => path.endsWith(B.slice(1)))
    .flatMap(([, container]) => [...container.objects.keys()]);
}

async function sweep(): Promise<void> {
  const env = {
    clock: new NodeClock(),
    random: new NodeRandom(),
    log: { debug() {}, info() {}, warn() {}, error() {}, with: () => env.log } as never,
  };
  const state: Pick<State, 'txn' | 'grantLease' | 'keepAlive'> = {
    ...memoryState(),
    grantLease: async () => 'lease',
    keepAlive: async () => true,
  };
  const sweeper = new Sweeper({ env, store: server.store, state, name: 'test' });
  const { signal } = new AbortController();
  while ((await sweeper.step(signal)).kind === 'more');
}

describe('an upload in parts', () => {
  it('becomes the object that its parts make, in their order, with its metadata', async () => {
    const id = await begin('k', { 'x-amz-meta-a': '1', 'content-type': 'a/b' });
    const parts = ['1'.repeat(10), '2'.repeat(9), '3'];
    await put('k', id, 20, parts[2]!);
    await put('k', id, 1, 'overwritten later');
    await put('k', id, 3, parts[1]!);
    await put('k', id, 1, parts[0]!);
    const done = await complete(
      'k',
      id,
      [1, 3, 20].map((n, i) => partXml(n, parts[i]!)),
    );
    expect(done.status, done.text).toBe(200);
    const got = await server.ask('GET', `${B}/k`);
    expect(got.text).toBe(parts.join(''));
    const digests = parts.map((part) => Buffer.from(etagOf(part), 'hex'));
    const etag = createHash('md5').update(Buffer.concat(digests)).digest('hex');
    expect(got.headers).toMatchObject({
      ...{ etag: `"${etag}-3"`, 'x-amz-meta-a': '1', 'content-type': 'a/b' },
    });
    const range = { headers: { range: 'bytes=8-11' } };
    expect((await server.ask('GET', `${B}/k`, range)).text).toBe('1122');
    const second = await server.ask('GET', `${B}/k?partNumber=2`);
    expect(second).toMatchObject({ status: 206, text: parts[1] });
    expect(second.headers['x-amz-mp-parts-count']).toBe('3');
    expect(await server.ask('GET', `${B}/k?partNumber=4`)).toMatchObject({ status: 416 });
    expect((await server.ask('GET', B)).text).toContain('<Size>20</Size>');
    // The part that was sent twice is gone at once, and the upload too.
    expect(kept().filter((name) => name.startsWith('p/'))).toHaveLength(3);
    expect(kept().filter((name) => name.startsWith('u/'))).toHaveLength(0);
  });

  it('tells the checksums of its parts afterwards', async () => {
    const id = await begin('k', { 'x-amz-checksum-algorithm': 'SHA256' });
    const bodies = ['1'.repeat(9), '2'];
    const sums = await Promise.all(bodies.map((b) => checksums.of('sha256', Buffer.from(b))));
    for (const [i, body] of bodies.entries()) {
      await put('k', id, i + 1, body, { 'x-amz-checksum-sha256': sums[i]! });
    }
    const named = bodies.map((body, i) =>
      partXml(i + 1, body, `<ChecksumSHA256>${sums[i]}</ChecksumSHA256>`),
    );
    expect((await complete('k', id, named)).status).toBe(200);
    const attributes = await server.ask('GET', `${B}/k?attributes`, {
      headers: { 'x-amz-object-attributes': 'ObjectParts' },
    });
    for (const sum of sums) {
      expect(attributes.text).toContain(`<ChecksumSHA256>${sum}</ChecksumSHA256></Part>`);
    }
    const headers = { 'x-amz-checksum-mode': 'ENABLED' };
    for (const method of ['GET', 'HEAD']) {
      const second = await server.ask(method, `${B}/k?partNumber=2`, { headers });
      expect(second.headers['x-amz-checksum-sha256']).toBe(sums[1]);
      expect(second.headers['x-amz-checksum-type']).toBe('COMPOSITE');
    }
  });

  it('lists behind those of its key that began before it', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await begin('k'));
    const listed = async (query: string) =>
      [...(await server.ask('GET', `${B}?uploads${query}`)).text.matchAll(/<UploadId>(\w+)</g)].map(
        ([, id]) => id,
      );
    expect(await listed('')).toEqual(ids);
    const after = `&key-marker=k&upload-id-marker=${ids[1]}&max-uploads=2`;
    expect(await listed(after)).toEqual(ids.slice(2, 4));
  });

  it('is listed with who began it and how it is checked', async () => {
    await begin('a');
    await begin('b', { 'x-amz-checksum-algorithm': 'crc32', 'x-amz-checksum-type': 'full_object' });
    const { text } = await server.ask('GET', `${B}?uploads`);
    const [plain, checked] = text.split('</Upload>');
    expect(plain).toContain('<Initiator><ID>u1</ID></Initiator>');
    expect(plain).not.toContain('Checksum');
    expect(checked).toContain('<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>');
    expect(checked).toContain('<ChecksumType>FULL_OBJECT</ChecksumType>');
  });

  it('is aborted by who knows when it began', async () => {
    const id = await begin('k');
    const abort = (time: string) =>
      server.ask('DELETE', `${B}/k?uploadId=${id}`, {
        headers: { 'x-amz-if-match-initiated-time': time },
      });
    expect((await abort('Sat, 29 Oct 1994 19:43:31 GMT')).status).toBe(412);
    expect((await abort('junk')).status).toBe(400);
    const { text } = await server.ask('GET', `${B}?uploads`);
    const begun = new Date(/<Initiated>([^<]+)</.exec(text)![1]!).toUTCString();
    expect((await abort(begun)).status).toBe(204);
  });

  it('may be completed again, with the same answer', async () => {
    const id = await begin('k');
    await put('k', id, 1, 'x');
    const first = await complete('k', id, [partXml(1, 'x')]);
    const again = await complete('k', id, [partXml(1, 'x')]);
    expect(again).toMatchObject({ status: 200, text: first.text });
    await server.ask('PUT', `${B}/k`, { body: 'newer' });
    expect(await complete('k', id, [partXml(1, 'x')])).toMatchObject({ code: 'NoSuchUpload' });
    expect((await server.ask('GET', `${B}/k`)).text).toBe('newer');
  });

  it('completed many times at once is one object', async () => {
    const id = await begin('k');
    await put('k', id, 1, 'x'.repeat(MIN));
    await put('k', id, 2, 'y');
    const both = [partXml(1, 'x'.repeat(MIN)), partXml(2, 'y')];
    const answers = await Promise.all(
      [both, both.slice(0, 1), both].map((p) => complete('k', id, p)),
    );
    for (const { status } of answers) expect([200, 404]).toContain(status);
    const { text, status } = await server.ask('GET', `${B}/k`);
    expect(status).toBe(200);
    expect(['x'.repeat(MIN), `${'x'.repeat(MIN)}y`]).toContain(text);
    await sweep();
    expect((await server.ask('GET', `${B}/k`)).text).toBe(text);
  });

  it('is refused when what is named is not what is there', async () => {
    const id = await begin('k');
    await put('k', id, 1, 'small');
    await put('k', id, 2, 'x'.repeat(MIN));
    const one = partXml(1, 'small');
    const two = partXml(2, 'x'.repeat(MIN));
    expect(await complete('k', id, [two, one])).toMatchObject({ code: 'InvalidPartOrder' });
    expect(await complete('k', id, [one, two])).toMatchObject({ code: 'EntityTooSmall' });
    expect(await complete('k', id, [partXml(2, 'other')])).toMatchObject({ code: 'InvalidPart' });
    expect(await complete('k', id, [partXml(3, 'x')])).toMatchObject({ code: 'InvalidPart' });
    expect(await complete('k', id, [])).toMatchObject({ code: 'MalformedXML' });
    expect(await complete('k', '0'.repeat(48), [one])).toMatchObject({ code: 'NoSuchUpload' });
    const none = partXml(0, 'x');
    expect(await complete('k', id, [none])).toMatchObject({ code: 'InvalidArgument' });
    const negative = { headers: { 'x-amz-mp-object-size': '-1' } };
    expect(await complete('k', id, [one], negative)).toMatchObject({ code: 'InvalidRequest' });
    expect(await complete('k', 'nonsense', [one])).toMatchObject({ code: 'NoSuchUpload' });
    const size = { headers: { 'x-amz-mp-object-size': '9' } };
    expect(await complete('k', id, [two], size)).toMatchObject({ code: 'InvalidRequest' });
    expect((await server.ask('HEAD', `${B}/k`)).status).toBe(404);
    expect((await complete('k', id, [two])).status).toBe(200);
  });

  it('obeys conditions when it is completed', async () => {
    await server.ask('PUT', `${B}/k`, { body: 'there' });
    const id = await begin('k');
    await put('k', id, 1, 'x');
    const absent = { headers: { 'if-none-match': '*' } };
    expect(await complete('k', id, [partXml(1, 'x')], absent)).toMatchObject({ status: 412 });
    expect((await server.ask('GET', `${B}/k`)).text).toBe('there');
    const match = { headers: { 'if-match': `"${etagOf('there')}"` } };
    expect((await complete('k', id, [partXml(1, 'x')], match)).status).toBe(200);
  });

  it('that is aborted leaves nothing, and takes no parts any more', async () => {
    const id = await begin('k');
    await put('k', id, 1, 'x');
    expect((await server.ask('DELETE', `${B}/k?uploadId=${id}`)).status).toBe(204);
    expect(kept()).toEqual([]);
    expect(await put('k', id, 2, 'y')).toMatchObject({ status: 404, code: 'NoSuchUpload' });
    expect(await server.ask('DELETE', `${B}/k?uploadId=${id}`)).toMatchObject({ status: 404 });
  });

  it('lists its parts by pages', async () => {
    const id = await begin('k');
    for (const number of [1, 2, 3]) await put('k', id, number, `part ${number}`);
    const list = (query: string) => server.ask('GET', `${B}/k?uploadId=${id}&${query}`);
    const { text } = await list('max-parts=2');
    expect(text).toMatch(/<PartNumber>1<.*<PartNumber>2</);
    expect(text).toContain('<NextPartNumberMarker>2</NextPartNumberMarker>');
    expect(text).toContain('<IsTruncated>true</IsTruncated>');
    expect((await list('part-number-marker=2')).text).not.toContain('<PartNumber>2<');
  });

  it('takes parts out of objects', async () => {
    await server.ask('PUT', `${B}/source`, { body: '0123456789' });
    const id = await begin('k');
    const copy = (number: number, range?: string) =>
      server.ask('PUT', `${B}/k?partNumber=${number}&uploadId=${id}`, {
        headers: {
          'x-amz-copy-source': `${B}/source`,
          ...(range !== undefined && { 'x-amz-copy-source-range': range }),
        },
      });
    expect((await copy(1)).text).toContain(etagOf('0123456789'));
    expect((await copy(2, 'bytes=3-4')).text).toContain(etagOf('34'));
    expect(await copy(3, 'bytes=3-10')).toMatchObject({ status: 400, code: 'InvalidArgument' });
    expect(await copy(3, 'bytes=4-3')).toMatchObject({ status: 400, code: 'InvalidArgument' });
    await complete('k', id, [partXml(1, '0123456789'), partXml(2, '34')]);
    expect((await server.ask('GET', `${B}/k`)).text).toBe('012345678934');
  });

  it.each([1, 2, 10_000])('has a part number %d', async (number) => {
    expect((await put('k', await begin('k'), number, 'x')).status).toBe(200);
  });

  it.each([0, 10_001])('has no part number %d', async (number) => {
    expect(await put('k', await begin('k'), number, 'x')).toMatchObject({
      code: 'InvalidArgument',
    });
  });
});

describe('checksums of an upload', () => {
  const parts = ['a'.repeat(20), 'b'.repeat(30)];
  const whole = Buffer.from(parts.join(''));

  async function uploaded(algorithm: 'crc32' | 'crc64nvme' | 'sha256', type: string) {
    const id = await begin('k', {
      'x-amz-checksum-algorithm': algorithm.toUpperCase(),
      'x-amz-checksum-type': type,
    });
    const named: string[] = [];
    for (const [i, part] of parts.entries()) {
      const value = await checksums.of(algorithm, Buffer.from(part));
      await put('k', id, i + 1, part, { [`x-amz-checksum-${algorithm}`]: value });
      const element = `Checksum${algorithm.toUpperCase()}`;
      named.push(partXml(i + 1, part, `<${element}>${value}</${element}>`));
    }
    return { id, named };
  }

  it.each(['crc32', 'crc64nvme'] as const)('of the full object: %s', async (algorithm) => {
    const { id, named } = await uploaded(algorithm, 'FULL_OBJECT');
    const header = `x-amz-checksum-${algorithm}`;
    const wrong = { headers: { [header]: await checksums.of(algorithm, Buffer.from('no')) } };
    expect(await complete('k', id, named, wrong)).toMatchObject({ code: 'BadDigest' });
    const value = await checksums.of(algorithm, whole);
    const done = await complete('k', id, named, { headers: { [header]: value } });
    expect(done.text).toContain(`>${value}</Checksum${algorithm.toUpperCase()}>`);
    const mode = { headers: { 'x-amz-checksum-mode': 'ENABLED' } };
    const { headers } = await server.ask('HEAD', `${B}/k`, mode);
    expect(headers[header]).toBe(value);
    expect(headers['x-amz-checksum-type']).toBe('FULL_OBJECT');
  });

  it('composite: the checksum of the checksums, and their number', async () => {
    const { id, named } = await uploaded('sha256', 'COMPOSITE');
    const without = parts.map((part, i) => partXml(i + 1, part));
    expect(await complete('k', id, without)).toMatchObject({ code: 'InvalidRequest' });
    const values = await Promise.all(
      parts.map((part) => checksums.of('sha256', Buffer.from(part))),
    );
    const joined = Buffer.concat(values.map((value) => Buffer.from(value, 'base64')));
    const expected = `${await checksums.of('sha256', joined)}-2`;
    expect((await complete('k', id, named)).text).toContain(expected);
  });

  it('must be of the kind that the upload was begun with', async () => {
    const id = await begin('k', { 'x-amz-checksum-algorithm': 'SHA256' });
    expect(await put('k', id, 1, 'x')).toMatchObject({ code: 'InvalidRequest' });
    const crc32 = await checksums.of('crc32', Buffer.from('x'));
    const other = await put('k', id, 1, 'x', { 'x-amz-checksum-crc32': crc32 });
    expect(other).toMatchObject({ code: 'InvalidRequest' });
    const ask = (headers: Record<string, string>) =>
      server.ask('POST', `${B}/k?uploads`, { headers });
    const full = { 'x-amz-checksum-algorithm': 'SHA1', 'x-amz-checksum-type': 'FULL_OBJECT' };
    expect(await ask(full)).toMatchObject({ code: 'InvalidRequest' });
    const composite = { ...full, 'x-amz-checksum-algorithm': 'CRC64NVME' };
    expect(await ask({ ...composite, 'x-amz-checksum-type': 'COMPOSITE' })).toMatchObject({
      code: 'InvalidRequest',
    });
  });
});

describe('an upload that was begun without a checksum', () => {
  it('takes parts with any, checks them, and has the CRC of the whole', async () => {
    const id = await begin('k');
    const parts = ['first part', 'second'];
    const named: string[] = [];
    for (const [i, body] of parts.entries()) {
      const value = await checksums.of('crc32', Buffer.from(body));
      const header = { 'x-amz-checksum-crc32': value };
      const wrong = await put('k', id, i + 1, `${body}!`, header);
      expect(wrong).toMatchObject({ code: 'BadDigest' });
      const { status, headers } = await put('k', id, i + 1, body, header);
      expect([status, headers['x-amz-checksum-crc32']]).toEqual([200, value]);
      named.push(partXml(i + 1, body, `<ChecksumCRC32>${value}</ChecksumCRC32>`));
    }
    const lie = named.map((xml) => xml.replace(/<ChecksumCRC32>[^<]*/, '<ChecksumCRC32>AAAAAA=='));
    expect(await complete('k', id, lie)).toMatchObject({ code: 'InvalidPart' });
    const whole = await checksums.of('crc64nvme', Buffer.from(parts.join('')));
    expect((await complete('k', id, named)).text).toContain(`>${whole}</ChecksumCRC64NVME>`);
  });
});

describe('the sweep', () => {
  async function object(key: string): Promise<void> {
    const id = await begin(key);
    await put(key, id, 1, randomBytes(20).toString('hex'));
    await put(key, id, 2, 'end');
    const { text } = await server.ask('GET', `${B}/${key}?uploadId=${id}`);
    const etags = [...text.matchAll(/<ETag>&quot;(\w+)&quot;</g)].map((match) => match[1]);
    const named = etags.map(
      (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`,
    );
    expect((await complete(key, id, named)).status).toBe(200);
  }

  it('deletes the parts of what was overwritten or deleted, and no others', async () => {
    for (const key of ['kept', 'overwritten', 'deleted']) await object(key);
    const underWay = await begin('under-way');
    await put('under-way', underWay, 1, 'x');
    await server.ask('PUT', `${B}/overwritten`, { body: 'new' });
    await server.ask('DELETE', `${B}/deleted`);
    expect(kept().filter((name) => name.startsWith('p/'))).toHaveLength(7);
    await sweep();
    expect(kept().filter((name) => name.startsWith('p/'))).toHaveLength(3);
    expect(kept().filter((name) => name.startsWith('c/'))).toHaveLength(1);
    expect((await server.ask('GET', `${B}/kept`)).text).toHaveLength(43);
    expect((await complete('under-way', underWay, [partXml(1, 'x')])).status).toBe(200);
  });

  it('deletes what an upload left behind that died between two steps', async () => {
    const id = await begin('k');
    await put('k', id, 1, 'x');
    const [, container] = [...server.store.containers].find(
      ([path]) => path.startsWith(`/${PARTS_ACCOUNT}/`) && path.endsWith(B.slice(1)),
    )!;
    for (const name of container.objects.keys()) {
      if (name.startsWith('u/')) container.objects.delete(name);
    }
    await sweep();
    expect(kept()).toEqual([]);
  });

  it('and the deletion of a bucket leave nothing', async () => {
    const id = await begin('k');
    await put('k', id, 1, 'x');
    expect((await server.ask('DELETE', B)).status).toBe(204);
    expect(kept()).toEqual([]);
  });
});
