/** Listings against objects, both ways: what is missing is listed, what is gone is not. */
import { describe, expect, it } from 'vitest';
import type { DataPart, EntryState } from '#base/entry.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, containerPath, objectPath } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
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

async function started(): Promise<TestCluster> {
  const cluster = await TestCluster.start({ sites: NODES, realRows: true });
  await cluster.createContainer();
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
