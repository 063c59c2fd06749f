/** Handover racing a refill: what stand-ins hold comes home before the bulk that a wiped device lacks. */
import { describe, expect, it } from 'vitest';
import { objectName, patternBytes, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';

const KIB = 1024;
const SITES = ['lngs', 'bari', 'padova', 'turin'];
const BYTES_PER_SECOND = 40 * KIB;
const BULK = Array.from({ length: 256 }, (_, i) => `bulk${i}`);
const BULK_BODY = Buffer.alloc(4 * KIB, 7);

/**
 * padova is blank, and knows the states of all, without bodies. The bulk is on the other primaries only; what
 * `handed` names is on turin, which stands in, too.
 */
async function setUp(handed: Readonly<Record<string, Buffer>>): Promise<TestCluster> {
  const cluster = await TestCluster.startWithContainer({ sites: SITES, blank: ['padova'] });
  const put = async (name: string, body: Buffer): Promise<void> => {
    const operation = cluster.operation();
    await cluster.run(cluster.proxy.putObject(operation, objectName(name), putRequest(body)));
  };
  cluster.kill('padova');
  cluster.kill('turin');
  for (const name of BULK) await put(name, BULK_BODY);
  await cluster.restart('turin');
  await cluster.world.runFor(5_000);
  for (const name of Object.keys(handed)) await put(name, handed[name]!);
  await cluster.world.runFor(20_000);
  for (const name of Object.keys(handed))
    expect(cluster.entryAt('turin', name)?.hasBody).toBe(true);
  await cluster.restart('padova');
  await cluster.world.runFor(60_000); // until all are connected to it again
  const { budget } = cluster.node('padova').service;
  const bandwidth = [{ between: ['*', '*'] as [string, string], bytesPerSecond: BYTES_PER_SECOND }];
  budget.change({ concurrency: 1, bandwidth });
  await cluster.runJob('padova', 'object.rejoin');
  return cluster;
}

/** How much of the bulk had its body at padova when turin had nothing left to hand over. */
async function bulkWhenHandedOver(cluster: TestCluster, names: readonly string[]): Promise<number> {
  for (let round = 0; names.some((name) => cluster.entryAt('turin', name)); round++) {
    expect(round, 'rounds of handover').toBeLessThan(40);
    await cluster.runJob('turin', 'object.updater');
    await cluster.runJob('turin', 'object.handover');
    await cluster.world.runFor(5_000);
  }
  for (const name of names) expect(cluster.entryAt('padova', name)?.hasBody).toBe(true);
  return BULK.filter((name) => cluster.entryAt('padova', name)?.hasBody).length;
}

describe('handover beside a refill', () => {
  it('brings small bodies home first, and the refill goes on', async () => {
    const names = Array.from({ length: 8 }, (_, i) => `small${i}`);
    const cluster = await setUp(Object.fromEntries(names.map((name) => [name, BULK_BODY])));
    expect(await bulkWhenHandedOver(cluster, names)).toBeLessThan(BULK.length / 2);
    cluster.node('padova').service.budget.change({ bandwidth: [] });
    await cluster.world.runFor(10_000);
    for (const name of BULK) expect(cluster.entryAt('padova', name)?.hasBody).toBe(true);
  });

  it('brings a large body home before what waits of the refill', async () => {
    const cluster = await setUp({ large: patternBytes(300_000) });
    expect(await bulkWhenHandedOver(cluster, ['large'])).toBeLessThan(BULK.length);
  });
});

describe('handover of what was overwritten since', () => {
  it('is done in one go, however the names lie', async () => {
    const cluster = await TestCluster.startWithContainer({ sites: SITES });
    const names = Array.from({ length: 40 }, (_, i) => `o${i}`);
    const putAll = async (text: string): Promise<void> => {
      for (const name of names) {
        const request = putRequest(Buffer.from(text));
        await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(name), request));
      }
    };
    cluster.kill('padova');
    await putAll('older');
    expect(cluster.entryAt('turin', 'o0')?.hasBody).toBe(true);
    await cluster.restart('padova');
    await cluster.world.runFor(60_000);
    await putAll('newer');
    await cluster.world.runFor(20_000);
    await cluster.runJob('turin', 'object.updater');
    await cluster.runJob('turin', 'object.handover');
    for (const name of names) {
      expect(cluster.entryAt('turin', name)).toBeUndefined();
      expect(cluster.entryAt('padova', name)?.hasBody).toBe(true);
    }
  });
});
