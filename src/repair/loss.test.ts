/** Two of three replicas lost their disks and the third does not come back: a person decides. */
import { describe, expect, it } from 'vitest';
import { objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';
import { lossOf } from './loss.ts';

async function started(blank: readonly string[]): Promise<TestCluster> {
  const cluster = await TestCluster.start({ runJobs: true, blank });
  await cluster.createContainer();
  return cluster;
}

function shortAt(cluster: TestCluster, node: string): number {
  const rings = [cluster.view.rings.get(0)!];
  return lossOf(cluster.device(node), rings, cluster.node(node).board)[0]!.short;
}

function put(cluster: TestCluster): Promise<unknown> {
  const request = putRequest(Buffer.from('x'));
  return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName('x'), request));
}

describe('accepting a loss', () => {
  it('makes devices complete with what is left; before that they count for nothing', async () => {
    const cluster = await started(['lngs', 'bari']);
    cluster.kill('padova');
    await cluster.world.runFor(90_000);
    const loss = lossOf(
      cluster.device('lngs'),
      [cluster.view.rings.get(0)!],
      cluster.node('lngs').board,
    );
    const all = 2 ** 3;
    expect(loss[0]!.short).toBeGreaterThanOrEqual(all);
    expect(loss[0]!.silent).toEqual([2]);
    await expect(put(cluster)).rejects.toMatchObject({ code: 'unavailable' });
    cluster.node('lngs').service.acceptLoss(0);
    await cluster.world.runFor(30_000);
    expect(shortAt(cluster, 'lngs')).toBe(0);
    // One complete replica is still one too few for the other to learn from.
    expect(shortAt(cluster, 'bari')).toBeGreaterThanOrEqual(all);
    cluster.node('bari').service.acceptLoss(1);
    await cluster.world.runFor(30_000);
    await put(cluster);
    const reader = await cluster.run(
      cluster.node('bari').proxy.openObject(cluster.operation(), objectName('x')),
    );
    expect(reader?.length).toBe(1);
  });

  it('is nothing to accept where enough complete replicas answer', async () => {
    const cluster = await started(['bari']);
    await cluster.world.runFor(30_000);
    expect(shortAt(cluster, 'bari')).toBe(0);
    await put(cluster);
  });
});
