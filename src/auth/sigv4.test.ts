import { createHmac, hash } from 'node:crypto';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';
import {
  canonicalRequest,
  chunkStringToSign,
  isSignedWith,
  sign,
  stringToSign,
  timelinessOf,
  unsignedAmzHeaders,
} from './sigv4.ts';
import {
  basicTime,
  parseBasicTime,
  readClaim,
  type SigV4Claim,
  type SigV4Request,
} from './sigv4-claim.ts';

// The user and times of the examples in AWS's API reference.
const ACCESS = 'AKIAIOSFODNN7EXAMPLE';
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';
const EMPTY = hash('sha256', '');
const HOST = 'examplebucket.s3.amazonaws.com';
const SCOPE = { day: '20130524', region: 'us-east-1', service: 's3' };
const KEY = deriveSigningKey(SECRET, SCOPE);

function headerRequest(
  method: string,
  target: string,
  headers: Record<string, string>,
  signature: string,
): SigV4Request {
  const all = { host: HOST, 'x-amz-date': '20130524T000000Z', ...headers };
  const names = Object.keys(all).sort().join(';');
  const authorization = `AWS4-HMAC-SHA256 Credential=${ACCESS}/20130524/us-east-1/s3/aws4_request,SignedHeaders=${names},Signature=${signature}`;
  return { method, target, headers: { ...all, authorization } };
}

function accepts(request: SigV4Request, secret = SECRET, payload?: string): boolean {
  const claim = readClaim(request)!;
  return isSignedWith(deriveSigningKey(secret, claim), request, claim, payload);
}

const range = (signature: string): SigV4Request =>
  headerRequest(
    'GET',
    '/test.txt',
    { range: 'bytes=0-9', 'x-amz-content-sha256': EMPTY },
    signature,
  );
const RANGE_SIGNATURE = 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41';

const presigned = (more = '', signature = PRESIGNED): SigV4Request => ({
  method: 'GET',
  target: `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${ACCESS}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=${signature}${more}`,
  headers: { host: HOST },
});
const PRESIGNED = 'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404';

describe('signing', () => {
  it('is HMAC-SHA256, whatever the key and the text', () => {
    const bytes = fc.uint8Array({ maxLength: 64 });
    const text = fc
      .uint8Array({ maxLength: 200 })
      .map((all) => Buffer.from(all).toString('latin1'));
    fc.assert(
      fc.property(bytes, text, (key, said) => {
        const expected = createHmac('sha256', key).update(said, 'latin1').digest('hex');
        expect(sign(Buffer.from(key), said)).toBe(expected);
      }),
    );
  });

  it('a time is one that the calendar has', () => {
    const at = fc.integer({ min: Date.UTC(1900, 0), max: Date.UTC(2500, 0) });
    fc.assert(
      fc.property(at, (ms) => {
        const whole = ms - (((ms % 1000) + 1000) % 1000);
        expect(parseBasicTime(basicTime(whole))).toBe(whole);
      }),
    );
    const wrong = ['20250229T000000Z', '20240230T000000Z', '21000229T000000Z', '20241301T000000Z'];
    wrong.push('20240001T000000Z', '20240100T000000Z', '20240431T000000Z', '00240101T000000Z');
    wrong.push('20240101T240000Z', '20240101T006000Z', '20240101T000060Z', '20240101T000000');
    for (const text of wrong) expect(parseBasicTime(text)).toBeUndefined();
    expect(parseBasicTime('20240229T235959Z')).toBe(Date.UTC(2024, 1, 29, 23, 59, 59));
    expect(parseBasicTime('20000229T000000Z')).toBe(Date.UTC(2000, 1, 29));
  });
});

describe("the reference's examples", () => {
  it.each([
    ['GET with a range', range(RANGE_SIGNATURE)],
    [
      'PUT with a name that is encoded',
      headerRequest(
        'PUT',
        '/test$file.text',
        {
          date: 'Fri, 24 May 2013 00:00:00 GMT',
          'x-amz-storage-class': 'REDUCED_REDUNDANCY',
          'x-amz-content-sha256': hash('sha256', 'Welcome to Amazon S3.'),
        },
        '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
      ),
    ],
    [
      'a subresource',
      headerRequest(
        'GET',
        '/?lifecycle',
        { 'x-amz-content-sha256': EMPTY },
        'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
      ),
    ],
    [
      'a listing',
      headerRequest(
        'GET',
        '/?max-keys=2&prefix=J',
        { 'x-amz-content-sha256': EMPTY },
        '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
      ),
    ],
    ['a presigned URL', presigned()],
  ])('%s', (_name, request) => {
    expect(accepts(request)).toBe(true);
    expect(accepts(request, `${SECRET}x`)).toBe(false);
    expect(accepts({ ...request, method: 'DELETE' })).toBe(false);
    expect(accepts({ ...request, target: request.target.replace('/', '/x') })).toBe(false);
  });

  it('of a body in signed chunks', () => {
    const seed = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9';
    const scope = { ...SCOPE, date: '20130524T000000Z' };
    const chunk = (previous: string, text: string) =>
      sign(KEY, chunkStringToSign(scope, previous, hash('sha256', text)));
    const first = chunk(seed, 'a'.repeat(65_536));
    expect(first).toBe('ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648');
    const second = chunk(first, 'a'.repeat(1024));
    expect(second).toBe('0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497');
    expect(chunk(second, '')).toBe(
      'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
    );
  });
});

/** A client of AWS's own, whose requests end here instead of on a network. */
function capturingClient() {
  const seen: SigV4Request[] = [];
  const client = new S3Client({
    region: 'eu-south-1',
    endpoint: 'http://127.0.0.1:9999',
    forcePathStyle: true,
    credentials: { accessKeyId: ACCESS, secretAccessKey: SECRET },
    requestHandler: {
      handle: async (request: {
        method: string;
        path: string;
        query?: Record<string, string | string[]>;
        headers: Record<string, string>;
      }) => {
        const query = Object.entries(request.query ?? {}).flatMap(([name, value]) =>
          [value].flat().map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`),
        );
        const headers = Object.entries(request.headers).map(([name, value]) => [
          name.toLowerCase(),
          Buffer.from(value).toString('latin1'),
        ]);
        const target = request.path + (query.length > 0 ? `?${query.join('&')}` : '');
        seen.push({ method: request.method, target, headers: Object.fromEntries(headers) });
        throw new Error('captured');
      },
    },
    maxAttempts: 1,
  });
  return { client, seen };
}

describe("AWS's JavaScript client", () => {
  const names = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((text) => {
    const path = `/${text}/`;
    return Buffer.from(text).toString() === text && !path.includes('/./') && !path.includes('/../');
  });

  it('signs any name as it is checked here', async () => {
    const { client, seen } = capturingClient();
    await fc.assert(
      fc.asyncProperty(names, names, async (name, value) => {
        const command = new PutObjectCommand({
          ...{ Bucket: 'bucket', Key: name, Body: 'x', ContentLength: 1 },
          Tagging: `a=${encodeURIComponent(value)}`,
        });
        await client.send(command).catch(() => undefined);
        const request = seen.pop()!;
        expect(accepts(request), request.target).toBe(true);
        expect(unsignedAmzHeaders(readClaim(request)!, request.headers)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('presigns any name as it is checked here', async () => {
    const { client } = capturingClient();
    await fc.assert(
      fc.asyncProperty(names, names, async (name, type) => {
        const command = new GetObjectCommand({
          ...{ Bucket: 'bucket', Key: name, ResponseContentType: type },
        });
        const url = new URL(await getSignedUrl(client, command, { expiresIn: 60 }));
        const target = url.pathname + url.search;
        expect(accepts({ method: 'GET', target, headers: { host: url.host } }), target).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the canonical request', () => {
  const claim = { form: 'header', service: 's3', signedHeaders: ['host', 'x-amz-meta-a'] } as const;
  const canonical = (target: string, headers = {}) =>
    canonicalRequest({ method: 'GET', target, headers }, claim, 'UNSIGNED-PAYLOAD').split('\n');

  it('is the same for whatever a client leaves unencoded, and keeps S3 paths as they are', () => {
    expect(canonical("/b/a(1)'*!+x")[1]).toBe(canonical('/b/a%281%29%27%2a%21%2Bx')[1]);
    expect(canonical('/b//./../x')[1]).toBe('/b//./../x');
    expect(canonical('/b/a%2Fb')[1]).toBe('/b/a/b');
    expect(canonical('/b/%zz%4')[1]).toBe('/b/%25zz%254');
    expect(canonical('')[1]).toBe('/');
  });

  it('sorts the query by encoded name, then value', () => {
    expect(canonical('/?b=2&a=%20&a&acl&B=1&a=%2B&a=x+y')[2]).toBe(
      'B=1&a=&a=%20&a=%2B&a=x%20y&acl=&b=2',
    );
  });

  it('joins values of one header and makes blanks one', () => {
    expect(canonical('/', { host: 'h', 'x-amz-meta-a': ['  a   b ', 'c'] }).slice(3, 6)).toEqual([
      'host:h',
      'x-amz-meta-a:a b ,c',
      '',
    ]);
  });

  it('of another service than S3 has its path normal and encoded twice', () => {
    const sts = { ...claim, service: 'sts' };
    const request = { method: 'POST', target: '/a/../%20b//c/', headers: {} };
    expect(canonicalRequest(request, sts, EMPTY).split('\n')[1]).toBe('/%2520b/c/');
  });
});

describe('hostile signatures', () => {
  const refused = (request: SigV4Request): unknown => {
    try {
      readClaim(request);
    } catch (error) {
      expect(error).toBeInstanceOf(OperatingError);
      expect(error).toHaveProperty('code', 'bad-signature-form');
      return (error as OperatingError).facts;
    }
    return undefined;
  };

  it.each([
    ['no credential', (text: string) => text.replace(/Credential=[^,]*,/, '')],
    ['a field twice', (text: string) => `${text},Signature=${'0'.repeat(64)}`],
    ['a scope of three', (text: string) => text.replace('/us-east-1', '')],
    ['another end', (text: string) => text.replace('aws4_request', 'aws4')],
    ['host unsigned', (text: string) => text.replace('host;', '')],
    ['a name with a line feed', (text: string) => text.replace('host', 'host;a\nb')],
    ['endless', (text: string) => text.replace('host', `host;${'a;'.repeat(9000)}b`)],
    ['nothing', () => 'AWS4-HMAC-SHA256'],
  ])('malformed: %s', (_name, change) => {
    const request = range(RANGE_SIGNATURE);
    const authorization = change(String(request.headers['authorization']));
    const changed = { ...request, headers: { ...request.headers, authorization } };
    expect(refused(changed)).toEqual({ form: 'header', reason: 'malformed' });
  });

  it('dates that are none, or of another day than the key', () => {
    const dated = (date: string) => {
      const { headers, ...request } = range(RANGE_SIGNATURE);
      return refused({ ...request, headers: { ...headers, 'x-amz-date': date } });
    };
    for (const date of ['20130524', '20131324T000000Z', 'x'.repeat(9999)]) {
      expect(dated(date)).toEqual({ form: 'header', reason: 'date' });
    }
    const dateMs = Date.UTC(2013, 4, 25);
    expect(dated('20130525T000000Z')).toEqual({ form: 'header', reason: 'day', dateMs });
  });

  it('a query that says things twice, or lives too long, or comes with a header', () => {
    expect(refused(presigned('&X-Amz-Date=20130525T000000Z'))).toMatchObject({ form: 'query' });
    const long = presigned();
    for (const expires of ['604801', '-1', '1e3']) {
      const target = long.target.replace('86400', expires);
      expect(refused({ ...long, target })).toEqual({ form: 'query', reason: 'expires' });
    }
    const both = { ...long, headers: { ...long.headers, authorization: 'AWS a:b' } };
    expect(refused(both)).toEqual({ form: 'both', reason: 'ambiguous' });
  });

  it('never crash, and no change to a signed part is accepted', () => {
    const text = fc.string({ unit: 'binary', maxLength: 60 });
    fc.assert(
      fc.property(text, text, text, (target, authorization, date) => {
        const headers = { authorization: `AWS4-HMAC-SHA256 ${authorization}`, 'x-amz-date': date };
        expect(refused({ method: 'GET', target: `/${target}`, headers })).toBeDefined();
        refused({ method: 'GET', target: `/?X-Amz-Algorithm=${target}`, headers: {} });
      }),
    );
    fc.assert(
      fc.property(fc.constantFrom('range', 'x-amz-content-sha256', 'host'), text, (name, value) => {
        const { headers, ...request } = range(RANGE_SIGNATURE);
        const blank = (given: unknown) =>
          String(given)
            .replace(/[ \t]+/g, ' ')
            .trim();
        fc.pre(blank(value) !== blank(headers[name]));
        expect(accepts({ ...request, headers: { ...headers, [name]: value } })).toBe(false);
      }),
    );
  });

  it('headers that nobody signed are told', () => {
    const { headers, ...request } = range(RANGE_SIGNATURE);
    const more = { ...headers, 'x-amz-copy-source': '/b/o', 'content-type': 'text/plain' };
    const claim = readClaim({ ...request, headers: more })!;
    expect(unsignedAmzHeaders(claim, more)).toEqual(['x-amz-copy-source']);
  });
});

describe('time', () => {
  const dateMs = Date.UTC(2013, 4, 24);
  const minutes = (count: number) => dateMs + count * 60_000;

  it('a signed request is good for 15 minutes around its date, a presigned URL as long as it says', () => {
    const claim = readClaim(range(RANGE_SIGNATURE))!;
    const at = (count: number) => timelinessOf(claim, minutes(count));
    expect([-16, -15, 0, 15, 16].map(at)).toEqual(['skewed', 'now', 'now', 'now', 'skewed']);
    const url = readClaim(presigned())!;
    const of = (count: number) => timelinessOf(url, minutes(count));
    expect([-16, 0, 1440, 1441].map(of)).toEqual(['skewed', 'now', 'now', 'expired']);
  });

  it('may be given as an HTTP date', () => {
    const date = 'Fri, 24 May 2013 00:00:00 GMT';
    const claim = { ...SCOPE, date: '20130524T000000Z' };
    const signed = { form: 'header', service: 's3', signedHeaders: ['date', 'host'] } as const;
    const request = { method: 'GET', target: '/', headers: { host: 'h', date } };
    const text = stringToSign(claim, canonicalRequest(request, signed, EMPTY));
    const signature = createHmac('sha256', KEY).update(text).digest('hex');
    const authorization = `AWS4-HMAC-SHA256 Credential=${ACCESS}/20130524/us-east-1/s3/aws4_request, SignedHeaders=date;host, Signature=${signature}`;
    const whole = { ...request, headers: { ...request.headers, authorization } };
    const found: SigV4Claim = readClaim(whole)!;
    expect(found.dateMs).toBe(dateMs);
    expect(isSignedWith(KEY, whole, found, EMPTY)).toBe(true);
  });
});
