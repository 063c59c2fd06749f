/** From a write to its receiver, on a whole cluster in virtual time. */

import { describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { BucketWalk } from '../bucket-jobs/bucket-walk.ts';
import { CONTAINER, objectName, putRequest, TestCluster } from '../testing/test-cluster.ts';
import type { VersionedStore } from '../versions/contract.ts';
import { withVersions } from '../versions/versions.ts';
import { DeliveryJob } from './delivery-job.ts';
import { QUEUE_HEADER, queueOf } from './event-queue.ts';
import { notifyingStore } from './notifying-store.ts';
import { encodeNotification, NOTIFICATION_HEADER, type NotificationRule } from './rules.ts';

interface Sent {
  readonly by: string;
  readonly url: string;
  readonly name: string;
  readonly key: string;
}

class Bench {
  readonly cluster: TestCluster;
  readonly sent: Sent[] = [];
  /** What receivers answer, by URL. */
  readonly status = new Map<string, number | 'away'>();
  readonly #jobs = new Map<string, DeliveryJob>();

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  static async start(...rules: Partial<NotificationRule>[]): Promise<Bench> {
    const bench = new Bench(await TestCluster.start({ realRows: true }));
    const { cluster } = bench;
    await cluster.createContainer();
    const base = {
      kind: 'Topic' as const,
      arn: '',
      url: 'http://one/',
      events: ['s3:ObjectCreated:*'],
    };
    const text = encodeNotification(rules.map((rule, i) => ({ id: `r${i}`, ...base, ...rule })));
    const changes = { [NOTIFICATION_HEADER]: text };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, changes));
    return bench;
  }

  store(node = 'lngs'): VersionedStore {
    const { proxy, env } = this.cluster.node(node);
    return notifyingStore(withVersions(proxy, env), { env, region: 'here' });
  }

  async put(key: string, node = 'lngs'): Promise<void> {
    const { cluster } = this;
    const request = putRequest(Buffer.from(key));
    await cluster.run(this.store(node).putObject(cluster.operation(), objectName(key), request));
  }

  job(node: string): DeliveryJob {
    const { proxy, rows, env, device } = this.cluster.node(node);
    let job = this.#jobs.get(node);
    job ??= new DeliveryJob({
      env,
      store: proxy,
      node,
      walk: new BucketWalk({
        cluster: stillSource(() => this.cluster.view),
        rows: () => new Map([[device, rows]]),
        isWanted: (headers, objects) => objects > 0 && headers[QUEUE_HEADER] !== undefined,
      }),
      send: async (url, { body }) => {
        const status = this.status.get(url) ?? 200;
        if (status === 'away') throw new OperatingError('ECONNREFUSED', 'nobody there');
        const { Records } = JSON.parse(body) as {
          Records: { eventName: string; s3: { object: { key: string } } }[];
        };
        const [record] = Records;
        if (status < 300)
          this.sent.push({ by: node, url, name: record!.eventName, key: record!.s3.object.key });
        return status;
      },
    });
    this.#jobs.set(node, job);
    return job;
  }

  async walk(node: string): Promise<void> {
    for (let step = 0; step < 200; step++) {
      const result = await this.cluster.run(this.job(node).step(new AbortController().signal));
      if (result.kind === 'idle') return;
    }
    throw new Error('never idle');
  }

  async wait(ms: number): Promise<void> {
    await this.cluster.run(this.cluster.node('padova').env.clock.sleep(ms));
  }

  async waiting(node = 'lngs'): Promise<number> {
    const { cluster } = this;
    const { proxy } = cluster.node(node);
    const list = proxy.listObjects(cluster.operation(), queueOf(CONTAINER), { limit: 1000 });
    return (await cluster.run(list))?.items.length ?? 0;
  }
}

describe('events', () => {
  it('are sent for what rules are about, and forgotten then', async () => {
    const bench = await Bench.start(
      { prefix: 'in/', suffix: '.jpg' },
      { url: 'http://two/', events: ['s3:ObjectRemoved:Delete', 's3:ObjectTagging:*'] },
    );
    const { cluster } = bench;
    await bench.put('in/a b.jpg');
    await bench.put('in/a.png');
    await bench.put('out/a.jpg');
    const store = bench.store();
    const name = objectName('in/a b.jpg');
    await cluster.run(store.updateGroups(cluster.operation(), name, { tags: { a: 'b' } }));
    await cluster.run(store.deleteObject(cluster.operation(), name));
    await cluster.run(store.deleteObject(cluster.operation(), name));
    expect(await bench.waiting()).toBe(3);
    await bench.walk('lngs');
    const by = 'lngs';
    const key = 'in/a+b.jpg';
    expect(bench.sent.sort((a, b) => (a.name < b.name ? -1 : 1))).toEqual([
      { by, url: 'http://one/', name: 'ObjectCreated:Put', key },
      { by, url: 'http://two/', name: 'ObjectRemoved:Delete', key },
      { by, url: 'http://two/', name: 'ObjectTagging:Put', key },
    ]);
    expect(await bench.waiting()).toBe(0);
    await bench.walk('lngs');
    expect(bench.sent.length).toBe(3);
  });

  it('wait for a receiver that fails, and hold up no other', async () => {
    const bench = await Bench.start({ prefix: 'a' }, { prefix: 'b', url: 'http://two/' });
    bench.status.set('http://one/', 'away');
    await bench.put('a');
    await bench.put('b');
    await bench.walk('lngs');
    expect(bench.sent.map(({ key }) => key)).toEqual(['b']);
    bench.status.set('http://one/', 500);
    await bench.wait(3_000);
    await bench.walk('lngs');
    expect(bench.job('lngs').facts()).toMatchObject({ sent: 1, failed: 2, failingReceivers: 1 });
    // Back before its wait is over: left alone until then.
    bench.status.delete('http://one/');
    await bench.walk('lngs');
    expect(bench.sent.length).toBe(1);
    await bench.wait(5_000);
    await bench.walk('lngs');
    expect(bench.sent.map(({ key }) => key)).toEqual(['b', 'a']);
    expect(bench.job('lngs').facts()).toMatchObject({ failingReceivers: 0 });
  });

  it('are sent by the next primary when the first is gone', async () => {
    const bench = await Bench.start({});
    await bench.put('a');
    await bench.wait(1_000); // the third replica has it, too
    await bench.walk('bari');
    expect(bench.sent).toEqual([]);
    bench.cluster.kill('lngs');
    await bench.put('b', 'bari');
    await bench.wait(61_000);
    await bench.walk('bari');
    expect(bench.sent.map(({ by, key }) => [by, key])).toEqual([
      ['bari', 'a'],
      ['bari', 'b'],
    ]);
    expect(await bench.waiting('bari')).toBe(0);
  });

  it('that cannot be kept are no acknowledged write', async () => {
    const bench = await Bench.start({});
    const { cluster } = bench;
    const { proxy } = cluster.node('lngs');
    const { putObject } = proxy;
    Object.assign(proxy, {
      putObject: async (...args: Parameters<typeof putObject>) => {
        const [, { account }] = args;
        if (account !== '.s3-events') return await putObject(...args);
        throw new OperatingError('unavailable', 'no majority');
      },
    });
    await expect(bench.put('a')).rejects.toMatchObject({ code: 'unavailable' });
  });
});
