/** Rates and turns as S3's clients see them, with two tenants. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NodeClock } from '#env/node/clock.ts';
import { BYTE_RATE_HEADER, Fairness, REQUEST_RATE_HEADER } from '#proxy/fairness/fairness.ts';
import { startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;
let headers: Record<string, string>;

async function start(limits = {}): Promise<void> {
  headers = {};
  const headersOf = (account: string) => (account === 'AUTH_p1' ? headers : undefined);
  const fairness = new Fairness({ clock: new NodeClock(), headersOf, limits });
  server = await startServer({ fairness });
  await server.ask('PUT', '/mine');
  await server.ask('PUT', '/theirs', { as: 'stranger' });
}

beforeEach(() => start());
afterEach(() => server.close());

it('an account above its request rate is told 503 SlowDown and when to come again; another is not', async () => {
  headers[REQUEST_RATE_HEADER] = '1';
  const answers = await Promise.all(Array.from({ length: 20 }, () => server.ask('GET', '/mine')));
  const refused = answers.filter(({ status }) => status === 503);
  expect(refused.length).toBeGreaterThan(0);
  expect(refused[0]!.code).toBe('SlowDown');
  expect(Number(refused[0]!.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  const others = await Promise.all(
    Array.from({ length: 20 }, () => server.ask('GET', '/theirs', { as: 'stranger' })),
  );
  expect(others.map(({ status }) => status)).toEqual(Array(20).fill(200));
});

it('a bucket above its quota answers QuotaExceeded, also to uploads in parts, and reads go on', async () => {
  const operation = { txn: 'tx', signal: new AbortController().signal, read: 'quorum' } as const;
  const mine = { account: 'AUTH_p1', container: 'mine' };
  const quota = { 'x-container-meta-quota-bytes': '1000' };
  expect(await server.store.updateContainer(operation, mine, quota)).toBe('updated');
  expect((await server.ask('PUT', '/mine/a', { body: Buffer.alloc(900) })).status).toBe(200);
  const refused = await server.ask('PUT', '/mine/b', { body: Buffer.alloc(101) });
  expect([refused.status, refused.code]).toEqual([403, 'QuotaExceeded']);
  expect((await server.ask('GET', '/mine/b')).status).toBe(404);
  expect((await server.ask('GET', '/mine/a')).status).toBe(200);
  const begun = await server.ask('POST', '/mine/big?uploads');
  const uploadId = /<UploadId>(\w+)</.exec(begun.text)![1]!;
  const part = await server.ask('PUT', `/mine/big?uploadId=${uploadId}&partNumber=1`, {
    body: Buffer.alloc(200),
  });
  const etag = part.headers['etag'];
  const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`;
  const completed = await server.ask('POST', `/mine/big?uploadId=${uploadId}`, { body });
  expect([completed.status, completed.code]).toEqual([403, 'QuotaExceeded']);
});

it('bodies of an account flow at its byte rate, up and down', async () => {
  const body = Buffer.alloc(600_000, 1);
  headers[BYTE_RATE_HEADER] = '400000';
  const startMs = performance.now();
  expect((await server.ask('PUT', '/mine/a', { body })).status).toBe(200);
  const got = await server.ask('GET', '/mine/a');
  expect([got.status, got.body.length]).toEqual([200, body.length]);
  // 1,200,000 bytes, the first 400,000 in advance; the last of them may be owed.
  expect(performance.now() - startMs).toBeGreaterThan(400);
});

it("one tenant's hanging requests don't stall another's", async () => {
  await server.close();
  await start({ starts: 4, open: 8, holdMs: 200, waitMs: 600_000 });
  await server.ask('PUT', '/mine/a', { body: 'x' });
  await server.ask('PUT', '/theirs/a', { body: 'y', as: 'stranger' });
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { store } = server;
  const open = store.openObject.bind(store);
  store.openObject = async (operation, name) => {
    if (name.account === 'AUTH_p1') await held;
    return open(operation, name);
  };
  const hanging = Array.from({ length: 30 }, () => server.ask('GET', '/mine/a'));
  for (let i = 0; i < 5; i++) {
    const answer = await server.ask('GET', '/theirs/a', { as: 'stranger' });
    expect([answer.status, answer.text]).toEqual([200, 'y']);
  }
  release();
  for (const answer of await Promise.all(hanging)) expect(answer.status).toBe(200);
});
