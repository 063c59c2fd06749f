/** Reclaim on a cluster of three nodes with all jobs at work: tombstones go, deletions stay. */
import { describe, expect, it } from 'vitest';
import { objectName } from '#proxy/testing/test-cluster.ts';
import { ReclaimCluster } from './testing/reclaim-cluster.ts';

const AGE_SECONDS = 60;
/** Age, margin (as long), two rounds and a look. */
const RECLAIMED_MS = 4 * 60_000;

async function started(): Promise<ReclaimCluster> {
  const reclaim = await ReclaimCluster.start({ ageSeconds: AGE_SECONDS });
  await reclaim.pass(5_000);
  return reclaim;
}

describe('reclaim', () => {
  it('forgets tombstones everywhere, and nobody hands them back', async () => {
    const reclaim = await started();
    for (const name of ['a', 'b', 'c']) await reclaim.put(name);
    await reclaim.remove('a');
    await reclaim.remove('b');
    await reclaim.pass(30_000);
    expect(reclaim.kinds('a')).toEqual(['deleted', 'deleted', 'deleted']);
    await reclaim.pass(RECLAIMED_MS);
    for (let look = 0; look < 3; look++) {
      expect(reclaim.kinds('a')).toEqual([undefined, undefined, undefined]);
      expect(reclaim.kinds('b')).toEqual([undefined, undefined, undefined]);
      expect(reclaim.kinds('c')).toEqual(['live', 'live', 'live']);
      await reclaim.pass(60_000);
    }
  });

  it('waits for a device that is away, however long, and what it brings back stays deleted', async () => {
    const reclaim = await started();
    await reclaim.put('x');
    await reclaim.pass(5_000);
    reclaim.cluster.kill('padova');
    await reclaim.remove('x');
    await reclaim.pass(4 * RECLAIMED_MS);
    expect(reclaim.kinds('x', ['lngs'])).toEqual(['deleted']);
    expect(reclaim.kinds('x', ['bari'])).toEqual(['deleted']);
    await reclaim.restart('padova');
    expect(reclaim.kinds('x', ['padova'])).toEqual(['live']);
    await reclaim.pass(40_000);
    expect(reclaim.kinds('x', ['padova'])).toEqual(['deleted']);
    await reclaim.pass(2 * RECLAIMED_MS);
    expect(reclaim.kinds('x')).toEqual([undefined, undefined, undefined]);
    const { cluster } = reclaim;
    const { proxy } = cluster.node('padova');
    const reader = await cluster.run(proxy.openObject(cluster.operation(), objectName('x')));
    expect(reader).toBeUndefined();
  });

  it('is not hurried by the age of the tombstone itself', async () => {
    const reclaim = await started();
    await reclaim.put('x');
    await reclaim.pass(5_000);
    reclaim.cluster.kill('padova');
    await reclaim.remove('x');
    await reclaim.pass(2 * RECLAIMED_MS);
    await reclaim.restart('padova');
    await reclaim.pass(40_000);
    // Minutes old where it was made, seconds where it has only arrived.
    expect(reclaim.kinds('x', ['padova'])).toEqual(['deleted']);
  });
});
