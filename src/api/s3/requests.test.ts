import { createHash, createHmac, hash } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { chunkStringToSign, sign, trailerStringToSign } from '#auth/sigv4.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';
import { decodeChunked } from './aws-chunked.ts';
import { ALGORITHMS, type Algorithm, Checksums } from './checksums.ts';
import { combine } from './crc-combine.ts';
import { serverOfFile } from './testing/file-server.ts';
import { REGION, secretOf } from './testing/harness.ts';
import { readXml } from './xml-reader.ts';

const server = serverOfFile();
let checksums: Checksums;

beforeAll(async () => {
  checksums = await Checksums.create();
  await server.ask('PUT', '/bucket');
  await server.ask('PUT', '/bucket/k', { body: 'x' });
});

describe('a signature', () => {
  it('that does not fit is refused, and says what should have been signed', async () => {
    const signed = server.signed('GET', '/bucket/k');
    const answer = await server.ask('GET', '/bucket/other', { as: '', headers: signed });
    expect(answer).toMatchObject({ status: 403, code: 'SignatureDoesNotMatch' });
    expect(answer.text).toContain('<CanonicalRequest>GET\n/bucket/other');
  });

  it('of an unknown key, an old or a future date, or of no form is refused', async () => {
    const signed = server.signed('GET', '/bucket/k');
    const ask = (headers: Record<string, string>) =>
      server.ask('GET', '/bucket/k', { as: '', headers: { ...signed, ...headers } });
    const { authorization = '' } = signed;
    expect(await ask({ authorization: authorization.replace('owner/', 'nobody/') })).toMatchObject({
      code: 'InvalidAccessKeyId',
    });
    const day = signed['x-amz-date']!.slice(0, 8);
    expect(
      await ask({
        'x-amz-date': '20150101T000000Z',
        authorization: authorization.replace(day, '20150101'),
      }),
    ).toMatchObject({ status: 403, code: 'RequestTimeTooSkewed' });
    expect(await ask({ 'x-amz-date': 'nonsense' })).toMatchObject({ code: 'AccessDenied' });
    expect(await ask({ authorization: 'AWS4-HMAC-SHA256 nonsense' })).toMatchObject({
      code: 'AuthorizationHeaderMalformed',
    });
    expect(await ask({ authorization: 'Basic abc' })).toMatchObject({ code: 'InvalidArgument' });
    expect(await ask({ authorization: authorization.replace('/s3/', '/ec2/') })).toMatchObject({
      code: 'AuthorizationHeaderMalformed',
    });
  });

  it('covers every x-amz-* header', async () => {
    const headers = { ...server.signed('GET', '/bucket/k'), 'x-amz-meta-evil': '1' };
    const answer = await server.ask('GET', '/bucket/k', { as: '', headers });
    expect(answer).toMatchObject({ status: 403, code: 'AccessDenied' });
    expect(answer.text).toContain('<HeadersNotSigned>x-amz-meta-evil</HeadersNotSigned>');
    const presigned = server.presigned('PUT', '/bucket/copy', 60);
    const copied = await server.ask('PUT', presigned, {
      as: '',
      headers: { 'x-amz-copy-source': '/bucket/k' },
    });
    expect(copied).toMatchObject({ status: 403, code: 'AccessDenied' });
  });

  it('may stand in the URL, for as long as it says', async () => {
    const get = (target: string) => server.ask('GET', target, { as: '' });
    expect((await get(server.presigned('GET', '/bucket/k', 60))).text).toBe('x');
    const old = server.presigned('GET', '/bucket/k', 60, Date.now() - 61_000);
    expect(await get(old)).toMatchObject({ status: 403, code: 'AccessDenied' });
    const long = server.presigned('GET', '/bucket/k', 8 * 24 * 3600);
    expect(await get(long)).toMatchObject({ code: 'AuthorizationQueryParametersError' });
    const other = server.presigned('GET', '/bucket/k', 60).replace('/bucket/k', '/bucket/l');
    expect(await get(other)).toMatchObject({ code: 'SignatureDoesNotMatch' });
    const put = server.presigned('PUT', '/bucket/by-url', 60);
    expect((await server.ask('PUT', put, { as: '', body: 'y' })).status).toBe(200);
  });

  it('of version 2 is taken in header and URL', async () => {
    const date = new Date().toUTCString();
    const sign2 = (text: string): string =>
      createHmac('sha1', secretOf('owner')).update(text).digest('base64');
    const text = `PUT\n\ntext/plain\n${date}\nx-amz-meta-a:1\n/bucket/v2?tagging`;
    const headers = { date, 'content-type': 'text/plain', 'x-amz-meta-a': '1' };
    const authorization = `AWS owner:${sign2(text.replace('?tagging', ''))}`;
    const put = { as: '', body: 'v2', headers: { ...headers, authorization } };
    expect((await server.ask('PUT', '/bucket/v2', put)).status).toBe(200);
    expect(await server.ask('PUT', '/bucket/v2b', put)).toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
    const expires = Math.floor(Date.now() / 1000) + 60;
    const query = (at: number): string => {
      const signature = encodeURIComponent(sign2(`GET\n\n\n${at}\n/bucket/v2`));
      return `/bucket/v2?AWSAccessKeyId=owner&Expires=${at}&Signature=${signature}`;
    };
    expect((await server.ask('GET', query(expires), { as: '' })).text).toBe('v2');
    expect(await server.ask('GET', query(expires - 120), { as: '' })).toMatchObject({
      status: 403,
    });
  });
});

describe('a body', () => {
  const put = (headers: Record<string, string>, more: object = {}) =>
    server.ask('PUT', '/bucket/body', { body: 'hello', headers, ...more });

  it('is compared with every digest that came with it', async () => {
    const md5 = createHash('md5').update('hello').digest('base64');
    expect((await put({ 'content-md5': md5 })).status).toBe(200);
    const wrong = createHash('md5').update('other').digest('base64');
    expect(await put({ 'content-md5': wrong })).toMatchObject({ status: 400, code: 'BadDigest' });
    expect(await put({ 'content-md5': 'nonsense' })).toMatchObject({ code: 'InvalidDigest' });
    const payload = hash('sha256', 'other');
    expect(await put({}, { payload })).toMatchObject({ code: 'XAmzContentSHA256Mismatch' });
    expect(await put({}, { payload: 'nonsense' })).toMatchObject({ code: 'InvalidArgument' });
  });

  it.each(ALGORITHMS)('has its %s checked, kept and told', async (algorithm) => {
    const header = `x-amz-checksum-${algorithm}`;
    const value = await checksums.of(algorithm, Buffer.from('hello'));
    expect((await put({ [header]: value })).headers[header]).toBe(value);
    const mode = { headers: { 'x-amz-checksum-mode': 'ENABLED' } };
    expect((await server.ask('HEAD', '/bucket/body', mode)).headers[header]).toBe(value);
    expect((await server.ask('HEAD', '/bucket/body')).headers[header]).toBeUndefined();
    const other = await checksums.of(algorithm, Buffer.from('other'));
    expect(await put({ [header]: other })).toMatchObject({ status: 400, code: 'BadDigest' });
    expect(await put({ [header]: 'AAA' })).toMatchObject({ status: 400, code: 'InvalidRequest' });
    expect((await server.ask('HEAD', '/bucket/body', mode)).headers[header]).toBe(value);
  });

  it('names one checksum at most, and the one that it announces', async () => {
    const crc32 = await checksums.of('crc32', Buffer.from('hello'));
    const sha1 = await checksums.of('sha1', Buffer.from('hello'));
    const two = { 'x-amz-checksum-crc32': crc32, 'x-amz-checksum-sha1': sha1 };
    expect(await put(two)).toMatchObject({ code: 'InvalidRequest' });
    expect(await put({ 'x-amz-sdk-checksum-algorithm': 'CRC32' })).toMatchObject({
      code: 'InvalidRequest',
    });
  });

  it('gets a CRC64NVME where the client names nothing', async () => {
    await put({});
    const mode = { headers: { 'x-amz-checksum-mode': 'ENABLED' } };
    const { headers } = await server.ask('GET', '/bucket/body', mode);
    expect(headers['x-amz-checksum-crc64nvme']).toBe(
      await checksums.of('crc64nvme', Buffer.from('hello')),
    );
    expect(headers['x-amz-checksum-type']).toBe('FULL_OBJECT');
  });

  it('without a length, or perhaps framed without saying so, is refused', async () => {
    const coding = { 'content-encoding': 'aws-chunked' };
    const unsigned = await put(coding, { payload: 'UNSIGNED-PAYLOAD' });
    const decoded = await put({ ...coding, 'x-amz-decoded-content-length': '5' });
    for (const framed of [unsigned, decoded]) {
      expect(framed).toMatchObject({ status: 400, code: 'InvalidArgument' });
    }
    const headers = { 'transfer-encoding': 'chunked' };
    const unknown = await server.ask('PUT', '/bucket/x', { headers });
    expect(unknown).toMatchObject({ status: 411, code: 'MissingContentLength' });
  });

  it('is not framed where its own digest is given, whatever its coding says', async () => {
    expect((await put({ 'content-encoding': 'gzip, aws-chunked' })).status).toBe(200);
    const { headers, text } = await server.ask('GET', '/bucket/body');
    expect([headers['content-encoding'], text]).toEqual(['gzip', 'hello']);
    await put({ 'content-encoding': 'aws-chunked' });
    const plain = await server.ask('HEAD', '/bucket/body');
    expect(plain.headers['content-encoding']).toBeUndefined();
  });
});

describe('an aws-chunked body', () => {
  const frame = (pieces: readonly string[], trailer = ''): string =>
    `${[...pieces, ''].map((p) => `${p.length.toString(16)}\r\n${p}${p && '\r\n'}`).join('')}${trailer}\r\n`;

  const put = (body: string, more: Record<string, string> = {}, length = 5) =>
    server.ask('PUT', '/bucket/chunked', {
      body,
      payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      headers: {
        'content-encoding': 'aws-chunked,gzip',
        'x-amz-decoded-content-length': String(length),
        'x-amz-trailer': 'x-amz-checksum-crc32',
        ...more,
      },
    });

  it('is stored without its framing, its trailer checked', async () => {
    const crc = await checksums.of('crc32', Buffer.from('hello'));
    const trailer = `x-amz-checksum-crc32:${crc}\r\n`;
    const answer = await put(frame(['he', 'llo'], trailer));
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.headers['x-amz-checksum-crc32']).toBe(crc);
    const got = await server.ask('GET', '/bucket/chunked');
    expect(got.text).toBe('hello');
    expect(got.headers['content-encoding']).toBe('gzip');
    const wrong = frame(['hello'], 'x-amz-checksum-crc32:AAAAAA==\r\n');
    expect(await put(wrong)).toMatchObject({ code: 'BadDigest' });
    const malformed = frame(['hello'], 'x-amz-checksum-crc32:AAA\r\n');
    expect(await put(malformed)).toMatchObject({ code: 'InvalidRequest' });
    expect(await put(frame(['hello']))).toMatchObject({ code: 'MalformedTrailerError' });
    expect(await put(frame(['hello'], `${trailer}x-other:1\r\n`))).toMatchObject({
      code: 'MalformedTrailerError',
    });
    expect(await put(frame(['hello'], trailer), {}, 6)).toMatchObject({ code: 'IncompleteBody' });
    expect(await put(`${frame(['hello'], trailer)}more`)).toMatchObject({ status: 400 });
    expect(await put('zz\r\nhello')).toMatchObject({ status: 400 });
    expect(await put('5\r\nhel')).toMatchObject({ code: 'IncompleteBody' });
    const both = { 'x-amz-checksum-crc32': crc };
    expect(await put(frame(['hello'], trailer), both)).toMatchObject({ code: 'InvalidRequest' });
    expect((await server.ask('GET', '/bucket/chunked')).text).toBe('hello');
  });

  it('has every chunk and the trailer checked where they are signed', async () => {
    const payload = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER';
    const crc = await checksums.of('crc32c', Buffer.from('hello world'));
    const headers = {
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': '11',
      'x-amz-trailer': 'x-amz-checksum-crc32c',
    };
    const send = async (change: (body: string) => string) => {
      const signed = server.signed('PUT', '/bucket/signed', { headers, payload });
      const body = signedFrame(signed, ['hello ', 'world'], `x-amz-checksum-crc32c:${crc}`);
      return server.ask('PUT', '/bucket/signed', { as: '', headers: signed, body: change(body) });
    };
    expect((await send((body) => body)).status).toBe(200);
    expect((await server.ask('GET', '/bucket/signed')).text).toBe('hello world');
    for (const [from, to] of [
      ['world', 'w0rld'],
      [crc, 'AAAAAA=='],
      ['x-amz-trailer-signature:', 'x-amz-trailer-signature:0'],
    ] as const) {
      expect(await send((body) => body.replace(from, to))).toMatchObject({
        status: 403,
        code: 'SignatureDoesNotMatch',
      });
    }
  });

  function signedFrame(
    signed: Record<string, string>,
    pieces: readonly string[],
    trailer: string,
  ): string {
    const date = signed['x-amz-date']!;
    const scope = { date, day: date.slice(0, 8), region: REGION, service: 's3' };
    const key = deriveSigningKey(secretOf('owner'), scope);
    let previous = /Signature=(\w+)$/.exec(signed['authorization']!)![1]!;
    let body = '';
    for (const piece of [...pieces, '']) {
      previous = sign(key, chunkStringToSign(scope, previous, hash('sha256', piece)));
      body += `${piece.length.toString(16)};chunk-signature=${previous}\r\n${piece}${piece && '\r\n'}`;
    }
    const last = sign(key, trailerStringToSign(scope, previous, hash('sha256', `${trailer}\n`)));
    return `${body}${trailer}\r\nx-amz-trailer-signature:${last}\r\n\r\n`;
  }

  it('is read the same wherever it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme-ascii' }), {
          maxLength: 5,
        }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
        async (pieces, cuts) => {
          const bytes = Buffer.from(frame(pieces, 'x-t: v \r\n'));
          async function* cut(): AsyncGenerator<Buffer> {
            for (let at = 0, i = 0; at < bytes.length; i++) {
              const size = cuts[i % cuts.length]!;
              yield bytes.subarray(at, at + size);
              at += size;
            }
          }
          let trailer: string | undefined;
          const decoded: Uint8Array[] = [];
          const content = decodeChunked(cut(), {
            signing: undefined,
            trailers: ['x-t'],
            length: pieces.join('').length,
            onTrailers: (found) => {
              trailer = found.get('x-t');
            },
          });
          for await (const chunk of content) decoded.push(chunk);
          expect(Buffer.concat(decoded).toString()).toBe(pieces.join(''));
          expect(trailer).toBe('v');
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('checksums', () => {
  it('are the well-known ones', async () => {
    const check = Buffer.from('123456789');
    const hex = async (algorithm: Algorithm) =>
      Buffer.from(await checksums.of(algorithm, check), 'base64').toString('hex');
    expect(await hex('crc32')).toBe('cbf43926');
    expect(await hex('crc32c')).toBe('e3069283');
    expect(await hex('crc64nvme')).toBe('ae8b14860a799888');
  });

  it.each(['crc32', 'crc32c', 'crc64nvme'] as const)(
    'of parts give the %s of the whole',
    (algorithm) =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 6 }),
          async (parts) => {
            const values = await Promise.all(
              parts.map(async (part) => ({
                value: await checksums.of(algorithm, part),
                length: part.length,
              })),
            );
            expect(combine(algorithm, values)).toBe(
              await checksums.of(algorithm, Buffer.concat(parts)),
            );
          },
        ),
        { numRuns: 50 },
      ),
  );
});

describe('XML', () => {
  const read = (text: string) => readXml(Buffer.from(text), 'a');

  it('keeps every character of a text', () => {
    const root = read(
      '<?xml version="1.0"?><s:a xmlns:s="x"><b> &lt;&amp;&#13;&#x1;\u{1f600} </b><!-- c --></s:a>',
    );
    expect(root.children[0]).toMatchObject({ name: 'b', text: ' <&\r\u0001\u{1f600} ' });
  });

  it.each([
    ['another root', '<b/>'],
    ['nothing', ''],
    ['an open element', '<a><b></a>'],
    ['a document type', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['an unknown entity', '<a>&nbsp;</a>'],
    ['a surrogate', '<a>&#xd800;</a>'],
    ['two roots', '<a/><a/>'],
    ['text behind the root', '<a/>x'],
    ['deep nesting', '<a>'.repeat(50) + '</a>'.repeat(50)],
    ['bytes that are no UTF-8', '<a>\ud800</a>'.replace('\ud800', '\u00ff')],
  ])('with %s is refused', (what, text) => {
    const bytes = what.startsWith('bytes') ? Buffer.from(text, 'latin1') : Buffer.from(text);
    expect(() => readXml(bytes, 'a')).toThrow(expect.objectContaining({ code: 'MalformedXML' }));
  });
});
