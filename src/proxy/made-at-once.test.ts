/** A container that two clients make at one moment, each in another policy. */
import { expect, it } from 'vitest';
import { CONTAINER, objectName, putRequest, TestCluster } from './testing/test-cluster.ts';

const REPLICAS = ['lngs', 'bari', 'padova'];
const CREATORS = ['roma', 'lecce'] as const;
const SITES = [...REPLICAS, ...CREATORS];

/** Replicas take a while to ask each other, so that both creations find nothing. The clock of roma is ahead. */
async function start(): Promise<TestCluster> {
  const skewMs = { roma: 300 };
  const other = { devices: [2, 3, 4] };
  const options = { realRows: true, deafClocks: true, runJobs: true, sites: SITES, skewMs, other };
  const cluster = await TestCluster.start(options);
  const { network } = cluster.world;
  for (const creator of CREATORS)
    for (const site of SITES) network.setLinkBothWays(creator, site, { delayMs: 5 });
  for (const a of REPLICAS)
    for (const b of REPLICAS) if (a !== b) network.setLink(a, b, { delayMs: 40 });
  return cluster;
}

/** What each is told; who made it puts an object at once, under its own name. */
function makeAtOnce(cluster: TestCluster): Promise<string[]> {
  const making = CREATORS.map(async (creator, policy) => {
    const { proxy } = cluster.node(creator);
    const options = { policy, changes: {} };
    const made = await proxy.createContainer(cluster.operation(), CONTAINER, options);
    if (made === 'created') {
      const request = putRequest(Buffer.from(creator));
      await proxy.putObject(cluster.operation(), objectName(creator), request);
    }
    return made;
  });
  return Promise.all(making);
}

/** One of them made it, and what it put is there for everybody, for good. */
async function expectOne(cluster: TestCluster, made: readonly string[]): Promise<void> {
  expect(made.toSorted()).toEqual(['created', 'policy-conflict']);
  await cluster.world.runFor(30_000);
  const name = objectName(CREATORS[made.indexOf('created')]!);
  for (const [site, { proxy, machine }] of cluster.nodes) {
    if (!machine.isUp) continue;
    const found = await cluster.run(proxy.openObject(cluster.operation(), name));
    expect(found, site).toBeDefined();
  }
}

it.each([0, 40, 80, 160, 320])(
  'is made by one of them, whichever replicas each reaches first (from %i ms on)',
  async (slowAtMs) => {
    const cluster = await start();
    const { network } = cluster.world;
    const told = makeAtOnce(cluster);
    await cluster.world.runFor(slowAtMs);
    for (const far of ['bari', 'padova']) network.setLinkBothWays('roma', far, { delayMs: 400 });
    network.setLinkBothWays('lecce', 'lngs', { delayMs: 400 });
    await expectOne(cluster, await cluster.run(told));
  },
);

it('is made by one of them where both reach the same replica while it asks the others', async () => {
  const cluster = await start();
  await expectOne(cluster, await cluster.run(makeAtOnce(cluster)));
});

it('is made by one of them also while the replica that both ask first is away', async () => {
  const cluster = await start();
  cluster.kill('lngs');
  await expectOne(cluster, await cluster.run(makeAtOnce(cluster)));
});
