/** Uploads on a whole cluster in virtual time: what clocks and other clients do to one. */
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { objectPath } from '#base/names.ts';
import type { Store } from '../contract.ts';
import { openManifest } from '../manifest.ts';
import {
  CONTAINER,
  collect,
  objectName,
  putRequest,
  TestCluster,
  type TestClusterOptions,
} from '../testing/test-cluster.ts';
import { VERSIONING_HEADER } from '../versions/contract.ts';
import { withVersions } from '../versions/versions.ts';
import type { PartSlot } from './attempts.ts';
import { partsContainer } from './names.ts';
import { Sweeper } from './sweeper.ts';
import { type Upload, Uploads } from './uploads.ts';

const KEY = 'whole';
const OLDER = Buffer.from('older');
const WHOLE = { etag: 'e-2', checksums: {} };
/** Longer than a proxy takes a container for what it was. */
const CACHED_MS = 3_000;

type Site = 'lngs' | 'bari' | 'padova';

class Bench {
  readonly cluster: TestCluster;

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  static async start(options: TestClusterOptions = {}): Promise<Bench> {
    return new Bench(await TestCluster.startWithContainer({ realRows: true, ...options }));
  }

  store(site: Site): Store {
    const { proxy, env } = this.cluster.node(site);
    return withVersions(proxy, env);
  }

  at(site: Site, store = this.store(site)): Uploads {
    return new Uploads(store, this.cluster.node(site).env);
  }

  begin(): Promise<Upload> {
    return this.at('lngs').begin(this.cluster.operation(), CONTAINER, {
      ...{ key: KEY, contentType: 'text/plain', user: {}, system: {}, groups: {} },
      ...{ algorithm: 'crc64nvme', checksumType: 'FULL_OBJECT', asked: false, initiator: '' },
    });
  }

  slot(site: Site, upload: Upload, number: number): Promise<PartSlot> {
    return this.at(site).slot(this.cluster.operation(), upload, number);
  }

  async put(site: Site, upload: Upload, number: number, text: string, given?: PartSlot) {
    const slot = given ?? (await this.slot(site, upload, number));
    const part = putRequest(Buffer.from(text));
    return await this.at(site).putPart(this.cluster.operation(), upload, slot, part, () => ({}));
  }

  async complete(upload: Upload, uploads = this.at('lngs')): Promise<string> {
    const operation = this.cluster.operation();
    const parts = await uploads.parts(operation, upload);
    return await uploads
      .complete(operation, upload, { ...WHOLE, parts })
      .then(({ kind }) => kind, codeOf);
  }

  abort(upload: Upload, site: Site = 'bari'): Promise<string> {
    return this.at(site).abort(this.cluster.operation(), upload).catch(codeOf);
  }

  async sweep(): Promise<void> {
    const { env } = this.cluster.node('padova');
    const state = {
      txn: async () => ({ succeeded: true, revision: 1, results: [] }),
      grantLease: async () => 'lease',
      keepAlive: async () => true,
    };
    const sweeper = new Sweeper({ env, store: this.store('padova'), state, name: 'test' });
    const { signal } = new AbortController();
    while ((await sweeper.step(signal)).kind === 'more');
  }

  async read(): Promise<string | undefined> {
    const store = this.store('padova');
    const operation = this.cluster.operation({ read: 'newest' });
    const reader = await store.openObject(operation, objectName(KEY));
    if (reader === undefined) return undefined;
    const { length, read } = await openManifest(store, operation, objectName(KEY), reader);
    return (await collect(read(0, length))).toString();
  }

  /** First letters of what is kept for uploads. */
  async kept(): Promise<string> {
    const query = { limit: 100 };
    const operation = this.cluster.operation();
    const page = await this.store('padova').listObjects(
      operation,
      partsContainer(CONTAINER),
      query,
    );
    const items = page?.items ?? [];
    return items.map((item) => ('prefix' in item ? '?' : item.name[0])).join('');
  }

  sleep(ms: number): Promise<void> {
    return this.cluster.node('lngs').env.clock.sleep(ms);
  }
}

/** `pause` is awaited before operation number `at`. */
function pausing(store: Store, at: number, pause: () => Promise<unknown>) {
  let calls = 0;
  const seen = new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      return async (...given: unknown[]) => {
        if (calls++ === at) await pause();
        return await (value as (...all: unknown[]) => unknown).apply(target, given);
      };
    },
  });
  return { store: seen, calls: () => calls };
}

describe('a part that is sent again', () => {
  const SLOW: TestClusterOptions = { deafClocks: true, skewMs: { bari: -60_000 } };

  it('counts, also through a proxy whose clock is behind', async () => {
    const bench = await Bench.start(SLOW);
    const { cluster } = bench;
    const play = async (): Promise<void> => {
      const upload = await bench.begin();
      await bench.put('lngs', upload, 1, 'first');
      await bench.put('bari', upload, 1, 'second');
      const last = await bench.put('bari', upload, 1, 'third');
      await bench.put('padova', upload, 2, ', other');
      for (const site of ['lngs', 'bari'] as const) {
        const operation = cluster.operation();
        const [part, ...others] = await bench.at(site).attempts(operation, upload);
        expect(part).toMatchObject({ number: 1, etag: last.etag, checksums: {} });
        expect(others.map(({ number }) => number)).toEqual([2]);
      }
      expect(await bench.complete(upload)).toBe('stored');
      expect(await bench.read()).toBe('third, other');
      expect(await bench.kept()).toBe('cpp');
    };
    await cluster.run(play());
  });

  it('while it is being sent leaves both to choose from, until the next one', async () => {
    const bench = await Bench.start(SLOW);
    const { cluster } = bench;
    const play = async (): Promise<void> => {
      const upload = await bench.begin();
      const early = await bench.slot('bari', upload, 1);
      const here = await bench.put('lngs', upload, 1, 'here');
      const there = await bench.put('bari', upload, 1, 'there', early);
      const etags = async () =>
        (await bench.at('lngs').attempts(cluster.operation(), upload)).map(({ etag }) => etag);
      expect(await etags()).toEqual([here.etag, there.etag]);
      expect(await bench.at('bari').parts(cluster.operation(), upload)).toHaveLength(1);
      const last = await bench.put('bari', upload, 1, 'last');
      expect(await etags()).toEqual([last.etag]);
    };
    await cluster.run(play());
  });
});

/** Of a completion, about: each may be the one that an abort comes before. */
const STEPS = 12;

describe('an upload that is aborted while it is being completed', () => {
  const cases = [
    ['a moment', undefined, 2_000],
    ['until the abort is done', undefined, Number.POSITIVE_INFINITY],
    ['a moment, in a container that keeps versions,', 'Enabled', 2_000],
    ['until the abort is done, in a container that keeps versions,', 'Enabled', Infinity],
  ] as const;
  it.each(cases)(
    'is one or the other, when completing stops for %s at any step',
    async (...given) => {
      const [, versioning, pauseMs] = given;
      const bench = await Bench.start();
      const { cluster } = bench;
      const ends = new Set<string>();
      const play = async (): Promise<void> => {
        if (versioning !== undefined) {
          const changes = { [VERSIONING_HEADER]: versioning };
          await bench.store('lngs').updateContainer(cluster.operation(), CONTAINER, changes);
          await bench.sleep(CACHED_MS);
        }
        for (let at = 0; at < STEPS; at++) {
          const upload = await bench.begin();
          await bench.put('lngs', upload, 1, `part of ${at}`);
          await bench.put('lngs', upload, 1, `part ${at}`);
          let aborting: Promise<string> | undefined;
          const { store } = pausing(bench.store('lngs'), at, async () => {
            aborting = bench.abort(upload);
            const isOver = aborting.then(() => undefined);
            await (Number.isFinite(pauseMs)
              ? Promise.race([isOver, bench.sleep(pauseMs)])
              : isOver);
          });
          const completed = await bench.complete(upload, bench.at('lngs', store));
          const aborted = await aborting;
          await bench.sweep();
          const about = `step ${at}: ${completed}, ${aborted}`;
          ends.add(`${completed}, ${aborted}`);
          if (completed === 'stored') {
            expect(aborted, about).not.toBe('aborted');
            expect(await bench.read(), about).toBe(`part ${at}`);
            expect(await bench.kept(), about).toMatch(/^cpp?$/);
            const name = objectName(KEY);
            const state = await bench.store('lngs').statObject(cluster.operation(), name);
            const version = state?.data?.versionId;
            const exactly = { ...name, ...(version !== undefined && { version }) };
            await withVersions(cluster.proxy, cluster.node('lngs').env).removeObject(
              cluster.operation(),
              exactly,
            );
            await bench.sweep();
          } else {
            expect(aborted, about).toBe('aborted');
          }
          expect(await bench.read(), about).toBeUndefined();
          expect(await bench.kept(), about).toBe('');
        }
      };
      await cluster.run(play());
      expect(ends).toContain('stored, completed');
      expect(ends).toContain('over, aborted');
      expect([...ends].some((end) => end === 'unavailable, aborted')).toBe(pauseMs > 1e6);
    },
  );

  it('can be aborted half a minute after the one that completed it has died', async () => {
    const bench = await Bench.start();
    const play = async (): Promise<void> => {
      const upload = await bench.begin();
      await bench.put('lngs', upload, 1, 'part');
      // Parts, claim (two), record; the object is not made.
      const { store } = pausing(bench.store('lngs'), 4, () => new Promise(() => undefined));
      void bench.complete(upload, bench.at('lngs', store));
      await bench.sleep(1_000);
      expect(await bench.abort(upload)).toBe('aborted');
      expect(await bench.complete(upload)).toBe('over');
      await bench.sweep();
      expect(await bench.kept()).toBe('');
    };
    await bench.cluster.run(play());
  });

  it('is not completed any more by a record that one replica has taken', async () => {
    const bench = await Bench.start();
    const { cluster } = bench;
    const play = async (): Promise<void> => {
      await bench.store('lngs').putObject(cluster.operation(), objectName(KEY), putRequest(OLDER));
      const upload = await bench.begin();
      await bench.put('lngs', upload, 1, 'part');
      // The object's record is accepted at the site of its proxy, which is cut off from the others.
      const { endpoint } = cluster.node('lngs');
      const call = endpoint.call.bind(endpoint);
      endpoint.call = (peer, method, args, options) => {
        const { path } = args as { path?: string };
        if (method === 'object.accept' && path === objectPath(objectName(KEY))) {
          cluster.world.network.partition(['lngs'], ['bari', 'padova']);
        }
        return call(peer, method, args, options);
      };
      expect(await bench.complete(upload)).toBe('unavailable');
      endpoint.call = call;
      expect(cluster.entryAt('lngs', KEY)?.state.data?.manifest).toBe('multipart');
      expect(await bench.abort(upload)).toBe('aborted');
      cluster.world.network.heal();
      await bench.sleep(60_000);
      for (const site of ['lngs', 'bari', 'padova'] as const) {
        const operation = cluster.operation({ read: 'newest' });
        const reader = await bench.store(site).openObject(operation, objectName(KEY));
        expect(reader?.inline).toEqual(OLDER);
      }
    };
    await cluster.run(play());
  });

  it('keeps what another one is still making an object of', async () => {
    const bench = await Bench.start();
    const { cluster } = bench;
    const play = async (): Promise<void> => {
      const upload = await bench.begin();
      await bench.put('lngs', upload, 1, 'part');
      const { store } = pausing(bench.store('lngs'), 4, async () => {
        // Meanwhile it is completed, and the object is deleted.
        expect(await bench.complete(upload, bench.at('bari'))).toBe('stored');
        await bench.store('bari').deleteObject(cluster.operation(), objectName(KEY));
        await Promise.race([bench.sweep(), bench.sleep(2_000)]);
      });
      expect(await bench.complete(upload, bench.at('lngs', store))).toBe('stored');
      expect(await bench.read()).toBe('part');
      await bench.sleep(60_000);
      await bench.sweep();
      expect(await bench.read()).toBe('part');
      expect(await bench.kept()).toBe('cp');
      expect(
        await bench.at('bari').find(cluster.operation(), CONTAINER, KEY, upload.uploadId),
      ).toBe(undefined);
    };
    await cluster.run(play());
  });
});
