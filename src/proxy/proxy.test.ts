import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { DataPart, EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { hashPath } from '#base/hash.ts';
import { ACCOUNT_RING, accountPath, CONTAINER_RING, containerPath } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { RowsArgs } from '#container/calls.ts';
import {
  CONTAINER,
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

async function readAll(cluster: TestCluster, object: string): Promise<Buffer | undefined> {
  const work = async (): Promise<Buffer | undefined> => {
    const reader = await cluster.proxy.openObject(cluster.operation(), objectName(object));
    return reader && collect(reader.read(0, reader.length));
  };
  return cluster.run(work());
}

describe.each([
  ['rows in memory', false],
  ['the real row services', true],
])('the proxy, with %s', (_name, realRows) => {
  it('stores a small object on three devices and gives it back', async () => {
    const cluster = await TestCluster.start({ realRows });
    await cluster.createContainer();
    const body = Buffer.from('hello, world');
    const result = await cluster.run(
      cluster.proxy.putObject(cluster.operation(), objectName('a/b'), putRequest(body)),
    );
    expect(result).toMatchObject({ kind: 'stored', etag: md5(body), size: body.length });
    expect(result.ack).toBeUndefined();
    expect(await readAll(cluster, 'a/b')).toEqual(body);
    const query = { limit: 10 };
    const page = await cluster.run(
      cluster.node('padova').proxy.listObjects(cluster.operation(), CONTAINER, query),
    );
    expect(page?.items).toMatchObject([{ name: 'a/b', bytes: body.length, etag: md5(body) }]);
    expect(page?.info).toMatchObject({ objects: 1, bytes: body.length });
  });

  it('stores a large object by staging it', async () => {
    const cluster = await TestCluster.start({ realRows });
    await cluster.createContainer();
    const body = patternBytes(3 * 1024 * 1024 + 17);
    const chunks = [body.subarray(0, 1_000_000), body.subarray(1_000_000)];
    const result = await cluster.run(
      cluster.proxy.putObject(cluster.operation(), objectName('big'), putRequest(chunks)),
    );
    expect(result).toMatchObject({ kind: 'stored', etag: md5(body), size: body.length });
    expect((await readAll(cluster, 'big'))?.equals(body)).toBe(true);
  });

  it('makes, fills, empties and deletes a container', async () => {
    const cluster = await TestCluster.start({ realRows });
    const { proxy } = cluster;
    const changes = { 'x-container-meta-color': 'red' };
    const create = () =>
      cluster.run(proxy.createContainer(cluster.operation(), CONTAINER, { changes }));
    const remove = () => cluster.run(proxy.deleteContainer(cluster.operation(), CONTAINER));
    const info = () => cluster.run(proxy.containerInfo(cluster.operation(), CONTAINER, false));
    const account = () => cluster.run(proxy.accountInfo(cluster.operation(), 'AUTH_test'));
    expect((await account()).exists).toBe(false);
    expect(await create()).toBe('created');
    expect(await create()).toBe('exists');
    expect(await account()).toMatchObject({ exists: true, containers: 1 });
    expect((await info())?.headers).toEqual(changes);
    const update = { 'x-container-meta-color': null, 'x-container-read': '.r:*' };
    expect(await cluster.run(proxy.updateContainer(cluster.operation(), CONTAINER, update))).toBe(
      'updated',
    );
    expect((await info())?.headers).toEqual({ 'x-container-read': '.r:*' });
    const asNew = { changes, leaveExisting: true };
    const again = proxy.createContainer(cluster.operation(), CONTAINER, asNew);
    expect(await cluster.run(again)).toBe('exists');
    expect((await info())?.headers).toEqual({ 'x-container-read': '.r:*' });
    const object = objectName('x');
    await cluster.run(proxy.putObject(cluster.operation(), object, putRequest(Buffer.from('x'))));
    expect(await remove()).toBe('not-empty');
    expect(await cluster.run(proxy.deleteObject(cluster.operation(), object))).toBe('deleted');
    expect(await remove()).toBe('deleted');
    expect(await remove()).toBe('no-container');
    expect(await info()).toBeUndefined();
    expect(await account()).toMatchObject({ exists: true, containers: 0 });
    expect(await create()).toBe('created');
    expect((await info())?.headers).toEqual(changes);
  });
});

describe('a container that one replica knows alone', () => {
  it('is on a majority before a creation tells that it exists (simulator, seed 6006004)', async () => {
    const path = containerPath(CONTAINER);
    const create = (cluster: TestCluster) =>
      cluster.run(cluster.proxy.createContainer(cluster.operation(), CONTAINER, { changes: {} }));
    const whole = await TestCluster.startWithContainer({ realRows: true });
    const key = {
      policy: CONTAINER_RING,
      hash: hashPath(whole.view.hashPrefix, path, whole.view.hashSuffix),
    };
    const state = whole.node('lngs').rows.read(CONTAINER_RING, key.hash, '')!;
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.run(cluster.node('lngs').rows.write({ key, path, name: '', state }));
    expect(await create(cluster)).toBe('exists');
    cluster.kill('lngs');
    const { proxy } = cluster.node('bari');
    expect(
      await cluster.run(proxy.containerInfo(cluster.operation(), CONTAINER, false)),
    ).toBeDefined();
    expect(await cluster.run(proxy.deleteContainer(cluster.operation(), CONTAINER))).toBe(
      'deleted',
    );
  });
});

describe('a container that is there', () => {
  it('is not listed anew by another creation', async () => {
    const cluster = await TestCluster.startWithContainer({ realRows: true });
    const rows = () =>
      [...cluster.nodes.values()].map(({ rows }) => rows.read(ACCOUNT_RING, hash, 'box'));
    const hash = hashPath(
      cluster.view.hashPrefix,
      accountPath('AUTH_test'),
      cluster.view.hashSuffix,
    );
    await cluster.world.runFor(60_000);
    const before = rows();
    expect(before.filter(Boolean)).not.toEqual([]);
    const again = cluster.proxy.createContainer(cluster.operation(), CONTAINER, { changes: {} });
    expect(await cluster.run(again)).toBe('exists');
    await cluster.world.runFor(60_000);
    expect(rows()).toEqual(before);
  });
});

describe('a container that a late row brought back', () => {
  it('is made again by a creation, and does not go with that row (simulator, seed 1292)', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    const { proxy } = cluster;
    const create = () =>
      cluster.run(proxy.createContainer(cluster.operation(), CONTAINER, { changes: {} }));
    const info = () => cluster.run(proxy.containerInfo(cluster.operation(), CONTAINER, false));
    const late = async (kind: 'live' | 'deleted'): Promise<void> => {
      for (const node of cluster.nodes.values()) {
        const timestamp = node.clock.now();
        const args = rowArgs(cluster, node.device, {
          data: dataPart(kind, timestamp),
          groups: {},
        });
        const options = { txn: 'late', deadlineMs: 1_000 };
        await cluster.run(node.endpoint.call(node.name, 'container.rows', args, options));
      }
    };
    await create();
    expect(await cluster.run(proxy.deleteContainer(cluster.operation(), CONTAINER))).toBe(
      'deleted',
    );
    await late('live');
    expect(await create()).toBe('exists');
    await late('deleted');
    expect(await info()).toMatchObject({ objects: 0 });
  });

  it('goes with the end of a write that was refused', async () => {
    const limits = { containerCacheMs: 60_000 };
    const cluster = await TestCluster.startWithContainer({ realRows: true, limits });
    const other = cluster.node('bari').proxy;
    const put = (name: string) => {
      const request = putRequest(Buffer.from('x'));
      return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(name), request));
    };
    await put('warm'); // lngs remembers the container
    cluster.kill('padova'); // and padova's replica of it hears of nothing
    await cluster.run(other.deleteObject(cluster.operation(), objectName('warm')));
    expect(await cluster.run(other.deleteContainer(cluster.operation(), CONTAINER))).toBe(
      'deleted',
    );
    await cluster.restart('padova');
    await cluster.world.runFor(20_000); // it is asked again
    expect((await put('x')).kind).toBe('no-container');
    const { hashPrefix, hashSuffix } = cluster.view;
    const hash = hashPath(hashPrefix, containerPath(CONTAINER), hashSuffix);
    const kinds = [...cluster.nodes.values()].map(
      ({ rows }) => rows.read(CONTAINER_RING, hash, 'x')?.data?.kind,
    );
    expect(kinds).not.toContain('live');
    const created = other.createContainer(cluster.operation(), CONTAINER, { changes: {} });
    expect(await cluster.run(created)).toBe('created');
  });
});

function dataPart(kind: 'live' | 'deleted', timestamp: Timestamp): DataPart {
  const plain = { kind, writeId: '0123456789abcdef', clientMicros: 1, size: 0 };
  return { timestamp, ...plain, etag: '0'.repeat(32), contentType: 'text/plain' };
}

function rowArgs(cluster: TestCluster, device: number, state: EntryState): RowsArgs {
  const path = containerPath(CONTAINER);
  const { hashPrefix, hashSuffix } = cluster.view;
  const hash = hashPath(hashPrefix, path, hashSuffix);
  const rows = [{ hash, path, name: 'late', state: encodeState(state) }];
  return { device, ringVersion: 1, intent: 'repair', rows };
}
