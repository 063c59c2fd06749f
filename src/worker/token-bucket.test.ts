import { describe, expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { TokenBucket } from './token-bucket.ts';

function setUp(rate: number) {
  const world = new SimWorld({ seed: 1 });
  const { clock } = world.machine('node').env;
  const limit = { rate, looks: 0 };
  const startMs = clock.monotonicMs();
  const passedMs = (): number => clock.monotonicMs() - startMs;
  const bucket = new TokenBucket(clock, () => {
    limit.looks++;
    return limit.rate;
  });
  return { world, clock, limit, passedMs, bucket };
}

async function takeFor(bucket: TokenBucket, amount: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await bucket.take(amount);
}

async function takeFirst(bucket: TokenBucket, amount: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await bucket.take(amount, undefined, 'first');
}

describe('a token bucket', () => {
  it('lets several users together have no more than the rate', async () => {
    const { world, passedMs, bucket } = setUp(1000);
    const users = [takeFor(bucket, 100, 50), takeFor(bucket, 250, 20)];
    await world.run(Promise.all(users));
    // 10,000 at 1,000 a second; the last piece is owed when it is given.
    expect(passedMs()).toBeGreaterThan(9_600);
    expect(passedMs()).toBeLessThan(10_100);
  });

  it('passes a piece that is larger than a second allows, and makes the next wait for it', async () => {
    const { world, passedMs, bucket } = setUp(1000);
    await world.run(bucket.take(5_000));
    expect(passedMs()).toBeLessThan(10);
    await world.run(bucket.take(1));
    expect(passedMs()).toBeGreaterThanOrEqual(4_900);
  });

  it('lets who goes first wait for no one else, and the others pay for it', async () => {
    const { world, passedMs, bucket } = setUp(1000);
    await world.run(bucket.take(5_000));
    const other = bucket.take(1);
    await world.runFor(1_000);
    await world.run(takeFirst(bucket, 500, 3));
    // The third waits for the first two only.
    expect(passedMs()).toBeGreaterThanOrEqual(1_900);
    expect(passedMs()).toBeLessThan(2_100);
    await world.run(other);
    expect(passedMs()).toBeGreaterThanOrEqual(6_400);
    expect(passedMs()).toBeLessThan(6_600);
  });

  it('lets the others go on when who would go first has given up', async () => {
    const { world, passedMs, bucket } = setUp(1000);
    await world.run(bucket.take(2_000, undefined, 'first'));
    const impatient = new AbortController();
    const given = Promise.allSettled([
      bucket.take(500, impatient.signal, 'first'),
      bucket.take(500, impatient.signal, 'first'),
    ]);
    const other = bucket.take(1);
    await world.runFor(1_000);
    impatient.abort();
    expect((await world.run(given)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await world.run(other);
    expect(passedMs()).toBeLessThan(2_100);
  });

  it('saves up no more than a tenth of a second', async () => {
    const { world, clock, bucket } = setUp(1000);
    await world.runFor(60_000);
    const start = clock.monotonicMs();
    await world.run(takeFor(bucket, 100, 21));
    expect(clock.monotonicMs() - start).toBeGreaterThan(1_800);
  });

  it('follows a changed rate while somebody waits', async () => {
    const { world, passedMs, limit, bucket } = setUp(10);
    await world.run(bucket.take(1_000));
    const waiting = bucket.take(1);
    await world.runFor(1_000);
    limit.rate = Number.POSITIVE_INFINITY;
    await world.run(waiting);
    expect(passedMs()).toBeLessThan(1_600);
  });

  it('lets nothing pass at a rate of 0, and only looks now and then whether that has changed', async () => {
    const { world, passedMs, limit, bucket } = setUp(0);
    const waiting = bucket.take(1);
    const looksBefore = limit.looks;
    await world.runFor(10_000);
    // Sleeping for NaN milliseconds is not sleeping.
    expect(limit.looks - looksBefore).toBeLessThan(60);
    limit.rate = 1000;
    await world.run(waiting);
    expect(passedMs()).toBeGreaterThanOrEqual(10_000);
    expect(passedMs()).toBeLessThan(10_600);
  });

  it('goes on after one who waited has given up', async () => {
    const { world, bucket } = setUp(10);
    await world.run(bucket.take(50));
    const abort = new AbortController();
    const given = bucket.take(1, abort.signal).catch((error: Error) => error.message);
    const next = bucket.take(1);
    await world.runFor(100);
    abort.abort(new Error('no longer wanted'));
    expect(await world.run(given)).toBe('no longer wanted');
    await world.run(next);
  });
});
