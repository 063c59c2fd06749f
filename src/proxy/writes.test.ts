/** What a PUT, POST or DELETE leaves behind: all of it, or nothing. */
import { describe, expect, it } from 'vitest';
import { rejectedCode } from '#base/testing/thrown.ts';
import { IF_ABSENT } from './condition.ts';
import type { PutRequest } from './contract.ts';
import {
  CONTAINER,
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'];
const SMALL = Buffer.from('small body');
const LARGE = patternBytes(2_500_000);

function put(cluster: TestCluster, object: string, request: PutRequest, signal?: AbortSignal) {
  const operation = cluster.operation(signal && { signal });
  return cluster.run(cluster.proxy.putObject(operation, objectName(object), request));
}

/** Nothing of it on any device: no entry, no staged body, no row. */
async function expectNothing(cluster: TestCluster, object: string): Promise<void> {
  await cluster.world.runFor(2_000);
  for (const node of NODES) {
    expect(cluster.entryAt(node, object)).toBeUndefined();
    const staged = await cluster.run(stagedFiles(cluster, node));
    expect(staged).toEqual([]);
  }
  expect(cluster.rows.holders('container', '/AUTH_test/box', object)).toEqual([]);
}

async function stagedFiles(cluster: TestCluster, node: string): Promise<string[]> {
  const { disk } = cluster.node(node).machine.env;
  const files: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const name of await disk.list(folder)) {
      const stat = await disk.stat(`${folder}/${name}`);
      if (stat?.kind === 'directory') await walk(`${folder}/${name}`);
      else if (stat !== undefined) files.push(`${folder}/${name}`);
    }
  };
  await walk('/d1/blobs');
  return files;
}

async function* failingAfter(
  body: Buffer,
  length: number,
  error: Error,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += 100_000)
    yield body.subarray(at, Math.min(length, at + 100_000));
  throw error;
}

describe.each([
  ['small', SMALL],
  ['large', LARGE],
])('a %s PUT leaves nothing behind', (_name, body) => {
  it('when its MD5 is not the one declared', async () => {
    const cluster = await TestCluster.startWithContainer();
    const request = putRequest(body, { expectedEtag: '0'.repeat(32) });
    expect(await rejectedCode(put(cluster, 'x', request))).toBe('etag-mismatch');
    await expectNothing(cluster, 'x');
  });

  it('when the client goes away midway', async () => {
    const cluster = await TestCluster.startWithContainer();
    const half = body.length >> 1;
    const request = { ...putRequest(body), body: failingAfter(body, half, new Error('reset')) };
    expect(await rejectedCode(put(cluster, 'x', request))).toBe('client-gone');
    await expectNothing(cluster, 'x');
  });

  it('when the body is shorter than declared, or longer', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (const length of [body.length + 1, body.length - 1]) {
      const code = await rejectedCode(put(cluster, 'x', putRequest(body, { length })));
      expect(code).toBe('length-mismatch');
    }
    await expectNothing(cluster, 'x');
  });

  it('when it is larger than allowed, declared or not', async () => {
    const cluster = await TestCluster.startWithContainer();
    const maxLength = body.length - 1;
    expect(await rejectedCode(put(cluster, 'x', putRequest(body, { maxLength })))).toBe(
      'body-too-large',
    );
    const undeclared = putRequest(body, { maxLength, length: undefined });
    expect(await rejectedCode(put(cluster, 'x', undeclared))).toBe('body-too-large');
    await expectNothing(cluster, 'x');
  });

  it('and the version before it stays', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, 'x', putRequest(Buffer.from('before')));
    const request = putRequest(body, { expectedEtag: 'f'.repeat(32) });
    expect(await rejectedCode(put(cluster, 'x', request))).toBe('etag-mismatch');
    const reader = await cluster.run(
      cluster.proxy.openObject(cluster.operation(), objectName('x')),
    );
    expect(reader?.inline?.toString()).toBe('before');
  });
});

describe('PUT', () => {
  it('takes a body of unknown length, small or large', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (const body of [SMALL, LARGE, Buffer.alloc(0)]) {
      const result = await put(cluster, 'x', putRequest(body, { length: undefined }));
      expect(result).toMatchObject({ kind: 'stored', size: body.length });
      const state = await cluster.run(
        cluster.proxy.statObject(cluster.operation(), objectName('x')),
      );
      expect(state?.data?.size).toBe(body.length);
    }
  });

  it('asks for the body only when a majority is there', async () => {
    const cluster = await TestCluster.startWithContainer();
    let ready = 0;
    const onReady = (): void => {
      ready++;
    };
    await put(cluster, 'x', putRequest(SMALL, { onReady }));
    await put(cluster, 'y', putRequest(LARGE, { onReady }));
    expect(ready).toBe(2);
    cluster.kill('bari');
    cluster.kill('padova');
    await cluster.world.runFor(10_000);
    for (const body of [SMALL, LARGE]) {
      const code = await rejectedCode(put(cluster, 'z', putRequest(body, { onReady })));
      expect(code).toBe('unavailable');
    }
    expect(ready).toBe(2);
  });

  it('if absent: refuses where a live object is, not where a deleted one was', async () => {
    const cluster = await TestCluster.startWithContainer();
    const condition = IF_ABSENT;
    expect((await put(cluster, 'x', putRequest(SMALL, { condition }))).kind).toBe('stored');
    expect((await put(cluster, 'x', putRequest(SMALL, { condition }))).kind).toBe(
      'precondition-failed',
    );
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('x')));
    expect((await put(cluster, 'x', putRequest(SMALL, { condition }))).kind).toBe('stored');
  });

  it('into no container says so', async () => {
    const cluster = await TestCluster.start();
    expect((await put(cluster, 'x', putRequest(SMALL))).kind).toBe('no-container');
  });

  it('into a container that was deleted meanwhile leaves no live object', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, 'warm', putRequest(SMALL)); // lngs remembers the container
    const other = cluster.node('bari').proxy;
    await cluster.run(other.deleteObject(cluster.operation(), objectName('warm')));
    expect(await cluster.run(other.deleteContainer(cluster.operation(), CONTAINER))).toBe(
      'deleted',
    );
    const live = () =>
      NODES.filter((node) => cluster.entryAt(node, 'x')?.state.data?.kind === 'live');
    expect((await put(cluster, 'x', putRequest(SMALL))).kind).toBe('no-container');
    expect(live().length).toBeLessThan(2); // No majority: who is told, reads 404.
    await cluster.world.runFor(1_000);
    expect(live()).toEqual([]);
  });
});

describe('the row', () => {
  it('is on a majority of container replicas before a strict write is acknowledged', async () => {
    const cluster = await TestCluster.startWithContainer();
    cluster.rows.broken.add(1);
    expect((await put(cluster, 'x', putRequest(SMALL))).ack).toBeUndefined();
    expect(cluster.rows.holders('container', '/AUTH_test/box', 'x')).toEqual([0, 2]);
    cluster.rows.broken.add(2);
    expect(await rejectedCode(put(cluster, 'y', putRequest(SMALL)))).toBe('unavailable');
  });

  it('counts only on complete container replicas', async () => {
    const cluster = await TestCluster.startWithContainer();
    cluster.rows.incomplete.add(1).add(2);
    await cluster.world.runFor(3_000);
    cluster.rows.incomplete.delete(2);
    expect((await put(cluster, 'x', putRequest(SMALL))).ack).toBeUndefined();
    cluster.rows.incomplete.add(2);
    expect(await rejectedCode(put(cluster, 'y', putRequest(SMALL)))).toBe('unavailable');
  });
});

describe('DELETE', () => {
  it('tells what it deleted, and writes its tombstone also for nothing', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, 'x', putRequest(SMALL));
    const remove = () =>
      cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('x')));
    expect(await remove()).toBe('deleted');
    const first = cluster.entryAt('lngs', 'x')?.state.data;
    expect(first?.kind).toBe('deleted');
    expect(await remove()).toBe('not-found');
    expect(cluster.entryAt('lngs', 'x')!.state.data!.timestamp > first!.timestamp).toBe(true);
    // A majority of the rows is enough for the answer; the third may still be on its way.
    await cluster.world.runFor(1_000);
    expect(cluster.rows.holders('container', '/AUTH_test/box', 'x')).toEqual([]);
  });

  it.each([1, 2, 3, 4])(
    'is not fooled by a replica that has the newest metadata and missed the data (simulator, seed 154) (%i)',
    async (seed) => {
      const cluster = await TestCluster.start({ seed });
      await cluster.createContainer();
      const remove = () =>
        cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('x')));
      await remove();
      await cluster.world.runFor(2_000);
      cluster.kill('padova');
      await put(cluster, 'x', putRequest(SMALL));
      const change = { user: {}, system: {}, deleteAt: null };
      await cluster.run(cluster.proxy.updateObject(cluster.operation(), objectName('x'), change));
      await cluster.restart('padova');
      await cluster.world.runFor(60_000);
      const { key, path, state } = cluster.entryAt('lngs', 'x')!;
      const groups = { data: undefined, groups: state.groups };
      await cluster.run(
        cluster
          .device('padova')
          .write({ key, path, state: groups, unlisted: false, intent: 'join' }),
      );
      expect(cluster.entryAt('padova', 'x')?.state.data?.kind).toBe('deleted');
      cluster.kill('bari');
      expect(await remove()).toBe('deleted');
    },
  );
});

describe('POST', () => {
  it('replaces user metadata, keeps the body and its etag', async () => {
    const cluster = await TestCluster.startWithContainer();
    const user = { 'x-object-meta-a': '1', 'x-object-meta-b': '2' };
    const { etag } = await put(cluster, 'x', putRequest(SMALL, { user }));
    const change = {
      user: { 'x-object-meta-c': '3' },
      system: { 'content-type': 'image/png' },
      deleteAt: null,
    };
    const { proxy } = cluster;
    expect(
      await cluster.run(proxy.updateObject(cluster.operation(), objectName('x'), change)),
    ).toBe('updated');
    const reader = await cluster.run(proxy.openObject(cluster.operation(), objectName('x')));
    expect(reader?.state.data?.etag).toBe(etag);
    expect(reader?.state.groups['user']?.values).toEqual({ 'x-object-meta-c': '3' });
    expect(reader?.inline).toEqual(SMALL);
    const row = cluster.rows.row('container', 0, '/AUTH_test/box', 'x');
    expect(row?.groups['system']?.values['content-type']).toBe('image/png');
  });

  it('to nothing is not found', async () => {
    const cluster = await TestCluster.startWithContainer();
    const change = { user: {}, system: {}, deleteAt: null };
    const answer = cluster.proxy.updateObject(cluster.operation(), objectName('x'), change);
    expect(await cluster.run(answer)).toBe('not-found');
  });

  it('can move an expiry, and can take it away', async () => {
    const cluster = await TestCluster.startWithContainer();
    const now = Math.floor(cluster.node('lngs').env.clock.wallMicros() / 1e6);
    const system = { 'content-encoding': 'gzip' };
    await put(cluster, 'x', putRequest(SMALL, { deleteAt: now + 10, system }));
    const stat = () => cluster.run(cluster.proxy.statObject(cluster.operation(), objectName('x')));
    expect(await stat()).toBeDefined();
    await cluster.world.runFor(11_000);
    expect(await stat()).toBeUndefined();
    await put(cluster, 'x', putRequest(SMALL, { deleteAt: now + 20 }));
    const change = { user: {}, system: {}, deleteAt: null };
    await cluster.run(cluster.proxy.updateObject(cluster.operation(), objectName('x'), change));
    await cluster.world.runFor(20_000);
    expect(await stat()).toBeDefined();
  });
});

describe('containers and accounts', () => {
  it('are made, listed, changed and deleted', async () => {
    const cluster = await TestCluster.start();
    const { proxy } = cluster;
    const account = 'AUTH_test';
    expect((await cluster.run(proxy.accountInfo(cluster.operation(), account))).exists).toBe(false);
    const changes = { 'x-container-meta-color': 'red' };
    const create = () =>
      cluster.run(proxy.createContainer(cluster.operation(), CONTAINER, { changes }));
    expect(await create()).toBe('created');
    expect(await create()).toBe('exists');
    expect((await cluster.run(proxy.accountInfo(cluster.operation(), account))).exists).toBe(true);
    const page = await cluster.run(
      proxy.listContainers(cluster.operation(), account, { limit: 10 }),
    );
    expect(page?.items).toMatchObject([{ name: 'box' }]);
    await cluster.run(
      proxy.updateContainer(cluster.operation(), CONTAINER, {
        'x-container-meta-color': null,
        'x-container-read': '.r:*',
      }),
    );
    const info = await cluster.run(proxy.containerInfo(cluster.operation(), CONTAINER, false));
    expect(info?.headers).toEqual({ 'x-container-read': '.r:*' });
    await put(cluster, 'x', putRequest(SMALL));
    const remove = () => cluster.run(proxy.deleteContainer(cluster.operation(), CONTAINER));
    expect(await remove()).toBe('not-empty');
    await cluster.run(proxy.deleteObject(cluster.operation(), objectName('x')));
    expect(await remove()).toBe('deleted');
    expect(await remove()).toBe('no-container');
    expect(
      await cluster.run(proxy.containerInfo(cluster.operation(), CONTAINER, false)),
    ).toBeUndefined();
    expect(await create()).toBe('created');
  });

  it('a container changed by another proxy is seen within two seconds', async () => {
    const cluster = await TestCluster.startWithContainer();
    const info = () =>
      cluster.run(cluster.proxy.containerInfo(cluster.operation(), CONTAINER, false));
    await info();
    const changes = { 'x-container-read': '.r:*' };
    await cluster.run(
      cluster.node('bari').proxy.updateContainer(cluster.operation(), CONTAINER, changes),
    );
    await cluster.world.runFor(2_001);
    expect((await info())?.headers).toEqual(changes);
  });

  it('a policy that is not the container’s is a conflict', async () => {
    const cluster = await TestCluster.startWithContainer();
    const options = { policy: 7, changes: {} };
    const answer = cluster.proxy.createContainer(cluster.operation(), CONTAINER, options);
    expect(await cluster.run(answer)).toBe('policy-conflict');
  });
});

describe('a body that comes byte by byte', () => {
  it('is stored, small or large', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (const length of [3_000, 1_060_000]) {
      const body = patternBytes(length);
      async function* bytes(): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < length; at += 150)
          yield body.subarray(at, Math.min(length, at + 150));
      }
      const request = { ...putRequest(body, { length: undefined }), body: bytes() };
      expect((await put(cluster, 'x', request)).size).toBe(length);
      const reader = await cluster.run(
        cluster.proxy.openObject(cluster.operation(), objectName('x')),
      );
      expect((await cluster.run(collect(reader!.read(0, length)))).equals(body)).toBe(true);
    }
  });
});
