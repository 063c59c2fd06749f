/** Whom a joining device may learn from: enough at once are behind its fence before it hears any of them. */
import { describe, expect, it } from 'vitest';
import { fenceOff, isBehindFence } from './fencing.ts';
import type { OwnPartition, Peer } from './own-partitions.ts';
import type { RingDevice } from './ring.ts';

const OTHERS = [1, 2, 3].map((id) => ({ id, node: `n${id}` }) as RingDevice);
const PARTITION: OwnPartition = {
  partition: 0,
  buckets: { from: 0, to: 10 },
  others: OTHERS,
  needed: 2,
  learnsAt: 7,
  fencedAt: undefined,
  holdsBodies: true,
};

/** Answers when it is told to. */
function asked(partition: OwnPartition) {
  const raised = new Map<number, PromiseWithResolvers<void>>();
  const ask = ({ device }: Peer): Promise<void> => {
    const answer = Promise.withResolvers<void>();
    raised.set(device, answer);
    return answer.promise;
  };
  let enough: ReadonlySet<number> | undefined;
  const done = fenceOff([partition], ask, () => undefined).then((devices) => {
    enough = devices;
  });
  return { raised, done, enough: () => enough && [...enough] };
}

describe('fencing off', () => {
  it('asks all at once, and ends when enough have raised it', async () => {
    const { raised, done, enough } = asked(PARTITION);
    expect([...raised.keys()]).toEqual([1, 2, 3]);
    raised.get(2)!.resolve();
    await Promise.resolve();
    expect(enough()).toBeUndefined();
    raised.get(1)!.resolve();
    await done;
    raised.get(3)!.resolve();
    await Promise.resolve();
    expect(enough()).toEqual([2, 1]);
  });

  it('ends when all have answered, or failed', async () => {
    const { raised, done, enough } = asked(PARTITION);
    raised.get(1)!.resolve();
    for (const device of [2, 3]) raised.get(device)!.reject(new Error('away'));
    await done;
    expect(enough()).toEqual([1]);
  });

  it('asks nobody where nothing is to be learnt', async () => {
    const { raised, done } = asked({ ...PARTITION, learnsAt: undefined });
    await done;
    expect(raised.size).toBe(0);
  });

  it('is lost by who tells of an older fence, or of none', () => {
    expect([7, 8, 6, 0, undefined].map((fence) => isBehindFence(PARTITION, fence))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
  });
});
