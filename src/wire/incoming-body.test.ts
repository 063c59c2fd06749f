import { describe, expect, it } from 'vitest';
import { WireError } from './contract.ts';
import { IncomingBody, ReceiveBudget } from './incoming-body.ts';
import { readAll } from './testing/sim-cluster.ts';

function setUp(budgetBytes = 10_000_000) {
  const seen = { granted: [] as number[], cancelled: [] as string[] };
  const owner = {
    grant: (bytes: number) => void seen.granted.push(bytes),
    cancelled: (reason: string) => void seen.cancelled.push(reason),
    progressed: () => undefined,
  };
  const budget = new ReceiveBudget(budgetBytes);
  const body = new IncomingBody(owner, budget, 1000, 4000);
  return { seen, budget, body };
}

describe('a body that arrives', () => {
  it('grants its whole window at once, and more by quarters as it is read', async () => {
    const { seen, body } = setUp();
    expect(seen.granted).toEqual([3000]);
    for (const length of [1024, 1024, 1952]) body.push([Buffer.alloc(length)], length, false);
    expect(() => body.push([Buffer.alloc(1)], 1, false)).toThrow('more than its credit');
    const iterator = body[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) await iterator.next();
    expect(seen.granted).toEqual([3000, 1024, 1024, 1952]);
  });

  it('has only the initial window when the budget is spent, and gives it back', () => {
    const { seen, budget, body } = setUp(3000);
    expect(seen.granted).toEqual([]);
    expect(budget.usedBytes).toBe(1000);
    body.push([], 0, true);
    expect(budget.usedBytes).toBe(0);
    body.cancel();
    expect(budget.usedBytes).toBe(0);
  });

  it('joins crumbs, so that one byte does not keep a chunk alive', async () => {
    const { body } = setUp();
    const chunk = Buffer.from(Array.from({ length: 3000 }, (_, i) => i));
    for (let at = 0; at < 3000; at++) body.push([chunk.subarray(at, at + 1)], 1, at === 2999);
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(piece);
    expect(pieces).toHaveLength(1);
    expect(Buffer.concat(pieces).equals(chunk)).toBe(true);
  });

  it('can be read after its end, once, by one reader', async () => {
    const { body } = setUp();
    body.push([Buffer.alloc(2000, 1)], 2000, true);
    expect(await readAll(body)).toHaveLength(2000);
    expect(() => body[Symbol.asyncIterator]()).toThrow('read once');
  });

  it('drops what it holds when it breaks off: half a body is of no use', async () => {
    const { body } = setUp();
    body.push([Buffer.alloc(2000, 1)], 2000, false);
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
