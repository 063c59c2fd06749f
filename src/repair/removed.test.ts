/** A removed device: what it still holds is not taken, however old the ring that it comes back with. */
import { describe, expect, it } from 'vitest';
import { hashPath } from '#base/hash.ts';
import { objectPath } from '#base/names.ts';
import { objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';

const SITES = ['lngs', 'bari', 'padova', 'turin'];
const PRIMARIES = SITES.slice(0, 3);
const AGE_SECONDS = 60;
/** Age, margin (as long), two rounds and a look. */
const RECLAIMED_MS = 4 * 60_000;

function kindAt(cluster: TestCluster, node: string): string | undefined {
  const { hashPrefix, hashSuffix } = cluster.view;
  const hash = hashPath(hashPrefix, objectPath(objectName('x')), hashSuffix);
  return cluster.device(node).stat({ policy: 0, hash })?.state.data?.kind;
}

/** turin has a stand-in's copy of what is deleted everywhere else, and reclaimed. */
async function comesBack(): Promise<TestCluster> {
  const cluster = await TestCluster.start({
    sites: SITES,
    runJobs: true,

    mode: 'available',
  });
  for (const node of SITES) {
    cluster.node(node).service.budget.change({ reclaimAgeSeconds: AGE_SECONDS });
  }
  await cluster.createContainer();
  await cluster.world.runFor(5_000);
  cluster.kill('bari');
  cluster.kill('padova');
  const { proxy } = cluster;
  await cluster.run(
    proxy.putObject(cluster.operation(), objectName('x'), putRequest(Buffer.from('x'))),
  );
  expect(kindAt(cluster, 'turin')).toBe('live');
  cluster.kill('turin');
  for (const node of ['bari', 'padova']) {
    await cluster.restart(node);
    cluster.node(node).service.budget.change({ reclaimAgeSeconds: AGE_SECONDS });
  }
  await cluster.run(proxy.deleteObject(cluster.operation(), objectName('x')));
  cluster.publishRings(2, { except: 'turin', without: 'turin' });
  await cluster.world.runFor(RECLAIMED_MS);
  expect(PRIMARIES.map((node) => kindAt(cluster, node))).toEqual([undefined, undefined, undefined]);
  await cluster.restart('turin');
  expect(kindAt(cluster, 'turin')).toBe('live');
  return cluster;
}

describe('a removed device', { timeout: 180_000 }, () => {
  it('brings nothing back, though its own ring still names it', async () => {
    const cluster = await comesBack();
    await cluster.world.runFor(120_000);
    expect(PRIMARIES.map((node) => kindAt(cluster, node))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('keeps to itself what it holds once it knows that it was removed', async () => {
    const cluster = await comesBack();
    cluster.publishRings(2, { without: 'turin' });
    const job = cluster.node('turin').jobs.find(({ name }) => name === 'object.handover')!;
    await cluster.world.runFor(60_000);
    expect(job.facts?.()).toMatchObject({ held: 0, dropped: 0 });
    expect(kindAt(cluster, 'turin')).toBe('live');
  });
});
