/** Listings against objects, both ways: what is missing is listed, what is gone is not. */
import { describe, expect, it } from 'vitest';
import type { DataPart, EntryState } from '#base/entry.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, containerPath, objectPath } from '#base/names.ts';
import type { Device, WriteOutcome } from '#device/contract.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import type { Job } from '#worker/job.ts';
import type { Pacer } from '#worker/pacer.ts';
import {
  CONTAINER,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const NODES = ['lngs', 'bari', 'padova', 'padova-2'];
const MINUTES = 60_000;

async function started(mode?: ConsistencyMode): Promise<TestCluster> {
  const cluster = await TestCluster.start({ sites: NODES, realRows: true });
  await cluster.createContainer(mode);
  for (let n = 0; n < 5; n++) {
    const request = putRequest(patternBytes(100, n));
    await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(`o${n}`), request));
  }
  return cluster;
}

async function listed(cluster: TestCluster): Promise<string[]> {
  const query = { limit: 100 };
  const page = await cluster.run(cluster.proxy.listObjects(cluster.operation(), CONTAINER, query));
  return page!.items.flatMap((item) => ('name' in item ? [item.name] : []));
}

function stateOf(cluster: TestCluster, name: string, kind: DataPart['kind'] = 'live'): EntryState {
  const timestamp = cluster.node('lngs').clock.now();
  return {
    data: {
      timestamp,
      kind,
      writeId: timestamp.slice(4),
      clientMicros: cluster.node('lngs').env.clock.wallMicros(),
      etag: `etag of ${name}`,
      size: 0,
      contentType: 'text/plain',
    },
    groups: {},
  };
}

function hashOf(cluster: TestCluster, path: string): Buffer {
  return hashPath(cluster.view.hashPrefix, path, cluster.view.hashSuffix);
}

/** On the primaries, listed nowhere and by nobody's mark. */
async function plantObject(cluster: TestCluster, name: string, state: EntryState): Promise<void> {
  const path = objectPath(objectName(name));
  const key = { policy: 0, hash: hashOf(cluster, path) };
  for (const node of NODES.slice(0, 3)) {
    const request = { key, path, state, unlisted: false, intent: 'join' } as const;
    await cluster.run(cluster.device(node).write(request));
  }
}

/** On the container's replicas, with no object. */
async function plantRow(cluster: TestCluster, name: string, state: EntryState): Promise<void> {
  const path = containerPath(CONTAINER);
  const key = { policy: CONTAINER_RING, hash: hashOf(cluster, path) };
  for (const node of NODES.slice(0, 3)) {
    const { rows } = cluster.node(node);
    await cluster.run(rows.write({ key, path, name, state }));
  }
}

/** A whole round on each of the container's replicas. */
async function audit(cluster: TestCluster, name: string): Promise<void> {
  for (const node of NODES.slice(0, 3)) {
    const { jobs, device } = cluster.node(node);
    const job = jobs.find((candidate) => candidate.name === name) as Job & { pacer: Pacer };
    job.pacer.hurry([device]);
    await cluster.runJob(node, name);
  }
}

describe('the auditor of listings', () => {
  it('lists an object whose row is missing, with its own state; nothing else changes', async () => {
    const cluster = await started();
    await plantObject(cluster, 'unseen', stateOf(cluster, 'unseen'));
    expect(await listed(cluster)).not.toContain('unseen');
    await audit(cluster, 'object.listings');
    expect(await listed(cluster)).not.toContain('unseen'); // too young: its writer may be at it
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'object.listings');
    expect(await listed(cluster)).toEqual(['o0', 'o1', 'o2', 'o3', 'o4', 'unseen']);
  });

  it('takes a row out whose object was deleted', async () => {
    const cluster = await started();
    await plantRow(cluster, 'ghost', stateOf(cluster, 'ghost'));
    await plantObject(cluster, 'ghost', stateOf(cluster, 'ghost', 'deleted'));
    expect(await listed(cluster)).toContain('ghost');
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'object.listings');
    expect(await listed(cluster)).toEqual(['o0', 'o1', 'o2', 'o3', 'o4']);
  });

  it('takes a row out of which no device knows an object, and a later write is listed again', async () => {
    const cluster = await started();
    await plantRow(cluster, 'ghost', stateOf(cluster, 'ghost'));
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).toContain('ghost'); // too young
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).toEqual(['o0', 'o1', 'o2', 'o3', 'o4']);
    const request = putRequest(patternBytes(10));
    await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName('ghost'), request));
    expect(await listed(cluster)).toContain('ghost');
  });

  it('leaves a row alone while any device that may know the object is away', async () => {
    const cluster = await started();
    await plantRow(cluster, 'ghost', stateOf(cluster, 'ghost'));
    await cluster.world.runFor(11 * MINUTES);
    cluster.kill('padova-2');
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).toContain('ghost');
    await cluster.restart('padova-2');
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).not.toContain('ghost');
  });

  it('leaves a row alone whose object only a stand-in holds', async () => {
    const cluster = await started();
    const state = stateOf(cluster, 'away');
    await plantRow(cluster, 'away', state);
    const path = objectPath(objectName('away'));
    const key = { policy: 0, hash: hashOf(cluster, path) };
    const device: Device = cluster.device('padova-2');
    await cluster.run(device.write({ key, path, state, unlisted: false, intent: 'join' }));
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).toContain('away');
  });

  it('leaves a row alone where too few primaries are complete', async () => {
    const cluster = await started();
    await plantRow(cluster, 'ghost', stateOf(cluster, 'ghost'));
    await cluster.world.runFor(11 * MINUTES);
    for (const node of ['lngs', 'bari']) {
      await cluster.run(cluster.device(node).completeness.mark(0, 0, 1 << 20, false));
    }
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).toContain('ghost');
  });
});

/** On one device, as a write that nobody was told of left it. */
function plantAt(
  cluster: TestCluster,
  node: string,
  name: string,
  state: EntryState,
  intent: 'join' | 'write' = 'join',
): Promise<WriteOutcome> {
  const path = objectPath(objectName(name));
  const key = { policy: 0, hash: hashOf(cluster, path) };
  return cluster.run(cluster.device(node).write({ key, path, state, unlisted: false, intent }));
}

async function typeListed(cluster: TestCluster, name: string): Promise<string | undefined> {
  const query = { limit: 100 };
  const page = await cluster.run(cluster.proxy.listObjects(cluster.operation(), CONTAINER, query));
  const item = page!.items.find((one) => 'name' in one && one.name === name);
  return item && 'contentType' in item ? item.contentType : undefined;
}

async function typeRead(cluster: TestCluster, name: string): Promise<string | undefined> {
  const read = cluster.proxy.statObject(cluster.operation(), objectName(name));
  return (await cluster.run(read))?.data?.contentType;
}

/** Every job of the devices that brings object and row together, and time for what they start. */
async function settleAll(cluster: TestCluster): Promise<void> {
  for (const node of NODES) {
    await cluster.runJob(node, 'repair.exchange');
    await cluster.runJob(node, 'object.compare');
    await cluster.runJob(node, 'object.updater');
    await cluster.world.runFor(3_000);
  }
}

const cases = [
  { kind: 'deleted', mode: 'strict' },
  { kind: 'live', mode: 'available' },
] as const;

describe.each(cases)('the row of a lost write ($kind, $mode)', ({ kind, mode }) => {
  const lost = (cluster: TestCluster): EntryState => {
    const state = stateOf(cluster, 'o0', kind);
    return { ...state, data: { ...state.data!, contentType: 'lost' } };
  };

  it('gives way to what is there: reads and listings say the same', async () => {
    const cluster = await started(mode);
    const type = await typeRead(cluster, 'o0');
    const state = lost(cluster);
    await plantRow(cluster, 'o0', state);
    expect(await typeListed(cluster, 'o0')).not.toBe(type);
    await audit(cluster, 'container.listings');
    expect(await typeListed(cluster, 'o0')).not.toBe(type); // too young: it may be under way
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await typeRead(cluster, 'o0')).toBe(type);
    expect(await typeListed(cluster, 'o0')).toBe(type);
    await settleAll(cluster);
    expect(await typeListed(cluster, 'o0')).toBe(type);
  });

  it('the write is not acknowledged by anybody when it comes after all', async () => {
    const cluster = await started(mode);
    const type = await typeRead(cluster, 'o0');
    const state = lost(cluster);
    await plantRow(cluster, 'o0', state);
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    for (const node of NODES.slice(0, 3)) {
      expect((await plantAt(cluster, node, 'o0', state, 'write')).kind).not.toBe('stored');
    }
    await settleAll(cluster);
    expect(await typeRead(cluster, 'o0')).toBe(type);
    expect(await typeListed(cluster, 'o0')).toBe(type);
  });

  it('stays while a stand-in has the write', async () => {
    const cluster = await started(mode);
    const state = lost(cluster);
    await plantRow(cluster, 'o0', state);
    await plantAt(cluster, 'padova-2', 'o0', state);
    await cluster.world.runFor(11 * MINUTES);
    const before = await typeListed(cluster, 'o0');
    await audit(cluster, 'container.listings');
    expect(await typeListed(cluster, 'o0')).toBe(before);
  });

  it('a device that is away keeps it from nothing but where stand-ins acknowledge', async () => {
    const cluster = await started(mode);
    const type = await typeRead(cluster, 'o0');
    await plantRow(cluster, 'o0', lost(cluster));
    await cluster.world.runFor(11 * MINUTES);
    cluster.kill('padova-2');
    await audit(cluster, 'container.listings');
    if (mode === 'strict') expect(await typeListed(cluster, 'o0')).toBe(type);
    else expect(await typeListed(cluster, 'o0')).not.toBe(type);
    await cluster.restart('padova-2');
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await typeListed(cluster, 'o0')).toBe(type);
  });

  it('no majority of complete replicas, no judgement', async () => {
    const cluster = await started(mode);
    const type = await typeRead(cluster, 'o0');
    await plantRow(cluster, 'o0', lost(cluster));
    await cluster.world.runFor(11 * MINUTES);
    for (const node of ['bari', 'padova']) {
      await cluster.run(cluster.device(node).completeness.mark(0, 0, 1 << 20, false));
    }
    await audit(cluster, 'container.listings');
    expect(await typeListed(cluster, 'o0')).not.toBe(type);
  });
});

describe('the row of a lost write, elsewhere', () => {
  it('is taken out where what was there before has expired', async () => {
    const cluster = await started('available');
    const older = stateOf(cluster, 'old', 'expired');
    const deleteAt = Math.floor(cluster.node('lngs').env.clock.wallMicros() / 1e6) - 60;
    const { timestamp } = older.data!;
    const expired = { ...older.data!, deleteAt, expiredSource: timestamp };
    await plantObject(cluster, 'old', { data: expired, groups: {} });
    await plantRow(cluster, 'old', stateOf(cluster, 'old'));
    expect(await listed(cluster)).toContain('old');
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).not.toContain('old');
  });

  it('what stand-ins have taken since then stays, also a moment later', async () => {
    const cluster = await started('available');
    await plantRow(cluster, 'o0', stateOf(cluster, 'o0'));
    const later = stateOf(cluster, 'o0');
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    const data = { ...later.data!, contentType: 'later' };
    for (const node of NODES) await plantAt(cluster, node, 'o0', { data, groups: {} });
    expect(await typeRead(cluster, 'o0')).toBe('later');
  });

  it('stays where stand-ins have acknowledged what no primary has, until that has come home', async () => {
    const cluster = await started('available');
    const acknowledged = stateOf(cluster, 'o0');
    const data = { ...acknowledged.data!, contentType: 'acknowledged' };
    await plantAt(cluster, 'padova-2', 'o0', { data, groups: {} });
    await plantRow(cluster, 'o0', stateOf(cluster, 'o0', 'deleted'));
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await listed(cluster)).not.toContain('o0');
    for (let i = 0; i < 10 && cluster.entryAt('padova-2', 'o0') !== undefined; i++) {
      await cluster.runJob('padova-2', 'object.handover');
      await settleAll(cluster);
    }
    expect(cluster.entryAt('padova-2', 'o0')).toBeUndefined();
    await audit(cluster, 'container.listings');
    expect(await typeRead(cluster, 'o0')).toBe('acknowledged');
    expect(await typeListed(cluster, 'o0')).toBe('acknowledged');
  });

  it('a POST that nobody knows gives way, too', async () => {
    const cluster = await started();
    const type = await typeRead(cluster, 'o0');
    const timestamp = cluster.node('lngs').clock.now();
    const values = { 'content-type': 'lost' };
    await plantRow(cluster, 'o0', { groups: { system: { timestamp, values } } });
    expect(await typeListed(cluster, 'o0')).toBe('lost');
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    expect(await typeListed(cluster, 'o0')).toBe(type);
  });

  it('a later plain write to a container that is not strict needs no round', async () => {
    const cluster = await started('available');
    await plantRow(cluster, 'o0', stateOf(cluster, 'o0', 'deleted'));
    await cluster.world.runFor(11 * MINUTES);
    await audit(cluster, 'container.listings');
    for (const node of NODES.slice(0, 3))
      expect(cluster.entryAt(node, 'o0')?.state.data?.base).toBeUndefined();
    const state = stateOf(cluster, 'o0', 'deleted');
    for (const node of NODES.slice(0, 3))
      expect((await plantAt(cluster, node, 'o0', state, 'write')).kind).toBe('stored');
  });
});
