/** Reclaim of rows, on a cluster of three nodes with real containers and all jobs at work. */
import { describe, expect, it } from 'vitest';
import { encodeState } from '#base/entry-codec.ts';
import { hashPath } from '#base/hash.ts';
import {
  ACCOUNT_RING,
  accountPath,
  CONTAINER_RING,
  containerPath,
  type PolicyIndex,
} from '#base/names.ts';
import { CONTAINER, objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'];
const AGE_SECONDS = 15;
/** Age, margin (as long), two rounds and a look, which comes every 30 s at most. */
const RECLAIMED_MS = 100_000;
/** Virtual minutes are real seconds, and on a busy machine many. */
const TIMEOUT_MS = 180_000;

async function started(): Promise<TestCluster> {
  const cluster = await TestCluster.start({ runJobs: true, realRows: true });
  for (const node of NODES) shorten(cluster, node);
  await cluster.createContainer();
  await cluster.world.runFor(5_000);
  return cluster;
}

function shorten(cluster: TestCluster, node: string): void {
  cluster.node(node).service.budget.change({ reclaimAgeSeconds: AGE_SECONDS });
}

function put(cluster: TestCluster, object: string): Promise<unknown> {
  const request = putRequest(Buffer.from(object));
  return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(object), request));
}

function remove(cluster: TestCluster, object: string): Promise<unknown> {
  return cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName(object)));
}

const PATHS = {
  [CONTAINER_RING]: containerPath(CONTAINER),
  [ACCOUNT_RING]: accountPath(CONTAINER.account),
} as Readonly<Record<PolicyIndex, string>>;

function hashOf(cluster: TestCluster, ring: PolicyIndex): Buffer {
  const { hashPrefix, hashSuffix } = cluster.view;
  return hashPath(hashPrefix, PATHS[ring]!, hashSuffix);
}

/** Names of the rows at a node, deleted ones too. */
function rowsAt(cluster: TestCluster, node: string, ring = CONTAINER_RING): string[] {
  const { rows } = cluster.node(node);
  const changes = rows.changes(ring, hashOf(cluster, ring), 0, 100);
  return changes.map(({ name }) => name).sort();
}

function everywhere(cluster: TestCluster, ring = CONTAINER_RING): string[][] {
  return NODES.map((node) => rowsAt(cluster, node, ring));
}

function digests(cluster: TestCluster): Set<string> {
  const hash = hashOf(cluster, CONTAINER_RING);
  const sums = NODES.map((node) => cluster.node(node).rows.facts(CONTAINER_RING, hash)?.digest);
  return new Set(sums.map(String));
}

describe('reclaim of rows', { timeout: TIMEOUT_MS }, () => {
  it('forgets the rows of deleted objects everywhere, and nobody hands them back', async () => {
    const cluster = await started();
    for (const name of ['a', 'b', 'c']) await put(cluster, name);
    await remove(cluster, 'a');
    await remove(cluster, 'b');
    await cluster.world.runFor(3_000);
    expect(everywhere(cluster)).toEqual(NODES.map(() => ['', 'a', 'b', 'c']));
    await cluster.world.runFor(RECLAIMED_MS);
    for (let look = 0; look < 2; look++) {
      expect(everywhere(cluster)).toEqual(NODES.map(() => ['', 'c']));
      expect(digests(cluster).size).toBe(1);
      await cluster.world.runFor(40_000);
    }
    await put(cluster, 'a');
    await cluster.world.runFor(20_000);
    expect(everywhere(cluster)).toEqual(NODES.map(() => ['', 'a', 'c']));
    expect(digests(cluster).size).toBe(1);
  });

  it('forgets a deleted container, and its row in the account', async () => {
    const cluster = await started();
    await put(cluster, 'x');
    await remove(cluster, 'x');
    await cluster.run(cluster.proxy.deleteContainer(cluster.operation(), CONTAINER));
    await cluster.world.runFor(3_000);
    expect(everywhere(cluster)).toEqual(NODES.map(() => ['', 'x']));
    expect(everywhere(cluster, ACCOUNT_RING)).toEqual(NODES.map(() => ['', CONTAINER.container]));
    await cluster.world.runFor(RECLAIMED_MS + 40_000);
    expect(everywhere(cluster)).toEqual(NODES.map(() => []));
    expect(everywhere(cluster, ACCOUNT_RING)).toEqual(NODES.map(() => ['']));
    await cluster.createContainer();
    await put(cluster, 'x');
    await cluster.world.runFor(20_000);
    expect(everywhere(cluster)).toEqual(NODES.map(() => ['', 'x']));
  });

  it('waits for a replica that is away, and takes no late deletion back in', async () => {
    const cluster = await started();
    await put(cluster, 'x');
    await cluster.world.runFor(5_000);
    cluster.kill('padova');
    await remove(cluster, 'x');
    await cluster.world.runFor(2 * RECLAIMED_MS);
    for (const node of ['lngs', 'bari']) expect(rowsAt(cluster, node)).toEqual(['', 'x']);
    const hash = hashOf(cluster, CONTAINER_RING);
    const late = cluster.node('lngs').rows.read(CONTAINER_RING, hash, 'x')!;
    expect(late.data!.kind).toBe('deleted');
    await cluster.restart('padova');
    shorten(cluster, 'padova');
    expect(rowsAt(cluster, 'padova')).toEqual(['', 'x']);
    await cluster.world.runFor(2 * RECLAIMED_MS);
    expect(everywhere(cluster)).toEqual(NODES.map(() => ['']));
    const row = { hash, path: PATHS[CONTAINER_RING]!, name: 'x', state: encodeState(late) };
    const { endpoint, device } = cluster.node('bari');
    const args = { device, ringVersion: 1, rows: [row], intent: 'repair' };
    const options = { txn: 'late', deadlineMs: 5_000 };
    const { result } = await cluster.run(endpoint.call('bari', 'container.rows', args, options));
    expect(result).toMatchObject({ outcomes: ['superseded'] });
    expect(rowsAt(cluster, 'bari')).toEqual(['']);
  });
});
