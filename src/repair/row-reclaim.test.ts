/** Reclaim of rows, on a cluster of three nodes with real containers and all jobs at work. */
import { describe, expect, it } from 'vitest';
import { encodeState } from '#base/entry-codec.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { CONTAINER } from '#proxy/testing/test-cluster.ts';
import { PATHS, ReclaimCluster } from './testing/reclaim-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'];
const AGE_SECONDS = 15;
/** Age, margin (as long), two rounds and a look, which comes every 30 s at most. */
const RECLAIMED_MS = 100_000;
/** Virtual minutes are real seconds, and on a busy machine many. */
const TIMEOUT_MS = 180_000;

async function started(): Promise<ReclaimCluster> {
  const reclaim = await ReclaimCluster.start({ ageSeconds: AGE_SECONDS, realRows: true });
  await reclaim.pass(5_000);
  return reclaim;
}

describe('reclaim of rows', { timeout: TIMEOUT_MS }, () => {
  it('forgets the rows of deleted objects everywhere, and nobody hands them back', async () => {
    const reclaim = await started();
    for (const name of ['a', 'b', 'c']) await reclaim.put(name);
    await reclaim.remove('a');
    await reclaim.remove('b');
    await reclaim.pass(3_000);
    expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'a', 'b', 'c']));
    await reclaim.pass(RECLAIMED_MS);
    for (let look = 0; look < 2; look++) {
      expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'c']));
      expect(reclaim.rowsAgree).toBe(true);
      await reclaim.pass(40_000);
    }
    await reclaim.put('a');
    await reclaim.pass(20_000);
    expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'a', 'c']));
    expect(reclaim.rowsAgree).toBe(true);
  });

  it('forgets a deleted container, and its row in the account', async () => {
    const reclaim = await started();
    const { cluster } = reclaim;
    await reclaim.put('x');
    await reclaim.remove('x');
    await cluster.run(cluster.proxy.deleteContainer(cluster.operation(), CONTAINER));
    await reclaim.pass(3_000);
    expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'x']));
    expect(reclaim.rows(ACCOUNT_RING)).toEqual(NODES.map(() => ['', CONTAINER.container]));
    await reclaim.pass(RECLAIMED_MS + 40_000);
    expect(reclaim.rows()).toEqual(NODES.map(() => []));
    expect(reclaim.rows(ACCOUNT_RING)).toEqual(NODES.map(() => ['']));
    await cluster.createContainer();
    await reclaim.put('x');
    await reclaim.pass(20_000);
    expect(reclaim.rows()).toEqual(NODES.map(() => ['', 'x']));
  });

  it('waits for a replica that is away, and takes no late deletion back in', async () => {
    const reclaim = await started();
    const { cluster } = reclaim;
    await reclaim.put('x');
    await reclaim.pass(5_000);
    cluster.kill('padova');
    await reclaim.remove('x');
    await reclaim.pass(2 * RECLAIMED_MS);
    for (const node of ['lngs', 'bari']) expect(reclaim.rowsAt(node)).toEqual(['', 'x']);
    const hash = reclaim.hashOf(CONTAINER_RING);
    const late = cluster.node('lngs').rows.read(CONTAINER_RING, hash, 'x')!;
    expect(late.data!.kind).toBe('deleted');
    await reclaim.restart('padova');
    expect(reclaim.rowsAt('padova')).toEqual(['', 'x']);
    await reclaim.pass(2 * RECLAIMED_MS);
    expect(reclaim.rows()).toEqual(NODES.map(() => ['']));
    const row = { hash, path: PATHS[CONTAINER_RING]!, name: 'x', state: encodeState(late) };
    const { endpoint, device } = cluster.node('bari');
    const args = { device, ringVersion: 1, rows: [row], intent: 'repair' };
    const options = { txn: 'late', deadlineMs: 5_000 };
    const { result } = await cluster.run(endpoint.call('bari', 'container.rows', args, options));
    expect(result).toMatchObject({ outcomes: ['superseded'] });
    expect(reclaim.rowsAt('bari')).toEqual(['']);
  });
});
