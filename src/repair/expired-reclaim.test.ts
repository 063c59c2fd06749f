/**
 * Reclaim of expired versions and their rows: on a cluster of three nodes with real containers and all jobs at
 * work, the expirer too, which frees a body two minutes after its delete-at.
 */
import { describe, expect, it } from 'vitest';
import { EXPIRY_GRACE_SECONDS } from '#proxy/testing/test-cluster.ts';
import { ReclaimCluster } from './testing/reclaim-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'];
const AGE_SECONDS = 15;
const TIMEOUT_MS = 180_000;
const LIFE_SECONDS = 10;
/** Life and grace are over, and every expirer has looked. */
const FREED_MS = (LIFE_SECONDS + EXPIRY_GRACE_SECONDS + 35) * 1000;
/** Age, margin (as long), two rounds and a look, which comes every 30 s at most. */
const RECLAIMED_MS = 100_000;
const NOWHERE = NODES.map(() => undefined);

async function started(): Promise<ReclaimCluster> {
  const reclaim = await ReclaimCluster.start({ ageSeconds: AGE_SECONDS, realRows: true });
  await reclaim.pass(5_000);
  return reclaim;
}

function putExpiring(reclaim: ReclaimCluster, name: string): Promise<unknown> {
  return reclaim.put(name, { deleteAt: reclaim.nowSeconds() + LIFE_SECONDS });
}

describe('reclaim of what expired', { timeout: TIMEOUT_MS }, () => {
  it('forgets entries and rows everywhere; nobody hands them back, and no crash does', async () => {
    const reclaim = await started();
    await putExpiring(reclaim, 'x');
    await reclaim.put('stays');
    await reclaim.pass(FREED_MS);
    expect(reclaim.kinds('x')).toEqual(NODES.map(() => 'expired'));
    expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'stays', 'x']));
    await reclaim.pass(RECLAIMED_MS);
    reclaim.cluster.kill('bari');
    await reclaim.restart('bari');
    // What is rebuilt from the log alone knows of it, and that it was forgotten.
    reclaim.cluster.kill('padova');
    const { disk } = reclaim.cluster.node('padova').machine;
    for (const name of ['index.db', 'rows.db']) disk.lose(`/d1/${name}`);
    await reclaim.restart('padova');
    for (let look = 0; look < 2; look++) {
      expect(reclaim.kinds('x')).toEqual(NOWHERE);
      expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'stays']));
      expect(reclaim.rowsAgree).toBe(true);
      await reclaim.pass(40_000);
    }
    await reclaim.put('x');
    await reclaim.pass(5_000);
    expect(await reclaim.read('padova', 'x')).toBe('x');
    expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'stays', 'x']));
  });

  it('waits for a device that is away: an older version that it brings back stays hidden', async () => {
    const reclaim = await started();
    await reclaim.put('x');
    await reclaim.pass(3_000);
    reclaim.cluster.kill('padova');
    await putExpiring(reclaim, 'x');
    await reclaim.pass(FREED_MS + 2 * RECLAIMED_MS);
    for (const node of ['lngs', 'bari']) {
      expect(reclaim.kinds('x', [node])).toEqual(['expired']);
      expect(reclaim.rowsAt(node)).toEqual(['', 'x']);
    }
    await reclaim.restart('padova');
    expect(reclaim.kinds('x', ['padova'])).toEqual(['live']);
    expect(await reclaim.read('padova', 'x')).toBeUndefined();
    await reclaim.pass(2 * RECLAIMED_MS);
    expect(reclaim.kinds('x')).toEqual(NOWHERE);
    expect(reclaim.rows()).toEqual(NODES.map(() => ['']));
    expect(await reclaim.read('padova', 'x')).toBeUndefined();
  });

  it('waits for a device that may know of a later expiry, and gives the version back to all', async () => {
    const reclaim = await started();
    await putExpiring(reclaim, 'x');
    await reclaim.pass(3_000);
    // Undecided: it has reached one replica, which goes away with it.
    await reclaim.retimeAt('lngs', 'x');
    for (const node of NODES) reclaim.cluster.kill(node);
    await reclaim.restart('bari');
    await reclaim.restart('padova');
    await reclaim.pass(FREED_MS + 2 * RECLAIMED_MS);
    for (const node of ['bari', 'padova']) expect(reclaim.kinds('x', [node])).toEqual(['expired']);
    await reclaim.restart('lngs');
    await reclaim.pass(2 * RECLAIMED_MS);
    for (const node of NODES) expect(await reclaim.read(node, 'x')).toBe('x');
    expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'x']));
    const totals = reclaim.containers().map((facts) => facts?.totals.rows);
    expect(totals).toEqual([1, 1, 1]);
  });

  it('a new version is not forgotten with the expired one that it replaced', async () => {
    const reclaim = await started();
    await putExpiring(reclaim, 'x');
    await reclaim.pass(FREED_MS);
    await reclaim.put('x');
    await reclaim.pass(2 * RECLAIMED_MS);
    expect(reclaim.kinds('x')).toEqual(NODES.map(() => 'live'));
    expect(await reclaim.read('bari', 'x')).toBe('x');
  });
});
