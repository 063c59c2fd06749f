/** The sweep on a whole cluster in virtual time: conditional rounds as they are, not a store in memory. */
import { describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import type { Store } from '../contract.ts';
import { openManifest } from '../manifest.ts';
import {
  CONTAINER,
  collect,
  objectName,
  putRequest,
  TestCluster,
} from '../testing/test-cluster.ts';
import { VERSIONING_HEADER } from '../versions/contract.ts';
import { withVersions } from '../versions/versions.ts';
import { partName } from './names.ts';
import { Sweeper } from './sweeper.ts';
import { Uploads } from './uploads.ts';

const KEY = 'parts';
const BODY = 'the only part';
/** Longer than a proxy takes a container for what it was. */
const CACHED_MS = 3_000;

const STATE: ConstructorParameters<typeof Sweeper>[0]['state'] = {
  txn: async () => ({ succeeded: true, revision: 1, results: [] }),
  grantLease: async () => 'lease',
  keepAlive: async () => true,
};

class Bench {
  readonly cluster: TestCluster;
  readonly store: Store;

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
    this.store = withVersions(cluster.proxy, this.#env);
  }

  get #env() {
    return this.cluster.node('lngs').env;
  }

  async upload(key = KEY): Promise<string> {
    const operation = this.cluster.operation();
    const uploads = new Uploads(this.store, this.#env);
    const upload = await uploads.begin(operation, CONTAINER, {
      ...{ key, contentType: 'text/plain', user: {}, system: {}, groups: {} },
      ...{ algorithm: 'crc64nvme', checksumType: 'FULL_OBJECT', asked: false, initiator: '' },
    });
    const slot = await uploads.slot(operation, upload, 1);
    await uploads.putPart(operation, upload, slot, putRequest(Buffer.from(BODY)), () => ({}));
    const parts = await uploads.parts(operation, upload);
    await uploads.complete(operation, upload, { parts, etag: 'whole', checksums: {} });
    return upload.uploadId;
  }

  async sweep(store = this.store): Promise<unknown> {
    const sweeper = new Sweeper({ env: this.#env, store, state: STATE, name: 'test' });
    const { signal } = new AbortController();
    while ((await sweeper.step(signal)).kind === 'more');
    return sweeper.facts()['deletedParts'];
  }

  async read(): Promise<string | undefined> {
    const operation = this.cluster.operation();
    const reader = await this.store.openObject(operation, objectName(KEY));
    if (reader === undefined) return undefined;
    const { length, read } = await openManifest(this.store, operation, objectName(KEY), reader);
    return (await collect(read(0, length))).toString();
  }
}

describe('the sweep of parts', () => {
  it.each([
    ['a container', undefined],
    ['a container that keeps versions', 'Enabled'],
  ])('keeps those of an object whose metadata were changed, in %s', async (_, versioning) => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const bench = new Bench(cluster);
    const { store } = bench;
    const operation = cluster.operation();
    const play = async (): Promise<void> => {
      if (versioning !== undefined) {
        await store.updateContainer(operation, CONTAINER, { [VERSIONING_HEADER]: versioning });
        await cluster.node('lngs').env.clock.sleep(CACHED_MS);
      }
      await bench.upload();
      const tags = { tags: { colour: 'red' } };
      expect(await store.updateGroups(operation, objectName(KEY), tags)).toBe('updated');
      const change = { user: { 'x-object-meta-a': 'b' }, system: {}, deleteAt: null };
      expect(await store.updateObject(operation, objectName(KEY), change)).toBe('updated');
      expect(await bench.sweep()).toBe(0);
      expect(await bench.read()).toBe(BODY);
    };
    await cluster.run(play());
  });

  it('takes those that were sent and are not part of the object, and no others', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const bench = new Bench(cluster);
    const play = async (): Promise<void> => {
      const uploadId = await bench.upload();
      // Nobody was told of it; it shows itself when the upload is complete.
      const late = partName(CONTAINER, uploadId, 1, 'ab'.repeat(8));
      await bench.store.putObject(cluster.operation(), late, putRequest(Buffer.from('another')));
      expect(await bench.sweep()).toBe(1);
      expect(await bench.store.statObject(cluster.operation(), late)).toBeUndefined();
      expect(await bench.read()).toBe(BODY);
    };
    await cluster.run(play());
  });

  it('goes on behind an upload whose object can not be read now', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const bench = new Bench(cluster);
    const statObject: Store['statObject'] = (operation, name) => {
      if (name.object === KEY) throw new OperatingError('unavailable', 'nobody has its bytes');
      return bench.store.statObject(operation, name);
    };
    const play = async (): Promise<void> => {
      for (const key of [KEY, 'first', 'second']) await bench.upload(key);
      for (const key of ['first', 'second'])
        await bench.store.deleteObject(cluster.operation(), objectName(key));
      expect(await bench.sweep({ ...bench.store, statObject })).toBe(2);
      expect(await bench.read()).toBe(BODY);
    };
    await cluster.run(play());
  });

  it('takes those of an object that was overwritten', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const bench = new Bench(cluster);
    const play = async (): Promise<void> => {
      await bench.upload();
      const request = putRequest(Buffer.from('another'));
      await bench.store.putObject(cluster.operation(), objectName(KEY), request);
      expect(await bench.sweep()).toBe(1);
    };
    await cluster.run(play());
  });
});
