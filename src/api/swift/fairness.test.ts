/** Rates of accounts as Swift's clients see them. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NodeClock } from '#env/node/clock.ts';
import { Fairness, REQUEST_RATE_HEADER } from '#proxy/fairness/fairness.ts';
import { ACCOUNT, BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;
const headers: Record<string, string> = {};

beforeAll(async () => {
  const headersOf = (account: string) => (account === ACCOUNT ? headers : undefined);
  server = await startServer({ fairness: new Fairness({ clock: new NodeClock(), headersOf }) });
  await server.ask('PUT', `${BASE}/box`, { headers: { 'X-Container-Read': '.r:*' } });
  await server.ask('PUT', `${BASE}/box/a`, { body: 'x' });
});

afterAll(() => server.close());

it('above its request rate an account is told 498 and when to come again; who else asks is not', async () => {
  headers[REQUEST_RATE_HEADER] = '1';
  const ask = (as: string) =>
    Promise.all(Array.from({ length: 20 }, () => server.ask('GET', `${BASE}/box/a`, { as })));
  const refused = (await ask('owner')).filter(({ status }) => status === 498);
  expect(refused.length).toBeGreaterThan(0);
  expect(Number(refused[0]!.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  // Anonymous readers of a public container are not the account's own requests.
  expect((await ask('')).map(({ status }) => status)).toEqual(Array(20).fill(200));
});

it('rates are set by reseller admins alone', async () => {
  delete headers[REQUEST_RATE_HEADER];
  const rate = (value: string) => ({ headers: { [REQUEST_RATE_HEADER]: value } });
  expect((await server.ask('POST', BASE, rate('100'))).status).toBe(403);
  const as = 'reseller';
  expect((await server.ask('POST', BASE, { ...rate('many'), as })).status).toBe(400);
  expect((await server.ask('POST', BASE, { ...rate('100'), as })).status).toBe(204);
});
