/** The job on a whole cluster in virtual time: real rows, devices and rounds. */

import { describe, expect, it } from 'vitest';
import { stillSource } from '#ring/testing/view-source.ts';
import { BucketWalk } from '../bucket-jobs/bucket-walk.ts';
import type { PutRequest } from '../contract.ts';
import { partsContainer } from '../multipart/names.ts';
import { Uploads } from '../multipart/uploads.ts';
import { CONTAINER, objectName, putRequest, TestCluster } from '../testing/test-cluster.ts';
import { VERSIONING_HEADER } from '../versions/contract.ts';
import { withVersions } from '../versions/versions.ts';
import { LifecycleJob } from './lifecycle-job.ts';
import { DAY_MS, encodeLifecycle, LIFECYCLE_HEADER, type LifecycleRule } from './rules.ts';

const DAYS = DAY_MS * 1000;

class Bench {
  readonly cluster: TestCluster;
  readonly #jobs = new Map<string, LifecycleJob>();

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  static async start(...rules: Partial<LifecycleRule>[]): Promise<Bench> {
    const bench = new Bench(await TestCluster.start({ realRows: true }));
    await bench.cluster.createContainer();
    await bench.configure(...rules);
    return bench;
  }

  async configure(...rules: Partial<LifecycleRule>[]): Promise<void> {
    const { cluster } = this;
    const base = { enabled: true, form: 'filter' as const };
    const text = encodeLifecycle({
      minimum: 'all_storage_classes_128K',
      rules: rules.map((rule, i) => ({ id: `r${i}`, ...base, ...rule })),
    });
    const changes = { [LIFECYCLE_HEADER]: text };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, changes));
    // It is acknowledged by a majority, which a node whose job is asked next may not be one of yet.
    await this.wait(1_000);
  }

  nowMicros(): number {
    return this.cluster.node('lngs').env.clock.wallMicros();
  }

  async put(
    name: string,
    days: number,
    more: Partial<PutRequest> = {},
    by = 'lngs',
  ): Promise<void> {
    const { cluster } = this;
    const clientMicros = this.nowMicros() - days * DAYS;
    const request = putRequest(Buffer.from(name), { clientMicros, ...more });
    const { proxy } = cluster.node(by);
    await cluster.run(proxy.putObject(cluster.operation(), objectName(name), request));
  }

  async names(container = CONTAINER as { account: string; container: string }): Promise<string[]> {
    const { cluster } = this;
    const query = { limit: 5000 };
    const list = cluster.proxy.listObjects(cluster.operation(), container, query);
    const page = await cluster.run(list);
    return (page?.items ?? []).map((item) => ('prefix' in item ? item.prefix : item.name));
  }

  job(node: string): LifecycleJob {
    const { proxy, rows, env, device } = this.cluster.node(node);
    let job = this.#jobs.get(node);
    job ??= new LifecycleJob({
      env,
      store: withVersions(proxy, env),
      node,
      pageItems: 2,
      walk: new BucketWalk({
        cluster: stillSource(() => this.cluster.view),
        rows: () => new Map([[device, rows]]),
        isWanted: (headers) => headers[LIFECYCLE_HEADER] !== undefined,
      }),
    });
    this.#jobs.set(node, job);
    return job;
  }

  /** Steps until it has nothing to do; the number of steps. */
  async walk(node: string, most = 1000): Promise<number> {
    for (let step = 1; step <= most; step++) {
      const result = await this.cluster.run(this.job(node).step(new AbortController().signal));
      if (result.kind === 'idle') return step;
    }
    return most;
  }

  async wait(ms: number): Promise<void> {
    const { env } = this.cluster.node('padova');
    await this.cluster.run(env.clock.sleep(ms));
  }
}

describe('the lifecycle job', () => {
  it('deletes what is over, and nothing else', async () => {
    const bench = await Bench.start(
      { expireDays: 3, prefix: 'logs/' },
      { expireDays: 1, tags: { kind: 'tmp' } },
    );
    await bench.put('logs/old', 5);
    await bench.put('logs/new', 1);
    await bench.put('other', 50);
    await bench.put('tagged', 5, { groups: { tags: { kind: 'tmp' } } });
    await bench.put('kept', 5, { groups: { tags: { kind: 'keep' } } });
    await bench.walk('lngs');
    expect(await bench.names()).toEqual(['kept', 'logs/new', 'other']);
    expect(bench.job('lngs').facts()).toMatchObject({ rounds: 1, expired: 2, failed: 0 });
  });

  it('looks at a bucket once a day, and when its rules change', async () => {
    const bench = await Bench.start({ expireDays: 1 });
    await bench.walk('lngs');
    await bench.put('old', 5);
    await bench.walk('lngs');
    expect(await bench.names()).toEqual(['old']);
    await bench.configure({ expireDays: 2 });
    await bench.walk('lngs');
    expect(await bench.names()).toEqual([]);
    expect(bench.job('lngs').facts()).toMatchObject({ rounds: 2 });
  });

  it('rests after it has gone through all buckets, also where some have rules', async () => {
    const bench = await Bench.start({ expireDays: 1 });
    await bench.walk('lngs');
    // A look, a bucket whose round is done, and the rest.
    expect(await bench.walk('lngs')).toBe(3);
  });

  it('is done by the first primary; the others see that it was', async () => {
    const bench = await Bench.start({ expireDays: 1 });
    await bench.walk('bari');
    await bench.put('old', 5);
    expect(bench.job('bari').facts()).toMatchObject({ rounds: 0 });
    await bench.walk('lngs');
    await bench.wait(121_000);
    await bench.walk('bari');
    await bench.walk('padova');
    expect(bench.job('lngs').facts()).toMatchObject({ rounds: 1, expired: 1 });
    expect(bench.job('bari').facts()).toMatchObject({ rounds: 0, expired: 0 });
  });

  it('goes on with the next primary where a dead one was', async () => {
    const bench = await Bench.start({ expireDays: 1 });
    const names = ['o1', 'o2', 'o3'];
    for (const name of names) await bench.put(name, name === 'o3' ? 5 : 0);
    // Walk, claim, first page.
    await bench.walk('bari', 3);
    await bench.walk('lngs', 3);
    expect(bench.job('lngs').facts()).toMatchObject({ rounds: 0 });
    bench.cluster.kill('lngs');
    await bench.walk('bari');
    expect(bench.job('bari').facts()).toMatchObject({ rounds: 0 });
    await bench.wait(125_000);
    await bench.put('a', 5, {}, 'bari'); // Before the place that had been reached: the next round's.
    await bench.walk('bari');
    expect(bench.job('bari').facts()).toMatchObject({ rounds: 1, expired: 1 });
    const { cluster } = bench;
    const stat = (name: string) =>
      cluster.run(cluster.node('bari').proxy.statObject(cluster.operation(), objectName(name)));
    expect(await stat(names.at(-1)!)).toBeUndefined();
    expect(await stat('a')).toBeDefined();
  });

  it('removes versions that were replaced long ago, and markers that hide nothing', async () => {
    const bench = await Bench.start(
      { noncurrentDays: 1, keptNoncurrent: 1, prefix: 'v/' },
      { expireMarkers: true },
    );
    const { cluster } = bench;
    const { env, proxy } = cluster.node('lngs');
    const store = withVersions(proxy, env);
    const enabled = { [VERSIONING_HEADER]: 'Enabled' };
    await cluster.run(store.updateContainer(cluster.operation(), CONTAINER, enabled));
    const put = (key: string, groups: PutRequest['groups'] = {}): Promise<unknown> => {
      const request = putRequest(Buffer.from(key), { groups });
      return cluster.run(store.putObject(cluster.operation(), objectName(key), request));
    };
    for (const key of ['v/a', 'v/a', 'v/a', 'v/a', 'other', 'other']) await put(key);
    // Locked: stays, whatever rules say.
    await put('v/held', { hold: { status: 'ON' } });
    for (let i = 0; i < 2; i++) await put('v/held');
    await put('v/gone');
    const removed = { ...objectName('v/gone') };
    await cluster.run(store.removeObject(cluster.operation(), removed));
    const listed = async (): Promise<string[]> => {
      const query = { limit: 1000 };
      const page = await cluster.run(store.listVersions(cluster.operation(), CONTAINER, query));
      return (page?.items ?? []).map((item) =>
        'prefix' in item ? '' : `${item.key}${item.isMarker ? ' marker' : ''}`,
      );
    };
    await bench.walk('lngs');
    expect(await listed()).toEqual([
      ...['other', 'other', 'v/a', 'v/a', 'v/a', 'v/a', 'v/gone marker', 'v/gone'],
      ...['v/held', 'v/held', 'v/held'],
    ]);
    const held = ['v/held', 'v/held'];
    const later = (): LifecycleJob =>
      new LifecycleJob({
        env: { ...env, clock: shifted(env.clock, 3 * DAYS) },
        store,
        node: 'lngs',
        pageItems: 2,
        walk: { next: () => ({ found: [{ ...CONTAINER, rank: 0, device: 0 }], done: true }) },
      });
    const job = later();
    for (let i = 0; i < 20; i++) await cluster.run(job.step(new AbortController().signal));
    // The current one and one before it stay; what the marker hid was the newest that is not current.
    expect(await listed()).toEqual([
      ...['other', 'other', 'v/a', 'v/a', 'v/gone marker', 'v/gone', 'v/held', ...held],
    ]);
    expect(job.facts()).toMatchObject({ removed: 2, failed: 0 });
    await bench.configure({ noncurrentDays: 1, prefix: 'v/' }, { expireMarkers: true });
    const next = later();
    for (let i = 0; i < 20; i++) await cluster.run(next.step(new AbortController().signal));
    expect(await listed()).toEqual(['other', 'other', 'v/a', 'v/gone marker', ...held]);
    await bench.configure({ expireMarkers: true });
    const last = later();
    for (let i = 0; i < 20; i++) await cluster.run(last.step(new AbortController().signal));
    expect(await listed()).toEqual(['other', 'other', 'v/a', ...held]);
  });

  it('spares what was overwritten after it was listed', async () => {
    const bench = await Bench.start({ expireDays: 1 });
    await bench.put('o', 5);
    const { cluster } = bench;
    const { proxy } = cluster.node('lngs');
    // The look before the deletion sees the old version; then the new one comes.
    const stat = proxy.statObject;
    let overwritten = false;
    Object.assign(proxy, {
      statObject: async (...args: Parameters<typeof stat>) => {
        const state = await stat(...args);
        if (!overwritten) {
          overwritten = true;
          const request = putRequest(Buffer.from('new'));
          await proxy.putObject(cluster.operation(), objectName('o'), request);
        }
        return state;
      },
    });
    await bench.walk('lngs');
    expect(overwritten).toBe(true);
    expect(await bench.names()).toEqual(['o']);
    expect(bench.job('lngs').facts()).toMatchObject({ expired: 0, failed: 0 });
  });

  it('aborts uploads that nobody completed, with their parts', async () => {
    const bench = await Bench.start({ abortDays: 2, prefix: 'big/' });
    const { cluster } = bench;
    const { env, proxy } = cluster.node('lngs');
    const uploads = new Uploads(proxy, env);
    const record = {
      ...{ contentType: 'text/plain', user: {}, system: {}, groups: {}, algorithm: 'crc64nvme' },
      ...{ checksumType: 'FULL_OBJECT' as const, asked: false, initiator: '' },
    };
    for (const key of ['big/1', 'small']) {
      const upload = await cluster.run(
        uploads.begin(cluster.operation(), CONTAINER, { ...record, key }),
      );
      const part = putRequest(Buffer.from('part'));
      const slot = { number: 1, newest: undefined };
      await cluster.run(uploads.putPart(cluster.operation(), upload, slot, part, () => ({})));
    }
    await bench.walk('lngs');
    expect(bench.job('lngs').facts()).toMatchObject({ rounds: 1, aborted: 0 });
    await bench.wait(1_000);
    // Three days on: the record's own time is what listings show.
    const later = new LifecycleJob({
      env: { ...env, clock: shifted(env.clock, 4 * DAYS) },
      store: withVersions(proxy, env),
      node: 'lngs',
      walk: { next: () => ({ found: [{ ...CONTAINER, rank: 0, device: 0 }], done: true }) },
    });
    for (let i = 0; i < 5; i++) await cluster.run(later.step(new AbortController().signal));
    expect(later.facts()).toMatchObject({ aborted: 1 });
    const left = await bench.names(partsContainer(CONTAINER));
    expect(left.map((name) => name.slice(0, 7))).toEqual([
      expect.stringMatching(/^p\//),
      'u/small',
    ]);
  });
});

function shifted<Clock extends { wallMicros(): number }>(clock: Clock, micros: number): Clock {
  return new Proxy(clock, {
    get: (target, name) => {
      if (name === 'wallMicros') return () => target.wallMicros() + micros;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
