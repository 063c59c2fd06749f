import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { sign } from '#auth/sigv4.ts';
import { basicTime } from '#auth/sigv4-claim.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';
import { readForm } from './form-data.ts';
import { serverOfFile } from './testing/file-server.ts';
import { REGION, secretOf } from './testing/harness.ts';

const server = serverOfFile();

beforeAll(async () => {
  await server.ask('PUT', '/forms');
});

const BOUNDARY = 'xYzZy';

function formOf(fields: Readonly<Record<string, string>>, file: string): string {
  const parts = Object.entries(fields).map(
    ([name, value]) =>
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const head = 'Content-Disposition: form-data; name="file"; filename="photo.jpg"';
  return `${parts.join('')}--${BOUNDARY}\r\n${head}\r\nContent-Type: image/jpeg\r\n\r\n${file}\r\n--${BOUNDARY}--\r\n`;
}

function post(fields: Readonly<Record<string, string>>, file = 'content') {
  const headers = { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` };
  return server.ask('POST', '/forms', { as: '', headers, body: formOf(fields, file) });
}

function policyOf(conditions: readonly unknown[], ms = 60_000): string {
  const expiration = new Date(Date.now() + ms).toISOString();
  return Buffer.from(JSON.stringify({ expiration, conditions })).toString('base64');
}

function signed(conditions: readonly unknown[], fields: Record<string, string>, ms?: number) {
  const date = basicTime(Date.now());
  const scope = { day: date.slice(0, 8), region: REGION, service: 's3' };
  const own = {
    'x-amz-algorithm': 'AWS4-HMAC-SHA256',
    'x-amz-credential': `owner/${scope.day}/${REGION}/s3/aws4_request`,
    'x-amz-date': date,
  };
  const named = Object.entries(own).map(([name, value]) => ({ [name]: value }));
  const policy = policyOf([...named, ...conditions], ms);
  const signature = sign(deriveSigningKey(secretOf('owner'), scope), policy);
  return { ...fields, ...own, policy, 'x-amz-signature': signature };
}

const SENT = { key: 'user/sent' };

const CONDITIONS = [{ bucket: 'forms' }, ['starts-with', '$key', 'user/']];

const anyChecksum = (name: string) => ['starts-with', `$x-amz-checksum-${name}`, ''];

describe('a form', () => {
  it.each([
    ['x-amz-storage-class', 'GLACIER', 'InvalidStorageClass'],
    ['x-amz-website-redirect-location', 'junk', 'InvalidRedirectLocation'],
    ['content-md5', createHash('md5').update('other').digest('base64'), 'BadDigest'],
    ['content-md5', 'junk', 'InvalidDigest'],
    ['x-amz-checksum-crc32', 'AAAAAA==', 'BadDigest'],
    ['x-amz-checksum-crc32', 'junk', 'InvalidRequest'],
  ])('whose field %s is %j is refused', async (name, value, code) => {
    const conditions = [...CONDITIONS, ['starts-with', `$${name}`, '']];
    const answer = await post(signed(conditions, { ...SENT, [name]: value }));
    expect(answer).toMatchObject({ status: 400, code });
    expect((await server.ask('GET', '/forms/user/sent')).status).toBe(404);
  });

  it('may redirect its object, and write dollar signs as S3 does', async () => {
    const fields = { key: 'user/$', 'x-amz-website-redirect-location': '/there' };
    const any = [{ bucket: 'forms' }, ['starts-with', '$x-amz-website-redirect-location', '/']];
    const made = signed([...any, ['eq', '$key', 'user/DOLLAR']], fields);
    const text = Buffer.from(made.policy, 'base64').toString().replace('DOLLAR', '\\$');
    const policy = Buffer.from(text).toString('base64');
    const scope = { day: made['x-amz-date'].slice(0, 8), region: REGION, service: 's3' };
    const signature = sign(deriveSigningKey(secretOf('owner'), scope), policy);
    const answer = await post({ ...made, policy, 'x-amz-signature': signature });
    expect(answer.status, answer.text).toBe(204);
    const { headers } = await server.ask('HEAD', '/forms/user/$');
    expect(headers['x-amz-website-redirect-location']).toBe('/there');
  });

  it('whose policy names no bucket is refused: it would be good for any', async () => {
    const answer = await post(signed([['starts-with', '$key', 'user/']], { key: 'user/x' }));
    expect(answer).toMatchObject({ status: 403, code: 'AccessDenied' });
    expect(answer.text).toContain('Extra input fields: bucket');
  });

  it('that is signed stores its file', async () => {
    const conditions = [
      ...CONDITIONS,
      { acl: 'private' },
      ['eq', '$x-amz-meta-a', '1'],
      ['starts-with', '$Content-Type', ''],
    ];
    const fields = {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: forms write the file's name this way
      key: 'user/${filename}',
      acl: 'private',
      'x-amz-meta-a': '1',
      'Content-Type': 'image/png',
    };
    const answer = await post(signed(conditions, fields));
    expect(answer.status, answer.text).toBe(204);
    const got = await server.ask('GET', '/forms/user/photo.jpg');
    expect(got).toMatchObject({ status: 200, text: 'content' });
    expect(got.headers).toMatchObject({ 'x-amz-meta-a': '1', 'content-type': 'image/png' });
  });

  it('of version 2 is taken', async () => {
    const policy = policyOf(CONDITIONS);
    const signature = createHmac('sha1', secretOf('owner')).update(policy).digest('base64');
    const fields = { key: 'user/v2', AWSAccessKeyId: 'owner', policy, signature };
    expect((await post(fields)).status).toBe(204);
    expect(await post({ ...fields, signature: 'AAAA' })).toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
  });

  it('is answered as it wishes', async () => {
    const ask = (more: Record<string, string>, conditions: readonly unknown[] = []) =>
      post(
        signed(
          [...CONDITIONS, ...conditions, ...Object.entries(more).map(([k, v]) => ({ [k]: v }))],
          { key: 'user/a', ...more },
        ),
      );
    expect((await ask({ success_action_status: '200' })).status).toBe(200);
    const created = await ask({ success_action_status: '201' });
    expect(created.status).toBe(201);
    expect(created.text).toMatch(/<PostResponse>.*<Key>user\/a<\/Key><ETag>/);
    const url = 'http://example.org/done?x=1';
    const redirected = await ask({ success_action_redirect: url });
    expect(redirected.status).toBe(303);
    expect(redirected.headers.location).toContain('x=1&bucket=forms&key=user%2Fa&etag=%22');
  });

  it.each([
    ['another key', { key: 'other/x' }, CONDITIONS, 'AccessDenied'],
    [
      'a field that the policy does not name',
      { key: 'user/x', 'x-amz-meta-b': '1' },
      CONDITIONS,
      'AccessDenied',
    ],
    [
      'a condition that is not met',
      { key: 'user/x' },
      [...CONDITIONS, { acl: 'private' }],
      'AccessDenied',
    ],
    [
      'a file that is too large',
      { key: 'user/x' },
      [...CONDITIONS, ['content-length-range', 0, 6]],
      'EntityTooLarge',
    ],
    [
      'a file that is too small',
      { key: 'user/x' },
      [...CONDITIONS, ['content-length-range', 8, 9]],
      'EntityTooSmall',
    ],
    [
      'a condition of no form',
      { key: 'user/x' },
      [...CONDITIONS, ['like', '$key', 'x']],
      'InvalidPolicyDocument',
    ],
    [
      'two checksums, of which one would not be checked',
      { key: 'user/x', 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-crc32c': 'AAAAAA==' },
      [...CONDITIONS, anyChecksum('crc32'), anyChecksum('crc32c')],
      'InvalidRequest',
    ],
    [
      'a checksum that nobody knows',
      { key: 'user/x', 'x-amz-checksum-crc9': 'AAAAAA==' },
      [...CONDITIONS, anyChecksum('crc9')],
      'InvalidRequest',
    ],
    ['no key', {}, CONDITIONS, 'InvalidArgument'],
  ])('with %s is refused', async (_, fields, conditions, code) => {
    expect(await post(signed(conditions, fields as Record<string, string>))).toMatchObject({
      code,
    });
    expect((await server.ask('HEAD', '/forms/user/x')).status).toBe(404);
  });

  it('is refused after its policy has expired, and when it was changed', async () => {
    const expired = signed(CONDITIONS, { key: 'user/x' }, -1000);
    expect(await post(expired)).toMatchObject({ code: 'AccessDenied' });
    const fields = signed(CONDITIONS, { key: 'user/x' });
    expect(
      await post({ ...fields, policy: policyOf([['starts-with', '$key', '']]) }),
    ).toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
  });

  it("without a policy is anybody's, where anybody may write", async () => {
    expect(await post({ key: 'open' })).toMatchObject({ code: 'AccessDenied' });
    await server.ask('PUT', '/forms?acl', { headers: { 'x-amz-acl': 'public-read-write' } });
    expect((await post({ key: 'open' })).status).toBe(204);
    await server.ask('PUT', '/forms?acl', { headers: { 'x-amz-acl': 'private' } });
  });

  it('that is none is refused', async () => {
    const answer = await server.ask('POST', '/forms', { as: '', body: 'x' });
    expect(answer).toMatchObject({ status: 412, code: 'PreconditionFailed' });
    const long = await post({ key: 'x'.repeat(100_000) });
    expect(long).toMatchObject({ status: 400, code: 'MaxPostPreDataLengthExceeded' });
  });

  it('is read the same wherever it is cut', async () => {
    const file = `line\r\n--${BOUNDARY.slice(0, 3)}\r\n--x`;
    const bytes = Buffer.from(formOf({ key: 'k', other: '' }, file));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        async (cuts) => {
          async function* cut(): AsyncGenerator<Buffer> {
            for (let at = 0, i = 0; at < bytes.length; i++) {
              const size = cuts[i % cuts.length]!;
              yield bytes.subarray(at, at + size);
              at += size;
            }
          }
          const form = await readForm(`multipart/form-data; boundary=${BOUNDARY}`, cut(), 4096);
          const chunks: Uint8Array[] = [];
          for await (const chunk of form.file) chunks.push(chunk);
          expect(Buffer.concat(chunks).toString()).toBe(file);
          expect([...form.fields]).toEqual([
            ['key', 'k'],
            ['other', ''],
          ]);
          expect(form).toMatchObject({ fileName: 'photo.jpg', fileType: 'image/jpeg' });
        },
      ),
      { numRuns: 100 },
    );
  });
});
