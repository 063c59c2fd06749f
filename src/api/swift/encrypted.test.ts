/** Objects that were written encrypted, through Swift's API. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WantedEncryption } from '#proxy/encryption/encryption.ts';
import { ACCOUNT, BASE, startServer, type TestServer } from './testing/harness.ts';

const TEXT = 'what S3 wrote, Swift reads';
let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  await server.ask('PUT', `${BASE}/box`);
});

afterAll(() => server.close());

async function put(object: string, encryption: WantedEncryption): Promise<void> {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(TEXT);
  }
  const operation = { txn: 'tx', signal: new AbortController().signal, read: 'quorum' } as const;
  const name = { account: ACCOUNT, container: 'box', object };
  const plain = { length: TEXT.length, maxLength: 100, contentType: 'text/plain' };
  const request = { ...plain, body: body(), user: {}, system: {}, encryption };
  await server.store.putObject(operation, name, request);
}

it("are opened with the store's keys, ranges and copies too", async () => {
  await put('own', { kind: 'store' });
  expect((await server.ask('GET', `${BASE}/box/own`)).text).toBe(TEXT);
  const range = await server.ask('GET', `${BASE}/box/own`, { headers: { range: 'bytes=5-6' } });
  expect([range.status, range.text]).toEqual([206, 'S3']);
  // A named key's ETag is no MD5: a copy must not be compared with it.
  await put('named', { kind: 'named', name: 'payroll', bucketKey: false });
  for (const name of ['own', 'named']) {
    const copy = { headers: { 'x-copy-from': `/box/${name}` } };
    expect((await server.ask('PUT', `${BASE}/box/copy`, copy)).status).toBe(201);
    expect((await server.ask('GET', `${BASE}/box/copy`)).text).toBe(TEXT);
  }
});

it("are refused clearly where their owner's key is needed", async () => {
  await put('customers', { kind: 'customer', key: Buffer.alloc(32, 1) });
  const answer = await server.ask('GET', `${BASE}/box/customers`);
  expect(answer.status).toBe(422);
  expect(answer.text).toContain('SSE-C');
  const copy = { headers: { 'x-copy-from': '/box/customers' } };
  expect((await server.ask('PUT', `${BASE}/box/copy`, copy)).status).toBe(422);
  expect((await server.ask('HEAD', `${BASE}/box/customers`)).status).toBe(200);
});
