/** Containers that change their policy, on a whole cluster in virtual time: real rows, devices and rounds. */

import { describe, expect, it } from 'vitest';
import { isLive } from '#base/entry.ts';
import type { ObjectListingAuditor } from '#object/listing-auditor.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { settingsOf } from '#rows/row-state.ts';
import { BucketWalk } from '../bucket-jobs/bucket-walk.ts';
import { JobRecords } from '../bucket-jobs/job-record.ts';
import { IF_ABSENT } from '../condition.ts';
import type { Store } from '../contract.ts';
import {
  CONTAINER,
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
  type TestClusterOptions,
} from '../testing/test-cluster.ts';
import { isMoving, MoveJob } from './move-job.ts';
import { MOVE_JOB } from './progress.ts';

const SITES = ['lngs', 'bari', 'padova', 'roma', 'lecce'];
const SETTLE_MS = 120_000;
const OLD = 0;
const NEW = 1;

class Bench {
  readonly cluster: TestCluster;
  readonly #jobs = new Map<string, MoveJob>();

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  /** The policies share the device at padova. */
  static async start(options: TestClusterOptions = {}): Promise<Bench> {
    const base = { realRows: true, sites: SITES, other: { devices: [2, 3, 4] } };
    const bench = new Bench(await TestCluster.start({ ...base, ...options }));
    await bench.cluster.createContainer();
    return bench;
  }

  get proxy(): Store {
    return this.cluster.proxy;
  }

  run<Result>(work: Promise<Result>): Promise<Result> {
    return this.cluster.run(work);
  }

  async put(name: string, body: Buffer | string, by = 'lngs'): Promise<void> {
    const { cluster } = this;
    const request = putRequest(Buffer.from(body as Buffer));
    await this.run(
      cluster.node(by).proxy.putObject(cluster.operation(), objectName(name), request),
    );
  }

  async get(name: string, by = 'bari', read: 'quorum' | 'newest' = 'quorum') {
    const { cluster } = this;
    return await this.run(
      (async () => {
        const operation = cluster.operation({ read });
        const reader = await cluster.node(by).proxy.openObject(operation, objectName(name));
        return reader && (await collect(reader.read(0, reader.length)));
      })(),
    );
  }

  async begin(to = NEW, by = 'lngs') {
    const { cluster } = this;
    return await this.run(cluster.node(by).proxy.moves.begin(cluster.operation(), CONTAINER, to));
  }

  job(name: string): MoveJob {
    const node = this.cluster.node(name);
    const rows = () => new Map([[node.device, node.rows]]);
    const cluster = stillSource(() => this.cluster.view);
    const job =
      this.#jobs.get(name) ??
      new MoveJob({
        env: node.env,
        cluster,
        store: node.proxy,
        moves: node.proxy.moves,
        rows,
        walk: new BucketWalk({
          cluster,
          rows,
          isWanted: (_, __, state) => isMoving(settingsOf(state)),
        }),
        node: name,
        pageItems: 3,
        settleMs: SETTLE_MS,
      });
    this.#jobs.set(name, job);
    return job;
  }

  /** Steps of this node's job until that holds. */
  async until(by: string, isSo: () => Promise<boolean>, steps = 400): Promise<void> {
    for (let step = 0; step < steps; step++) {
      if (await isSo()) return;
      await this.step(by);
    }
    throw new Error(`not within ${steps} steps: ${JSON.stringify(this.job(by).facts())}`);
  }

  /** Who has the job. */
  async holder(): Promise<string | undefined> {
    const { env } = this.cluster.node('lngs');
    const records = new JobRecords({ env, store: this.proxy, job: MOVE_JOB, holder: '' });
    const record = await this.run(records.look(this.cluster.operation(), CONTAINER));
    return record?.holder;
  }

  /** As after a crash: what the process knew is gone. */
  forgetJob(name: string): void {
    this.#jobs.delete(name);
  }

  async step(by = 'lngs'): Promise<void> {
    const result = await this.run(
      this.job(by)
        .step(new AbortController().signal)
        // A step that fails is tried again after a wait, as its runner does.
        .catch(() => ({ kind: 'idle' as const, waitMs: 1_000 })),
    );
    if (result.kind === 'idle') await this.cluster.world.runFor(Math.min(result.waitMs, 5_000));
  }

  async info() {
    return (await this.run(this.proxy.containerInfo(this.cluster.operation(), CONTAINER, true)))!;
  }

  /** Until the move is over. */
  async finish(by = 'lngs', steps = 400): Promise<void> {
    for (let step = 0; step < steps; step++) {
      await this.step(by);
      const { former, left } = await this.info();
      if (former === undefined && left === undefined) return;
    }
    throw new Error(`the move does not end: ${JSON.stringify(this.job(by).facts())}`);
  }

  /** A round of the listing auditor; what still waits for its row would be in doubt. */
  async audit(sites: readonly string[]): Promise<void> {
    for (const site of sites)
      if (this.cluster.node(site).machine.isUp) await this.cluster.runJob(site, 'object.updater');
    for (const site of sites) {
      if (this.cluster.node(site).machine.isUp) await this.run(this.#auditRound(site));
    }
  }

  async #auditRound(site: string): Promise<void> {
    const { jobs, device } = this.cluster.node(site);
    const auditor = jobs.find(({ name }) => name === 'object.listings') as ObjectListingAuditor;
    auditor.pacer.hurry([device]);
    while ((await auditor.step(new AbortController().signal)).kind === 'more');
  }

  /** On how many devices the name is live in this policy. */
  holders(name: string, policy: number): string[] {
    const { cluster } = this;
    return SITES.filter((site) => {
      const page = cluster.device(site).entries(policy, Buffer.alloc(16), undefined, 1_000);
      const path = `/${CONTAINER.account}/${CONTAINER.container}/${name}`;
      const entry = page.find((one) => one.path === path);
      return entry !== undefined && isLive(entry.state, 0) && entry.hasBody;
    });
  }

  async names(): Promise<string[]> {
    const query = { limit: 1_000 };
    const page = await this.run(
      this.cluster.node('bari').proxy.listObjects(this.cluster.operation(), CONTAINER, query),
    );
    return page!.items.map((item) => ('name' in item ? item.name : ''));
  }
}

describe('a container that changes its policy', () => {
  it('has its objects in the new policy alone at the end, as they were', async () => {
    const bench = await Bench.start();
    const large = patternBytes(700_000);
    for (let i = 0; i < 7; i++) await bench.put(`o${i}`, `body ${i}`);
    await bench.put('large', large);
    await bench.put('deleted', 'x');
    const { cluster } = bench;
    await bench.run(cluster.proxy.deleteObject(cluster.operation(), objectName('deleted')));
    const stat = () => bench.run(cluster.proxy.statObject(cluster.operation(), objectName('o3')));
    const before = await stat();
    expect(await bench.begin()).toEqual({ kind: 'begun' });
    await bench.finish();
    expect((await bench.info()).policy.name).toBe('other');
    expect(await stat()).toEqual(before);
    expect(await bench.get('large')).toEqual(large);
    expect(await bench.get('o6')).toEqual(Buffer.from('body 6'));
    expect(await bench.get('deleted')).toBeUndefined();
    expect((await bench.names()).length).toBe(8);
    for (const name of ['o0', 'o6', 'large']) {
      expect(bench.holders(name, NEW).length).toBeGreaterThanOrEqual(2);
      expect(bench.holders(name, OLD)).toEqual([]);
    }
  });

  it('takes writes, deletions and conditional writes all the time, and loses none', async () => {
    const bench = await Bench.start();
    const { cluster } = bench;
    for (let i = 0; i < 12; i++) await bench.put(`o${i}`, `first ${i}`);
    await bench.begin();
    const wanted = new Map<string, string>();
    for (let i = 0; i < 12; i++) wanted.set(`o${i}`, `first ${i}`);
    let isOver = false;
    const writer = async (by: string, first: number): Promise<void> => {
      const { proxy, env } = cluster.node(by);
      for (let turn = 0; !isOver; turn++) {
        const name = `o${first + 3 * (turn % 4)}`;
        const operation = cluster.operation();
        const body = `${by} ${turn}`;
        if (turn % 5 === 4) {
          await proxy.deleteObject(operation, objectName(name));
          wanted.delete(name);
        } else if (turn % 5 === 0 && !wanted.has(name)) {
          const request = putRequest(Buffer.from(body), { condition: IF_ABSENT });
          const { kind } = await proxy.putObject(operation, objectName(name), request);
          expect(kind).toBe('stored');
          wanted.set(name, body);
        } else {
          await proxy.putObject(operation, objectName(name), putRequest(Buffer.from(body)));
          wanted.set(name, body);
        }
        const stat = await proxy.statObject(cluster.operation(), objectName(name));
        expect(stat !== undefined).toBe(wanted.has(name));
        await env.clock.sleep(3_000);
      }
    };
    const writers = ['lngs', 'bari', 'roma'].map((by, i) => writer(by, i));
    await bench.finish();
    isOver = true;
    await bench.run(Promise.all(writers));
    const found: [string, string | undefined][] = [];
    for (const name of wanted.keys()) found.push([name, (await bench.get(name))?.toString()]);
    expect(found).toEqual([...wanted]);
    expect((await bench.names()).toSorted()).toEqual([...wanted.keys()].toSorted());
  });

  it.each([
    ['two copies and a witness', [2, 3, 4], 2],
    ['five copies', [4, 3, 2, 1, 0], 5],
  ])('may have %s there', async (_, devices, copies) => {
    const bench = await Bench.start({ other: { devices, copies } });
    for (let i = 0; i < 4; i++) await bench.put(`o${i}`, `body ${i}`);
    await bench.put('large', patternBytes(300_000));
    await bench.begin();
    await bench.put('o1', 'meanwhile');
    await bench.finish();
    expect(await bench.get('large')).toEqual(patternBytes(300_000));
    expect(await bench.get('o1')).toEqual(Buffer.from('meanwhile'));
    expect(bench.holders('o2', NEW).length).toBeGreaterThanOrEqual(Math.min(copies, 3));
    expect(bench.job('lngs').facts()['failed']).toBe(0);
  });

  it('goes on where the job was killed, at another node', async () => {
    const bench = await Bench.start();
    for (let i = 0; i < 10; i++) await bench.put(`o${i}`, `body ${i}`);
    await bench.begin();
    for (let step = 0; step < 5; step++) await bench.step('lngs');
    const { copied } = bench.job('lngs').facts();
    expect(copied).toBeGreaterThan(0);
    expect(copied).toBeLessThan(10);
    bench.forgetJob('lngs');
    await bench.finish('bari');
    expect(bench.job('bari').facts()['copied']).toBe(10 - copied!);
    for (let i = 0; i < 10; i++) expect(await bench.get(`o${i}`)).toEqual(Buffer.from(`body ${i}`));
  });

  it('waits as long where it is taken over by a node whose clock is an hour ahead', async () => {
    const bench = await Bench.start();
    const { cluster } = bench;
    await bench.put('o', 'body');
    await bench.begin();
    for (let step = 0; step < 12; step++) await bench.step('lngs');
    cluster.node('bari').machine.skewMs += 3_600_000;
    await bench.until('bari', async () => (await bench.holder()) === 'bari');
    const takenMs = cluster.world.nowMs;
    await bench.until('bari', async () => (await bench.info()).left !== undefined);
    expect(cluster.world.nowMs - takenMs).toBeGreaterThan(SETTLE_MS - 10_000);
  });

  it('waits for a container replica that is away, and reads and writes go on', async () => {
    const bench = await Bench.start();
    await bench.put('o', 'before');
    bench.cluster.kill('padova');
    await bench.begin();
    for (let step = 0; step < 60; step++) await bench.step();
    expect((await bench.info()).former?.name).toBe('standard');
    await bench.put('o', 'meanwhile');
    expect(await bench.get('o')).toEqual(Buffer.from('meanwhile'));
    await bench.cluster.restart('padova');
    await bench.finish();
    expect(await bench.get('o', 'padova')).toEqual(Buffer.from('meanwhile'));
  });

  it('may go back while it is under way', async () => {
    const bench = await Bench.start();
    for (let i = 0; i < 5; i++) await bench.put(`o${i}`, `body ${i}`);
    await bench.begin();
    for (let step = 0; step < 4; step++) await bench.step();
    await bench.put('o1', 'joint');
    expect(await bench.begin(OLD)).toEqual({ kind: 'begun' });
    await bench.finish();
    expect(bench.holders('o1', NEW)).toEqual([]);
    expect(await bench.get('o1')).toEqual(Buffer.from('joint'));
  });

  it('comes back only when every device was gone through, for what was deleted meanwhile', async () => {
    const bench = await Bench.start({ limits: { policyReturnMs: 600_000 } });
    const { cluster } = bench;
    for (let i = 0; i < 5; i++) await bench.put(`o${i}`, `body ${i}`);
    await bench.begin();
    await bench.finish();
    const refused = { kind: 'refused', why: expect.stringContaining('may still be on') };
    expect(await bench.begin(OLD)).toMatchObject(refused);
    await bench.audit(SITES);
    expect(await bench.begin(OLD)).toMatchObject(refused);
    await cluster.world.runFor(700_000);
    cluster.kill('bari');
    await bench.audit(SITES.filter((site) => site !== 'bari'));
    expect(await bench.begin(OLD)).toMatchObject({ why: expect.stringContaining('bari/d1:') });
    await cluster.restart('bari');
    expect(await bench.begin(OLD)).toMatchObject({ why: expect.stringContaining('bari/d1:') });
    await bench.audit(['bari']);
    expect(await bench.begin(OLD)).toEqual({ kind: 'begun' });
    await bench.finish();
    expect(await bench.get('o4')).toEqual(Buffer.from('body 4'));
    expect((await bench.names()).length).toBe(5);
  });

  it('does not believe a proxy that knows the old policy only', async () => {
    const limits = { containerCacheMs: 60_000 };
    const bench = await Bench.start({ limits });
    await bench.put('o', 'first', 'roma');
    await bench.begin();
    await bench.put('o', 'second', 'roma');
    expect(bench.holders('o', NEW).length).toBeGreaterThanOrEqual(2);
    const { cluster } = bench;
    await bench.run(cluster.node('bari').proxy.deleteObject(cluster.operation(), objectName('o')));
    expect(bench.holders('o', NEW)).toEqual([]);
    await bench.finish();
    expect(await bench.get('o')).toBeUndefined();
  });

  it('conditional writes of names that were not moved yet see what there is', async () => {
    const bench = await Bench.start();
    const { cluster } = bench;
    await bench.put('lock', 'mine');
    await bench.put('kept', patternBytes(700_000));
    await bench.begin();
    const put = (name: string) =>
      bench.run(
        cluster.node('bari').proxy.putObject(cluster.operation(), objectName(name), {
          ...putRequest(Buffer.from('theirs')),
          condition: IF_ABSENT,
        }),
      );
    expect((await put('lock')).kind).toBe('precondition-failed');
    expect((await put('free')).kind).toBe('stored');
    const tagged = await bench.run(
      cluster.proxy.updateGroups(
        cluster.operation(),
        objectName('kept'),
        { tags: { a: 'b' } },
        {
          holds: (current) => current !== undefined,
        },
      ),
    );
    expect(tagged).toBe('updated');
    expect(await bench.get('kept', 'roma', 'newest')).toEqual(patternBytes(700_000));
    await bench.finish();
    const stat = await bench.run(cluster.proxy.statObject(cluster.operation(), objectName('kept')));
    expect(stat?.groups['tags']?.values).toEqual({ a: 'b' });
    expect(await bench.get('free')).toEqual(Buffer.from('theirs'));
  });

  it.each([
    [
      'another mode',
      { other: { devices: [2, 3, 4], mode: 'available' as const } },
      'which is fixed',
    ],
    ['a container that is not strict', { mode: 'available' as const }, 'only containers of'],
  ])('is refused for %s', async (_, options, why) => {
    const bench = await Bench.start(options);
    expect(await bench.begin()).toMatchObject({
      kind: 'refused',
      why: expect.stringContaining(why),
    });
    expect((await bench.info()).policy.name).toBe('standard');
  });

  it('leaves nothing on a replica that was away', async () => {
    const bench = await Bench.start();
    await bench.put('o', 'body');
    await bench.begin();
    for (let step = 0; step < 60 && (await bench.info()).left === undefined; step++) {
      await bench.step();
    }
    const { cluster } = bench;
    cluster.kill('bari');
    await bench.cluster.world.runFor(1_000);
    // The job retires what it can reach; the settings wait for the container's replica.
    for (let step = 0; step < 40; step++) await bench.step();
    await cluster.restart('bari');
    await bench.finish();
    await cluster.world.runFor(700_000);
    for (const name of ['lngs', 'bari', 'padova']) await cluster.runJob(name, 'object.listings');
    expect(bench.holders('o', OLD)).toEqual([]);
    expect(await bench.get('o')).toEqual(Buffer.from('body'));
  });

  it('is not made again in a policy that it had left: a device that was away has there what was deleted since', async () => {
    const bench = await Bench.start();
    const { cluster } = bench;
    await bench.put('o', 'body');
    await bench.begin();
    for (let step = 0; step < 100 && (await bench.info()).left === undefined; step++)
      await bench.step();
    await cluster.world.runFor(1_000);
    for (let step = 0; step < 6; step++) await bench.step();
    cluster.kill('bari');
    await cluster.world.runFor(1_000);
    for (let step = 0; step < 100 && (await bench.info()).left !== undefined; step++)
      await bench.step();
    await bench.run(cluster.proxy.deleteObject(cluster.operation(), objectName('o')));
    await bench.run(cluster.proxy.deleteContainer(cluster.operation(), CONTAINER));
    const create = (policy?: number) => {
      const options = { ...(policy !== undefined && { policy }), changes: {} };
      return bench.run(cluster.proxy.createContainer(cluster.operation(), CONTAINER, options));
    };
    expect(await create(OLD)).toBe('policy-conflict');
    expect(await create()).toBe('created');
    expect(await bench.info()).toMatchObject({ policy: { index: NEW }, was: [OLD] });
    await cluster.restart('bari');
    expect(bench.holders('o', OLD)).toEqual(['bari']);
    expect(await bench.get('o', 'bari')).toBeUndefined();
    await cluster.world.runFor(700_000);
    await cluster.runJob('bari', 'object.listings');
    expect(bench.holders('o', OLD)).toEqual([]);
    expect(await bench.names()).toEqual([]);
  });
});
