import { describe, expect, it } from 'vitest';
import { WireError } from './contract.ts';
import { IncomingBody, ReceiveBudget } from './incoming-body.ts';
import { readAll } from './testing/sim-cluster.ts';

/** Half of the budget is less than the largest window: the stream has to show that it is fast. */
function setUp(budgetBytes = 7_000) {
  const seen = { granted: [] as number[], cancelled: [] as string[] };
  const time = { nowMs: 0, rttMs: 0 };
  const owner = {
    grant: (bytes: number) => void seen.granted.push(bytes),
    cancelled: (reason: string) => void seen.cancelled.push(reason),
    progressed: () => undefined,
    nowMs: () => time.nowMs,
    rttMs: () => time.rttMs,
  };
  const budget = new ReceiveBudget(budgetBytes);
  const body = new IncomingBody(owner, budget, 1000, 4000);
  return { seen, time, budget, body };
}

/** Pieces of 500 bytes, each read as soon as it has come; how much was granted for each. */
async function passThrough({ seen, time, body }: ReturnType<typeof setUp>, msEach: number) {
  const iterator = body[Symbol.asyncIterator]();
  const granted: number[] = [];
  for (let i = 0; i < 8; i++) {
    const before = seen.granted.reduce((sum, bytes) => sum + bytes, 0);
    time.nowMs += msEach;
    body.push([Buffer.alloc(500)], 500, false);
    await iterator.next();
    granted.push(seen.granted.reduce((sum, bytes) => sum + bytes, 0) - before);
  }
  return granted;
}

describe('a body that arrives', () => {
  it('has the largest window at once while half of the budget is free', async () => {
    const { seen, budget, body } = setUp(8_000);
    expect(seen.granted).toEqual([3000]);
    expect(budget.usedBytes).toBe(4000);
    body.push([Buffer.alloc(4000)], 4000, false);
    expect(() => body.push([Buffer.alloc(1)], 1, false)).toThrow('more than its credit');
  });

  it('grants more by quarters as it is read', async () => {
    const { seen, time, body } = setUp();
    for (const length of [200, 100, 700]) body.push([Buffer.alloc(length)], length, false);
    expect(() => body.push([Buffer.alloc(1)], 1, false)).toThrow('more than its credit');
    time.nowMs = 1_000;
    await body[Symbol.asyncIterator]().next();
    expect(seen.granted).toEqual([1000]);
  });

  it('doubles its window up to the most while it is read fast', async () => {
    const fast = setUp();
    expect(await passThrough(fast, 1)).toEqual([500, 1500, 500, 500, 500, 2500, 0, 1000]);
    expect(fast.budget.usedBytes).toBe(4000);
  });

  it('keeps its window where a grant is in time anyway, however long the path', async () => {
    const slow = setUp();
    expect(await passThrough(slow, 30)).toEqual(Array(8).fill(500));
    const far = setUp();
    far.time.rttMs = 20;
    expect((await passThrough(far, 30)).slice(0, 2)).toEqual([500, 1500]);
  });

  it('has only the initial window when the budget is spent, and gives it back', async () => {
    const poor = setUp(3000);
    await passThrough(poor, 1);
    expect(poor.budget.usedBytes).toBe(2000);
    poor.body.push([], 0, true);
    expect(poor.budget.usedBytes).toBe(0);
    poor.body.cancel();
    expect(poor.budget.usedBytes).toBe(0);
  });

  it('joins crumbs, so that one byte does not keep a chunk alive', async () => {
    const { body } = setUp();
    const chunk = Buffer.from(Array.from({ length: 900 }, (_, i) => i));
    for (let at = 0; at < 900; at++) body.push([chunk.subarray(at, at + 1)], 1, at === 899);
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(piece);
    expect(pieces).toHaveLength(1);
    expect(Buffer.concat(pieces).equals(chunk)).toBe(true);
  });

  it('can be read after its end, once, by one reader', async () => {
    const { body } = setUp();
    body.push([Buffer.alloc(1000, 1)], 1000, true);
    expect(await readAll(body)).toHaveLength(1000);
    expect(() => body[Symbol.asyncIterator]()).toThrow('read once');
  });

  it('drops what it holds when it breaks off: half a body is of no use', async () => {
    const { body } = setUp();
    body.push([Buffer.alloc(1000, 1)], 1000, false);
    const iterator = body[Symbol.asyncIterator]();
    await iterator.next();
    const next = iterator.next();
    await expect(iterator.next()).rejects.toThrow('one read at a time');
    body.fail(new WireError('connection-lost', 'gone'));
    await expect(next).rejects.toMatchObject({ code: 'connection-lost' });
    await expect(iterator.next()).rejects.toMatchObject({ code: 'connection-lost' });
  });

  it('tells its owner once when it is cancelled, and not after its end', async () => {
    const { seen, body } = setUp();
    body.cancel('enough');
    body.cancel('again');
    expect(seen.cancelled).toEqual(['enough']);
    await expect(readAll(body)).rejects.toMatchObject({ code: 'cancelled' });
    const other = setUp();
    other.body.push([], 0, true);
    other.body.cancel();
    expect(other.seen.cancelled).toEqual([]);
  });
});
