/** Asking the peers: seldom while all agree and nothing happens, at once when something does. */
import { describe, expect, it } from 'vitest';
import { objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';

const CYCLE_MS = 1_000;
const CYCLES = 60;

function cyclesOf(cluster: TestCluster, node: string): number {
  const job = cluster.node(node).jobs.find(({ name }) => name === 'repair.exchange')!;
  return Number(job.facts?.()['cycles']);
}

async function put(cluster: TestCluster, name: string): Promise<void> {
  const request = putRequest(Buffer.from(name));
  await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(name), request));
}

async function inSync(): Promise<TestCluster> {
  const cluster = await TestCluster.start({ runJobs: true });
  await cluster.createContainer();
  await put(cluster, 'first');
  await cluster.world.runFor(30_000);
  return cluster;
}

describe('the exchange between nodes', () => {
  it('leaves out two cycles of three while all agree', async () => {
    const cluster = await inSync();
    const before = cyclesOf(cluster, 'bari');
    await cluster.world.runFor(CYCLES * CYCLE_MS);
    const asked = cyclesOf(cluster, 'bari') - before;
    expect(asked).toBeGreaterThanOrEqual(CYCLES / 5);
    expect(asked).toBeLessThanOrEqual(CYCLES / 2);
  });

  it('asks in the next cycle after a change here', async () => {
    const cluster = await inSync();
    for (let i = 0; i < 5; i++) {
      const before = cyclesOf(cluster, 'bari');
      await put(cluster, `k${i}`);
      await cluster.world.runFor(2 * CYCLE_MS);
      expect(cyclesOf(cluster, 'bari')).toBeGreaterThan(before);
    }
  });

  it('asks in every cycle while a peer is silent', async () => {
    const cluster = await inSync();
    cluster.kill('padova');
    await cluster.world.runFor(10 * CYCLE_MS);
    const before = cyclesOf(cluster, 'bari');
    await cluster.world.runFor(CYCLES * CYCLE_MS);
    expect(cyclesOf(cluster, 'bari') - before).toBeGreaterThan(CYCLES / 2);
  });

  it('mends what a replica missed within a minute, though all agreed for long', async () => {
    const cluster = await inSync();
    cluster.kill('padova');
    await put(cluster, 'missed');
    await cluster.restart('padova');
    await cluster.world.runFor(60_000);
    const found = ['lngs', 'bari', 'padova'].map(
      (node) => cluster.device(node).entries(0, Buffer.alloc(16), undefined, 10).length,
    );
    expect(found).toEqual([2, 2, 2]);
  });
});
