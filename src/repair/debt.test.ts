/** Writes that add to a debt beyond the limit wait, where the operator says so, and no others. */
import { describe, expect, it } from 'vitest';
import { objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';

const SITES = ['lngs', 'bari', 'padova', 'turin'];
const SLOW_MS = 800;
/** Until a silent device counts as away, and the debt has been counted and told. */
const NOTICED_MS = 120_000;

function limit(cluster: TestCluster, debtEntries: number, debtSlowMs: number): void {
  for (const node of SITES) cluster.node(node).service.budget.change({ debtEntries, debtSlowMs });
}

/** How long it took, in virtual time. */
async function put(cluster: TestCluster, name: string): Promise<number> {
  const startMs = cluster.world.nowMs;
  const request = putRequest(Buffer.from(name));
  await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(name), request));
  return cluster.world.nowMs - startMs;
}

/** padova is away, and turin holds four objects for it. */
async function indebted(): Promise<TestCluster> {
  const cluster = await TestCluster.start({ sites: SITES, runJobs: true, mode: 'available' });
  await cluster.createContainer();
  await cluster.world.runFor(5_000);
  cluster.kill('padova');
  for (let i = 0; i < 4; i++) await put(cluster, `k${i}`);
  await cluster.world.runFor(NOTICED_MS);
  return cluster;
}

describe('a debt beyond the limit', () => {
  it('slows down the writes that add to it until it has been paid', async () => {
    const cluster = await indebted();
    limit(cluster, 3, SLOW_MS);
    expect(cluster.node('lngs').service.brake.tooMuch()).toEqual(['padova']);
    expect(await put(cluster, 'slow')).toBeGreaterThanOrEqual(SLOW_MS);
    expect(cluster.node('lngs').service.brake.slowed).toBeGreaterThan(0);
    await cluster.restart('padova');
    await cluster.world.runFor(NOTICED_MS);
    expect(cluster.node('lngs').service.brake.tooMuch()).toEqual([]);
    expect(await put(cluster, 'fast')).toBeLessThan(SLOW_MS);
  });

  it('is none any more where the stand-ins are in no ring', async () => {
    const cluster = await indebted();
    limit(cluster, 3, SLOW_MS);
    cluster.kill('turin');
    cluster.publishRings(2, { without: 'turin' });
    await cluster.world.runFor(NOTICED_MS);
    expect(cluster.node('lngs').service.brake.tooMuch()).toEqual([]);
  });

  it('is none any more where the device that stood in is gone', async () => {
    const cluster = await indebted();
    limit(cluster, 3, SLOW_MS);
    cluster.node('turin').devices.clear();
    await cluster.world.runFor(NOTICED_MS);
    expect(cluster.node('lngs').service.brake.tooMuch()).toEqual([]);
  });

  it('slows down nothing where nobody asked for it, or the debt is within the limit', async () => {
    const cluster = await indebted();
    limit(cluster, 3, 0);
    expect(cluster.node('lngs').service.brake.tooMuch()).toEqual(['padova']);
    expect(await put(cluster, 'told')).toBeLessThan(SLOW_MS);
    limit(cluster, 100, SLOW_MS);
    expect(cluster.node('lngs').service.brake.tooMuch()).toEqual([]);
    expect(await put(cluster, 'within')).toBeLessThan(SLOW_MS);
  });
});
