/** Reclaim on a cluster of three nodes with all jobs at work: tombstones go, deletions stay. */
import { describe, expect, it } from 'vitest';
import { hashPath } from '#base/hash.ts';
import { objectPath } from '#base/names.ts';
import { objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'];
const AGE_SECONDS = 60;
/** Age, margin (as long), two rounds and a look. */
const RECLAIMED_MS = 4 * 60_000;

async function started(): Promise<TestCluster> {
  const cluster = await TestCluster.start({ runJobs: true });
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

function kindAt(cluster: TestCluster, node: string, object: string): string | undefined {
  const { hashPrefix, hashSuffix } = cluster.view;
  const hash = hashPath(hashPrefix, objectPath(objectName(object)), hashSuffix);
  return cluster.device(node).stat({ policy: 0, hash })?.state.data?.kind;
}

function kinds(cluster: TestCluster, object: string): (string | undefined)[] {
  return NODES.map((node) => kindAt(cluster, node, object));
}

describe('reclaim', { timeout: 180_000 }, () => {
  it('forgets tombstones everywhere, and nobody hands them back', async () => {
    const cluster = await started();
    for (const name of ['a', 'b', 'c']) await put(cluster, name);
    await remove(cluster, 'a');
    await remove(cluster, 'b');
    await cluster.world.runFor(30_000);
    expect(kinds(cluster, 'a')).toEqual(['deleted', 'deleted', 'deleted']);
    await cluster.world.runFor(RECLAIMED_MS);
    for (let look = 0; look < 3; look++) {
      expect(kinds(cluster, 'a')).toEqual([undefined, undefined, undefined]);
      expect(kinds(cluster, 'b')).toEqual([undefined, undefined, undefined]);
      expect(kinds(cluster, 'c')).toEqual(['live', 'live', 'live']);
      await cluster.world.runFor(60_000);
    }
  });

  it('waits for a device that is away, however long, and what it brings back stays deleted', async () => {
    const cluster = await started();
    await put(cluster, 'x');
    await cluster.world.runFor(5_000);
    cluster.kill('padova');
    await remove(cluster, 'x');
    await cluster.world.runFor(4 * RECLAIMED_MS);
    expect(kindAt(cluster, 'lngs', 'x')).toBe('deleted');
    expect(kindAt(cluster, 'bari', 'x')).toBe('deleted');
    await cluster.restart('padova');
    shorten(cluster, 'padova');
    expect(kindAt(cluster, 'padova', 'x')).toBe('live');
    await cluster.world.runFor(40_000);
    expect(kindAt(cluster, 'padova', 'x')).toBe('deleted');
    await cluster.world.runFor(2 * RECLAIMED_MS);
    expect(kinds(cluster, 'x')).toEqual([undefined, undefined, undefined]);
    const { proxy } = cluster.node('padova');
    const reader = await cluster.run(proxy.openObject(cluster.operation(), objectName('x')));
    expect(reader).toBeUndefined();
  });

  it('is not hurried by the age of the tombstone itself', async () => {
    const cluster = await started();
    await put(cluster, 'x');
    await cluster.world.runFor(5_000);
    cluster.kill('padova');
    await remove(cluster, 'x');
    await cluster.world.runFor(2 * RECLAIMED_MS);
    await cluster.restart('padova');
    shorten(cluster, 'padova');
    await cluster.world.runFor(40_000);
    // Minutes old where it was made, seconds where it has only arrived.
    expect(kindAt(cluster, 'padova', 'x')).toBe('deleted');
  });
});
