/** Signatures, secret keys and customers' keys are in no log and no report, whatever happens. */
import { hash, randomBytes } from 'node:crypto';
import { beforeAll, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import type { Log } from '#env/env.ts';
import { NodeClock } from '#env/node/clock.ts';
import { NodeRandom } from '#env/node/random.ts';
import { serverOfFile } from './testing/file-server.ts';
import { secretOf } from './testing/harness.ts';

const told: unknown[] = [];
const record = (...line: unknown[]): void => void told.push(line);
const log: Log = {
  ...{ debug: record, info: record, warn: record, error: record },
  with: (facts) => {
    told.push(facts);
    return log;
  },
};
const env = { clock: new NodeClock(), random: new NodeRandom(), log };
const server = serverOfFile({ env, finished: record });
const CUSTOMER = 'x-amz-server-side-encryption-customer-';
let bucket = '';

beforeAll(async () => {
  bucket = await server.freshBucket();
});

it('what signs and what encrypts stays out of logs, when requests succeed and when they fail', async () => {
  const customerKey = randomBytes(32);
  const sealed = {
    [`${CUSTOMER}algorithm`]: 'AES256',
    [`${CUSTOMER}key`]: customerKey.toString('base64'),
    [`${CUSTOMER}key-md5`]: Buffer.from(hash('md5', customerKey, 'buffer')).toString('base64'),
  };
  const signed = server.signed('GET', `${bucket}/k`, { headers: sealed });
  const presigned = server.presigned('GET', `${bucket}/k`, 3600);
  const statuses = async (): Promise<number[]> => {
    const put = await server.ask('PUT', `${bucket}/k`, { body: 'x', headers: sealed });
    const get = await server.ask('GET', `${bucket}/k`, { headers: sealed });
    const forged = await server.ask('GET', `${bucket}/other`, { as: '', headers: signed });
    const shared = await server.ask('GET', presigned, { as: '' });
    return [put, get, forged, shared].map(({ status }) => status);
  };
  expect(await statuses()).toEqual([200, 200, 403, 400]);
  server.store.failWith = new OperatingError('unavailable', 'no majority');
  expect(await statuses()).toEqual([503, 503, 403, 503]);
  expect(told.length).toBeGreaterThan(8);
  const text = JSON.stringify(told);
  const signatures = [presigned, signed['authorization']!].map((from) => from.slice(-64));
  for (const secret of [...signatures, sealed[`${CUSTOMER}key`]!, secretOf('owner')]) {
    expect(text).not.toContain(secret);
  }
});
