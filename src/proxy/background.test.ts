/** The object service's background work, on data that a proxy wrote. */
import { describe, expect, it } from 'vitest';
import { isLive } from '#base/entry.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { BUCKET_BITS } from '#device/contract.ts';
import {
  CONTAINER,
  EXPIRY_GRACE_SECONDS,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const BOX = '/AUTH_test/box';
const GRACE_MS = EXPIRY_GRACE_SECONDS * 1_000;

function put(cluster: TestCluster, object: string, body: Buffer, overrides = {}) {
  const request = putRequest(body, overrides);
  return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(object), request));
}

function isComplete(cluster: TestCluster, node: string, ring = 0): boolean {
  return cluster.device(node).completeness.isComplete(ring, Buffer.alloc(16, 0x55));
}

async function compare(cluster: TestCluster, node: string): Promise<void> {
  await cluster.runJob(node, 'repair.exchange');
  await cluster.runJob(node, 'object.compare');
}

describe('the updater', () => {
  it('lists what stayed unlisted, and only that', async () => {
    const cluster = await TestCluster.startWithContainer({ mode: 'available' });
    await put(cluster, 'warm', Buffer.from('the proxy knows the container now'));
    cluster.rows.broken.add(0).add(1).add(2);
    expect(await put(cluster, 'x', Buffer.from('x'))).toMatchObject({ ack: 'unlisted' });
    await cluster.world.runFor(20_000);
    expect(cluster.entryAt('bari', 'x')?.unlisted).toBe(true);
    await cluster.runJob('bari', 'object.updater');
    expect(cluster.entryAt('bari', 'x')?.unlisted).toBe(true);
    cluster.rows.broken.clear();
    await cluster.runJob('bari', 'object.updater');
    expect(cluster.entryAt('bari', 'x')?.unlisted).toBe(false);
    expect(cluster.rows.holders('container', BOX, 'x')).toEqual([0, 1, 2]);
  });

  it('has nothing to do after ordinary writes', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (let i = 0; i < 5; i++) await put(cluster, `o${i}`, Buffer.from('x'));
    await cluster.world.runFor(20_000);
    for (const node of ['lngs', 'bari', 'padova']) {
      expect(cluster.device(node).unlisted(10, 0)).toEqual([]);
    }
  });
});

describe('the expirer', () => {
  it('frees the body after the grace, with every timestamp unchanged', async () => {
    const cluster = await TestCluster.startWithContainer();
    const now = Math.floor(cluster.node('lngs').env.clock.wallMicros() / 1e6);
    await put(cluster, 'x', Buffer.from('gone soon'), { deleteAt: now + 60 });
    await cluster.world.runFor(GRACE_MS);
    await cluster.runJob('lngs', 'object.expirer');
    expect(cluster.entryAt('lngs', 'x')?.state.data?.kind).toBe('live');
    await cluster.world.runFor(GRACE_MS);
    const before = cluster.entryAt('lngs', 'x')!.state.data!;
    await cluster.runJob('lngs', 'object.expirer');
    const after = cluster.entryAt('lngs', 'x')!.state.data!;
    expect(after).toMatchObject({
      kind: 'expired',
      timestamp: before.timestamp,
      writeId: before.writeId,
    });
    expect(cluster.rows.holders('container', BOX, 'x')).toEqual([]);
    const facts = cluster.device('lngs').expiring(Number.MAX_SAFE_INTEGER, 10);
    expect(facts).toEqual([]);
  });

  it('fetches the body again where it missed that a POST had taken the expiry away', async () => {
    const cluster = await TestCluster.startWithContainer();
    const now = Math.floor(cluster.node('lngs').env.clock.wallMicros() / 1e6);
    await put(cluster, 'x', Buffer.from('stays after all'), { deleteAt: now + 60 });
    cluster.kill('bari');
    const change = { user: {}, system: {}, deleteAt: null };
    await cluster.run(cluster.proxy.updateObject(cluster.operation(), objectName('x'), change));
    await cluster.world.runFor(2 * GRACE_MS);
    await cluster.restart('bari');
    await cluster.runJob('bari', 'object.expirer');
    expect(cluster.entryAt('bari', 'x')).toMatchObject({ state: { data: { kind: 'expired' } } });
    for (let round = 0; round < 3; round++) await compare(cluster, 'bari');
    await cluster.runJob('bari', 'object.bodies');
    await cluster.world.runFor(1_000);
    const entry = cluster.entryAt('bari', 'x')!;
    expect(isLive(entry.state, now + 3600)).toBe(true);
    expect(cluster.device('bari').readSmall(entry)?.toString()).toBe('stays after all');
  });

  it('never hides an overwrite that this replica missed', async () => {
    const cluster = await TestCluster.startWithContainer();
    const now = Math.floor(cluster.node('lngs').env.clock.wallMicros() / 1e6);
    await put(cluster, 'x', Buffer.from('expires'), { deleteAt: now + 60 });
    cluster.kill('bari');
    await put(cluster, 'x', Buffer.from('stays'));
    await cluster.world.runFor(2 * GRACE_MS);
    await cluster.restart('bari');
    await cluster.runJob('bari', 'object.expirer');
    expect(cluster.entryAt('bari', 'x')?.state.data?.kind).toBe('expired');
    const { proxy } = cluster.node('bari');
    const reader = await cluster.run(proxy.openObject(cluster.operation(), objectName('x')));
    expect(reader?.inline?.toString()).toBe('stays');
    await cluster.world.runFor(1_000);
    expect(isLive(cluster.entryAt('bari', 'x')?.state, now + 3600)).toBe(true);
  });
});

describe('rejoin', () => {
  it('makes a blank device complete from the states of the others, bodies after', async () => {
    const cluster = await TestCluster.startWithContainer({ blank: ['bari'] });
    cluster.kill('bari');
    for (let i = 0; i < 40; i++) await put(cluster, `o${i}`, Buffer.from(`body ${i}`));
    const large = patternBytes(1_300_000);
    await put(cluster, 'large', large);
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('o7')));
    await cluster.restart('bari');
    expect(isComplete(cluster, 'bari')).toBe(false);
    await cluster.world.runFor(1_000);
    await cluster.runJob('bari', 'object.rejoin');
    expect(isComplete(cluster, 'bari')).toBe(true);
    expect(cluster.entryAt('bari', 'o3')?.state).toEqual(cluster.entryAt('lngs', 'o3')?.state);
    expect(cluster.entryAt('bari', 'o7')?.state.data?.kind).toBe('deleted');
    await cluster.world.runFor(5_000);
    expect(cluster.entryAt('bari', 'o3')?.hasBody).toBe(true);
    expect(cluster.entryAt('bari', 'large')?.hasBody).toBe(true);
  });

  it('waits while too few complete replicas answer', async () => {
    const cluster = await TestCluster.startWithContainer({ blank: ['bari'] });
    await put(cluster, 'x', Buffer.from('x'));
    cluster.kill('padova');
    await cluster.runJob('bari', 'object.rejoin');
    expect(isComplete(cluster, 'bari')).toBe(false);
    await cluster.restart('padova');
    await cluster.world.runFor(2_000);
    await cluster.runJob('bari', 'object.rejoin');
    expect(isComplete(cluster, 'bari')).toBe(true);
  });

  it('goes on with the partitions whose others answer, however many wait for one that is away', async () => {
    const cluster = await TestCluster.startWithContainer({
      sites: ['lngs', 'bari', 'padova', 'turin'],
      sets: [
        [0, 3, 2],
        [0, 1, 2],
      ],
      partPower: 9,
      blank: ['padova'],
      realRows: true,
    });
    cluster.kill('turin');
    for (let i = 0; i < 10; i++) {
      for (const job of ['object', 'container', 'account'])
        await cluster.runJob('padova', `${job}.rejoin`);
    }
    for (const ring of [0, CONTAINER_RING, ACCOUNT_RING]) {
      const ranges = cluster.device('padova').completeness.ranges(ring);
      expect(ranges.reduce((sum, { from, to }) => sum + to - from, 0)).toBe(2 ** BUCKET_BITS / 2);
    }
  });
});

describe('compare', () => {
  it('brings a replica that was away up to date, deletions and bodies too, without a read', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (let i = 0; i < 20; i++) await put(cluster, `o${i}`, Buffer.from(`old ${i}`));
    cluster.kill('bari');
    for (let i = 0; i < 10; i++) await put(cluster, `o${i}`, Buffer.from(`new ${i}`));
    const large = patternBytes(1_300_000);
    await put(cluster, 'large', large);
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('o15')));
    await cluster.restart('bari');
    await cluster.world.runFor(1_000);
    // The first comparison only notes what differs; the second finds it still so.
    for (let round = 0; round < 2; round++) await compare(cluster, 'bari');
    await cluster.world.runFor(5_000);
    for (const name of ['o3', 'o15', 'o19', 'large']) {
      expect(cluster.entryAt('bari', name)?.state).toEqual(cluster.entryAt('lngs', name)?.state);
    }
    expect(cluster.entryAt('bari', 'large')?.hasBody).toBe(true);
    expect(cluster.entryAt('bari', 'o3')?.hasBody).toBe(true);
  });

  it('opens only the buckets that differ', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (let i = 0; i < 1_200; i += 40) {
      const some = Array.from({ length: 40 }, (_, k) => {
        const request = putRequest(Buffer.from('x'));
        return cluster.proxy.putObject(cluster.operation(), objectName(`o${i + k}`), request);
      });
      await cluster.run(Promise.all(some));
    }
    cluster.kill('bari');
    await put(cluster, 'o7', Buffer.from('changed'));
    await cluster.restart('bari');
    await cluster.world.runFor(1_000);
    for (let round = 0; round < 2; round++) await compare(cluster, 'bari');
    await cluster.world.runFor(1_000);
    expect(cluster.entryAt('bari', 'o7')?.state).toEqual(cluster.entryAt('lngs', 'o7')?.state);
    const job = cluster.node('bari').jobs.find(({ name }) => name === 'object.compare');
    // About 75 entries share the partition; a sub-range has a few.
    expect(job?.facts?.()['fetched']).toBeLessThan(20);
  });

  it('costs nothing but digests when nothing differs', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (let i = 0; i < 20; i++) await put(cluster, `o${i}`, Buffer.from('x'));
    await cluster.world.runFor(1_000);
    const before = cluster.device('bari').facts().commits;
    for (let round = 0; round < 3; round++) await compare(cluster, 'bari');
    expect(cluster.device('bari').facts().commits).toBe(before);
    const job = cluster.node('bari').jobs.find(({ name }) => name === 'object.compare');
    expect(job?.facts?.()).toMatchObject({ differing: 0, fetched: 0 });
  });
});

describe('handover', () => {
  it('makes room on a device that is full', async () => {
    const cluster = await TestCluster.startWithContainer({
      sites: ['lngs', 'bari', 'padova', 'padova-2'],
    });
    cluster.kill('padova');
    await put(cluster, 'small', Buffer.from('small'));
    await put(cluster, 'large', patternBytes(5_000_000));
    await cluster.world.runFor(20_000);
    await cluster.runJob('padova-2', 'object.updater');
    await cluster.restart('padova');
    await cluster.world.runFor(2_000);
    const { disk } = cluster.node('padova-2').machine;
    disk.settings = { ...disk.settings, capacityBytes: Math.ceil(1.01 * disk.usedBytes) };
    await cluster.world.runFor(3_000);
    expect(cluster.device('padova-2').status).toBe('full');
    expect(cluster.entryAt('padova-2', 'large')?.hasBody).toBe(true);
    for (let round = 0; round < 3; round++) {
      await cluster.runJob('padova-2', 'object.handover');
      await cluster.world.runFor(3_000);
    }
    expect(cluster.entryAt('padova-2', 'large')).toBeUndefined();
    expect(cluster.entryAt('padova', 'large')?.hasBody).toBe(true);
  });

  it('gives a stand-in’s copies to the primaries, then drops them', async () => {
    const cluster = await TestCluster.startWithContainer({
      sites: ['lngs', 'bari', 'padova', 'padova-2'],
    });
    cluster.kill('padova');
    const large = patternBytes(1_300_000);
    await put(cluster, 'small', Buffer.from('small'));
    await put(cluster, 'large', large);
    await cluster.world.runFor(20_000);
    expect(cluster.entryAt('padova-2', 'large')?.hasBody).toBe(true);
    await cluster.runJob('padova-2', 'object.handover');
    expect(cluster.entryAt('padova-2', 'large')?.hasBody).toBe(true);
    await cluster.restart('padova');
    await cluster.world.runFor(2_000);
    for (let round = 0; round < 3; round++) {
      await cluster.runJob('padova-2', 'object.updater');
      await cluster.runJob('padova-2', 'object.handover');
      await cluster.world.runFor(3_000);
    }
    for (const name of ['small', 'large']) {
      expect(cluster.entryAt('padova', name)?.hasBody).toBe(true);
      expect(cluster.entryAt('padova-2', name)).toBeUndefined();
    }
  });
});

describe('handover of what was overwritten meanwhile', () => {
  it('drops it once every primary has the newer version (simulator, seed 4)', async () => {
    const cluster = await TestCluster.startWithContainer({
      sites: ['lngs', 'bari', 'padova', 'padova-2'],
    });
    cluster.kill('padova');
    await put(cluster, 'x', Buffer.from('older'));
    await cluster.restart('padova');
    await cluster.world.runFor(20_000);
    await put(cluster, 'x', Buffer.from('newer'));
    await cluster.world.runFor(20_000);
    const versionAt = (node: string) => cluster.entryAt(node, 'x')?.state.data?.timestamp;
    expect(versionAt('padova-2')).toBeDefined();
    expect(versionAt('padova-2')).not.toBe(versionAt('padova'));
    for (let round = 0; round < 3; round++) {
      await cluster.runJob('padova-2', 'object.updater');
      await cluster.runJob('padova-2', 'object.handover');
      await cluster.world.runFor(3_000);
    }
    expect(cluster.entryAt('padova-2', 'x')).toBeUndefined();
    for (const node of ['lngs', 'bari', 'padova'])
      expect(cluster.entryAt(node, 'x')?.hasBody).toBe(true);
  });
});

describe('a device that cut its tail', () => {
  it('counts again after an exchange of objects and rows with another primary', async () => {
    const cluster = await TestCluster.startWithContainer({ realRows: true });
    for (let i = 0; i < 10; i++) await put(cluster, `o${i}`, Buffer.from(`body ${i}`));
    cluster.kill('bari');
    for (let i = 0; i < 10; i++) await put(cluster, `missed${i}`, Buffer.from(`body ${i}`));
    await cluster.restart('bari');
    const completeness = cluster.device('bari').completeness as unknown as {
      cutTail(): Promise<void>;
    };
    await cluster.run(completeness.cutTail());
    expect(isComplete(cluster, 'bari')).toBe(false);
    await cluster.world.runFor(1_000);
    await cluster.runJob('bari', 'object.rejoin');
    for (const ring of cluster.view.rings.keys())
      expect(isComplete(cluster, 'bari', ring)).toBe(true);
    expect(cluster.entryAt('bari', 'missed3')?.state.data?.kind).toBe('live');
    cluster.kill('lngs');
    const { proxy } = cluster.node('bari');
    const list = proxy.listObjects(cluster.operation(), CONTAINER, { limit: 100 });
    expect((await cluster.run(list))?.items).toHaveLength(20);
  });
});

describe('a body that nobody can give', () => {
  it('wakes nobody to look for it at once', async () => {
    const cluster = await TestCluster.startWithContainer({ runJobs: true });
    await put(cluster, 'x', Buffer.from('only lngs will know that it was here'));
    await cluster.world.runFor(5_000);
    const { service } = cluster.node('lngs');
    const entry = cluster.entryAt('lngs', 'x')!;
    const { data } = entry.state;
    const newer = {
      ...data!,
      timestamp: cluster.node('lngs').clock.now(),
      writeId: 'ff'.repeat(8),
    };
    cluster.kill('bari');
    cluster.kill('padova');
    const { key, path } = entry;
    const state = { data: newer, groups: {} };
    await cluster.run(
      cluster.device('lngs').write({ key, path, state, unlisted: false, intent: 'join' }),
    );
    expect(cluster.entryAt('lngs', 'x')?.hasBody).toBe(false);
    let askedForMore = 0;
    service.puller.onLow(() => askedForMore++);
    await cluster.world.runFor(60_000);
    // The job that looks for bodies is woken by progress only: this once was a loop without an end.
    expect(askedForMore).toBe(0);
    expect(service.puller.facts()['waiting']).toBe(0);
  });
});
