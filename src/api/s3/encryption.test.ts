/** Server-side encryption as S3's clients ask for it: SSE-S3, SSE-KMS, SSE-C, defaults of buckets. */
import { hash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import type { Answer, Ask } from './testing/harness.ts';

const SSE = 'x-amz-server-side-encryption';
const KEY_ID = `${SSE}-aws-kms-key-id`;
const CUSTOMER = `${SSE}-customer-`;
const SOURCE = 'x-amz-copy-source-server-side-encryption-customer-';
const BODY = 'a body of which nothing must be seen '.repeat(50);
const MD5 = hash('md5', BODY);
const PART_BYTES = 5 * 1024 * 1024;

const server = serverOfFile();
let bucket: string;

beforeEach(async () => {
  bucket = (await server.freshBucket()).slice(1);
});

function ask(method: string, target: string, headers: Ask['headers'] = {}, body?: Ask['body']) {
  return server.ask(method, `/${bucket}${target}`, {
    headers,
    ...(body !== undefined && { body }),
  });
}

function customer(seed: number, prefix = CUSTOMER): Record<string, string> {
  const key = Buffer.alloc(32, seed);
  return {
    [`${prefix}algorithm`]: 'AES256',
    [`${prefix}key`]: key.toString('base64'),
    [`${prefix}key-md5`]: hash('md5', key, 'base64'),
  };
}

/** The bytes that the store keeps, before anything is opened. */
function stored(key: string): Buffer {
  return server.store.containers.get(`/AUTH_p1/${bucket}`)!.objects.get(key)!.body;
}

function expectError(answer: Answer, status: number, code: string): void {
  expect([answer.status, answer.code]).toEqual([status, code]);
}

const rule = (content: string, more = '') =>
  `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>${content}</ApplyServerSideEncryptionByDefault>${more}</Rule></ServerSideEncryptionConfiguration>`;

describe('SSE-S3', () => {
  it('keeps no plain text and shows it as it was, with its MD5', async () => {
    const put = await ask('PUT', '/a', { [SSE]: 'AES256' }, BODY);
    expect(put.status).toBe(200);
    expect(put.headers[SSE]).toBe('AES256');
    expect(put.headers['etag']).toBe(`"${MD5}"`);
    expect(stored('a').includes('nothing must be seen')).toBe(false);
    const got = await ask('GET', '/a', { range: 'bytes=10-19' });
    expect([got.status, got.text, got.headers[SSE]]).toEqual([206, BODY.slice(10, 20), 'AES256']);
    expect((await ask('GET', '/a')).text).toBe(BODY);
    const head = await ask('HEAD', '/a');
    expect(head.headers[SSE]).toBe('AES256');
    expect(head.headers['content-length']).toBe(String(BODY.length));
    const empty = await ask('PUT', '/empty', { [SSE]: 'AES256' }, '');
    expect(empty.status).toBe(200);
    const gotEmpty = await ask('GET', '/empty');
    expect([gotEmpty.status, gotEmpty.text, gotEmpty.headers[SSE]]).toEqual([200, '', 'AES256']);
  });

  it('refuses what is no method, and methods where nothing is written', async () => {
    const kms = { [SSE]: 'AES256', [KEY_ID]: 'payroll' };
    expectError(await ask('PUT', '/a', { [SSE]: 'rot13' }, BODY), 400, 'InvalidArgument');
    expectError(await ask('PUT', '/a', kms, BODY), 400, 'InvalidArgument');
    expectError(await ask('PUT', '/a', { [KEY_ID]: 'payroll' }, BODY), 400, 'InvalidArgument');
    expectError(await ask('PUT', '/a', { [SSE]: 'aws:kms:dsse' }, BODY), 501, 'NotImplemented');
    expect((await ask('GET', '/a')).status).toBe(404);
    await ask('PUT', '/a', {}, BODY);
    expectError(await ask('GET', '/a', { [SSE]: 'AES256' }), 400, 'InvalidArgument');
    expect((await ask('HEAD', '/a', { [SSE]: 'AES256' })).status).toBe(400);
  });
});

describe('SSE-KMS', () => {
  it('uses a named key, shows its name and no MD5', async () => {
    const wish = { [SSE]: 'aws:kms', [KEY_ID]: 'payroll', [`${SSE}-bucket-key-enabled`]: 'true' };
    const put = await ask('PUT', '/a', wish, BODY);
    expect(put.headers).toMatchObject(wish);
    expect(put.headers['etag']).toMatch(/^"[0-9a-f]{32}"$/);
    expect(put.headers['etag']).not.toBe(`"${MD5}"`);
    const got = await ask('GET', '/a', { 'if-match': put.headers['etag']! });
    expect(got.text).toBe(BODY);
    expect(got.headers).toMatchObject(wish);
  });

  it('takes ARN and alias, and the own key where none is named', async () => {
    for (const name of ['arn:aws:kms:here:1:key/payroll', 'alias/payroll', 'alias/aws/s3']) {
      const put = await ask('PUT', '/a', { [SSE]: 'aws:kms', [KEY_ID]: name }, BODY);
      expect([put.status, put.headers[KEY_ID]]).toEqual([200, name]);
      expect((await ask('GET', '/a')).text).toBe(BODY);
    }
    const put = await ask('PUT', '/a', { [SSE]: 'aws:kms' }, BODY);
    expect(put.headers[SSE]).toBe('aws:kms');
    const unknown = await ask('PUT', '/a', { [SSE]: 'aws:kms', [KEY_ID]: 'nobody' }, BODY);
    expect(unknown.status).toBe(400);
    expect(unknown.text).toContain('<Code>KMS.NotFoundException</Code>');
  });
});

describe('SSE-C', () => {
  it("opens with the customer's key alone", async () => {
    const put = await ask('PUT', '/a', customer(1), BODY);
    expect(put.status).toBe(200);
    expect(put.headers[`${CUSTOMER}algorithm`]).toBe('AES256');
    expect(put.headers[`${CUSTOMER}key-md5`]).toBe(customer(1)[`${CUSTOMER}key-md5`]);
    expect(put.headers[SSE]).toBeUndefined();
    expect(put.headers['etag']).not.toBe(`"${MD5}"`);
    expect((await ask('GET', '/a', customer(1))).text).toBe(BODY);
    const head = await ask('HEAD', '/a', customer(1));
    expect([head.status, head.headers[`${CUSTOMER}algorithm`]]).toEqual([200, 'AES256']);
    expectError(await ask('GET', '/a'), 400, 'InvalidRequest');
    expectError(await ask('GET', '/a', customer(2)), 403, 'AccessDenied');
    expect((await ask('HEAD', '/a')).status).toBe(400);
    expect((await ask('HEAD', '/a', customer(2))).status).toBe(403);
    const attributes = { 'x-amz-object-attributes': 'ObjectSize' };
    expectError(await ask('GET', '/a?attributes', attributes), 400, 'InvalidRequest');
    expect((await ask('GET', '/a?attributes', { ...attributes, ...customer(1) })).status).toBe(200);
    await ask('PUT', '/plain', {}, BODY);
    expectError(await ask('GET', '/plain', customer(1)), 400, 'InvalidRequest');
  });

  it('is refused where algorithm, key or MD5 are missing or wrong', async () => {
    const full = customer(1);
    const refused: Record<string, string>[] = Object.keys(full).map((name) => {
      const { [name]: _, ...rest } = full;
      return rest;
    });
    const short = Buffer.alloc(16, 1);
    refused.push(
      { ...full, [`${CUSTOMER}key-md5`]: hash('md5', 'another', 'base64') },
      { ...full, [`${CUSTOMER}key`]: '!!!' },
      {
        ...full,
        [`${CUSTOMER}key`]: short.toString('base64'),
        [`${CUSTOMER}key-md5`]: hash('md5', short, 'base64'),
      },
      { ...full, [SSE]: 'AES256' },
    );
    for (const headers of refused) {
      const answer = await ask('PUT', '/a', headers, BODY);
      expectError(answer, 400, 'InvalidArgument');
      expect(answer.text).not.toContain(full[`${CUSTOMER}key`]);
    }
    const des = { ...full, [`${CUSTOMER}algorithm`]: 'DES' };
    expectError(await ask('PUT', '/a', des, BODY), 400, 'InvalidEncryptionAlgorithmError');
    expect((await ask('GET', '/a')).status).toBe(404);
  });
});

describe('copies', () => {
  it('open the source with its key and are encrypted anew', async () => {
    await ask('PUT', '/a', customer(1), BODY);
    const from = { 'x-amz-copy-source': `/${bucket}/a` };
    expectError(await ask('PUT', '/b', from), 400, 'InvalidRequest');
    expectError(await ask('PUT', '/b', { ...from, ...customer(2, SOURCE) }), 403, 'AccessDenied');
    const opened = { ...from, ...customer(1, SOURCE) };
    const toStore = await ask('PUT', '/b', { ...opened, [SSE]: 'AES256' });
    expect([toStore.status, toStore.headers[SSE]]).toEqual([200, 'AES256']);
    expect((await ask('GET', '/b')).text).toBe(BODY);
    expect((await ask('PUT', '/c', { ...opened, ...customer(3) })).status).toBe(200);
    expect((await ask('GET', '/c', customer(3))).text).toBe(BODY);
    expect((await ask('PUT', '/d', opened)).status).toBe(200);
    expect((await ask('GET', '/d')).text).toBe(BODY);
    expect(stored('d').toString()).toBe(BODY);
  });

  it('onto itself may change the encryption', async () => {
    await ask('PUT', '/a', {}, BODY);
    const from = { 'x-amz-copy-source': `/${bucket}/a` };
    expectError(await ask('PUT', '/a', from), 400, 'InvalidRequest');
    expect((await ask('PUT', '/a', { ...from, [SSE]: 'AES256' })).status).toBe(200);
    expect((await ask('GET', '/a')).headers[SSE]).toBe('AES256');
  });
});

describe('uploads in parts', () => {
  async function begin(headers: Record<string, string>): Promise<{ id: string; answer: Answer }> {
    const answer = await ask('POST', '/m?uploads', headers);
    return { id: /<UploadId>(\w+)</.exec(answer.text)?.[1] ?? '', answer };
  }

  async function complete(id: string, etags: readonly string[], headers = {}): Promise<Answer> {
    const parts = etags.map(
      (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`,
    );
    const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
    return ask('POST', `/m?uploadId=${id}`, headers, body);
  }

  const first = Buffer.alloc(PART_BYTES, 'part one ');
  const last = Buffer.from('the end');
  const whole = Buffer.concat([first, last]);

  it('have parts encrypted as the upload was begun, and read across them', async () => {
    const { id, answer } = await begin({ [SSE]: 'AES256' });
    expect(answer.headers[SSE]).toBe('AES256');
    const part = `/m?uploadId=${id}&partNumber=`;
    expectError(await ask('PUT', `${part}1`, customer(1), first), 400, 'InvalidRequest');
    const etags: string[] = [];
    for (const [i, body] of [first, last].entries()) {
      const put = await ask('PUT', `${part}${i + 1}`, {}, body);
      expect([put.status, put.headers[SSE]]).toEqual([200, 'AES256']);
      expect(put.headers['etag']).toBe(`"${hash('md5', body)}"`);
      etags.push(put.headers['etag']!);
    }
    const done = await complete(id, etags);
    expect([done.status, done.headers[SSE]]).toEqual([200, 'AES256']);
    const got = await ask('GET', '/m');
    expect(got.body.equals(whole)).toBe(true);
    expect(got.headers[SSE]).toBe('AES256');
    const seam = await ask('GET', '/m', { range: `bytes=${PART_BYTES - 4}-${PART_BYTES + 2}` });
    expect(seam.body.equals(whole.subarray(PART_BYTES - 4, PART_BYTES + 3))).toBe(true);
    const kept = [...server.store.containers.entries()].filter(([path]) => path.includes(bucket));
    for (const [, { objects }] of kept) {
      for (const { body } of objects.values()) expect(body.includes('part one')).toBe(false);
    }
  });

  it("want the customer's key with every part and every read", async () => {
    const { id, answer } = await begin(customer(1));
    expect(answer.headers[`${CUSTOMER}algorithm`]).toBe('AES256');
    const part = `/m?uploadId=${id}&partNumber=`;
    expectError(await ask('PUT', `${part}1`, {}, first), 400, 'InvalidRequest');
    expectError(await ask('PUT', `${part}1`, customer(2), first), 400, 'InvalidRequest');
    const put = await ask('PUT', `${part}1`, customer(1), first);
    expect(put.status).toBe(200);
    await ask('PUT', '/source', customer(3), last);
    const copy = { 'x-amz-copy-source': `/${bucket}/source`, ...customer(3, SOURCE) };
    const copied = await ask('PUT', `${part}2`, { ...copy, ...customer(1) });
    expect(copied.status).toBe(200);
    const etags = [put.headers['etag']!, /<ETag>([^<]+)</.exec(copied.text)![1]!];
    const plain = etags.map((etag) => etag.replaceAll('&quot;', '"'));
    expectError(await complete(id, plain, customer(2)), 400, 'InvalidRequest');
    expect((await complete(id, plain)).status).toBe(200);
    const got = await ask('GET', '/m', customer(1));
    expect(got.body.equals(whole)).toBe(true);
    expectError(await ask('GET', '/m'), 400, 'InvalidRequest');
    expectError(await ask('GET', '/m', customer(2)), 403, 'AccessDenied');
    expect((await ask('HEAD', '/m')).status).toBe(400);
    expect((await ask('HEAD', '/m', customer(1))).status).toBe(200);
  });
});

describe("a bucket's default", () => {
  it('is set, shown, deleted, and counts where a write says nothing', async () => {
    const absent = 'ServerSideEncryptionConfigurationNotFoundError';
    expectError(await ask('GET', '?encryption'), 404, absent);
    const kms = '<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>payroll</KMSMasterKeyID>';
    const more = '<BucketKeyEnabled>true</BucketKeyEnabled>';
    expect((await ask('PUT', '?encryption', {}, rule(kms, more))).status).toBe(200);
    const shown = await ask('GET', '?encryption');
    expect(shown.text).toContain(kms);
    expect(shown.text).toContain(more);
    const put = await ask('PUT', '/a', {}, BODY);
    expect(put.headers[KEY_ID]).toBe('payroll');
    expect((await ask('PUT', '/b', { [SSE]: 'AES256' }, BODY)).headers[SSE]).toBe('AES256');
    expect((await ask('POST', '/m?uploads')).headers[KEY_ID]).toBe('payroll');
    expect((await ask('DELETE', '?encryption')).status).toBe(204);
    expectError(await ask('GET', '?encryption'), 404, absent);
    expect((await ask('PUT', '/a', {}, BODY)).headers[SSE]).toBeUndefined();
  });

  it('is refused when it is malformed', async () => {
    const aes = '<SSEAlgorithm>AES256</SSEAlgorithm>';
    const cases: readonly [string, number, string][] = [
      [rule('<SSEAlgorithm>rot13</SSEAlgorithm>'), 400, 'MalformedXML'],
      [rule(''), 400, 'MalformedXML'],
      ['<ServerSideEncryptionConfiguration/>', 400, 'MalformedXML'],
      [rule(aes, '<BucketKeyEnabled>perhaps</BucketKeyEnabled>'), 400, 'MalformedXML'],
      [rule(`${aes}<KMSMasterKeyID>x</KMSMasterKeyID>`), 400, 'InvalidArgument'],
      [rule('<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>'), 501, 'NotImplemented'],
    ];
    for (const [xml, status, code] of cases) {
      expectError(await ask('PUT', '?encryption', {}, xml), status, code);
    }
    expect((await ask('GET', '?encryption')).status).toBe(404);
  });

  it('is not for strangers to set', async () => {
    const body = rule('<SSEAlgorithm>AES256</SSEAlgorithm>');
    const answer = await server.ask('PUT', `/${bucket}?encryption`, { body, as: 'stranger' });
    expectError(answer, 403, 'AccessDenied');
  });
});

it("versions open with the key that each was written with, also as a copy's source", async () => {
  const on = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>';
  expect((await ask('PUT', '?versioning', {}, on)).status).toBe(200);
  const put = async (headers: Record<string, string>, body: string): Promise<string> => {
    const answer = await ask('PUT', '/a', headers, body);
    expect(answer.status).toBe(200);
    return `?versionId=${answer.headers['x-amz-version-id']}`;
  };
  const byCustomer = await put(customer(1), 'one');
  const byStore = await put({ [SSE]: 'AES256' }, 'two');
  const plain = await put({}, 'three');
  expect((await ask('GET', `/a${byCustomer}`, customer(1))).text).toBe('one');
  expectError(await ask('GET', `/a${byCustomer}`), 400, 'InvalidRequest');
  expect((await ask('HEAD', `/a${byCustomer}`, customer(2))).status).toBe(403);
  const two = await ask('GET', `/a${byStore}`);
  expect([two.text, two.headers[SSE]]).toEqual(['two', 'AES256']);
  expect((await ask('GET', `/a${plain}`)).text).toBe('three');
  const from = { 'x-amz-copy-source': `/${bucket}/a${byCustomer}`, ...customer(1, SOURCE) };
  expect((await ask('PUT', '/b', { ...from, [SSE]: 'AES256' })).status).toBe(200);
  expect((await ask('GET', '/b')).text).toBe('one');
  const kept = [...server.store.containers.entries()].filter(([path]) => path.includes(bucket));
  const bodies = kept.flatMap(([, { objects }]) => [...objects.values()].map(({ body }) => body));
  expect(bodies.some((body) => body.includes('three'))).toBe(true);
  expect(bodies.some((body) => body.includes('one') || body.includes('two'))).toBe(false);
});

it('a bucket policy may ask for encryption', async () => {
  const statement = {
    Effect: 'Deny',
    Principal: '*',
    Action: 's3:PutObject',
    Resource: `arn:aws:s3:::${bucket}/*`,
    Condition: { StringNotEquals: { 's3:x-amz-server-side-encryption': 'AES256' } },
  };
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  expect((await ask('PUT', '?policy', {}, policy)).status).toBe(204);
  expectError(await ask('PUT', '/a', {}, BODY), 403, 'AccessDenied');
  expect((await ask('PUT', '/a', { [SSE]: 'AES256' }, BODY)).status).toBe(200);
});
