import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNodeEnv } from '#env/node/node-env.ts';
import { openEtcdState } from './etcd-state.ts';
import { mirrorRange } from './mirror.ts';
import { describeState } from './state.contract.ts';
import type { State } from './state.ts';
import { EtcdCluster, hasEtcd } from './testing/etcd-cluster.ts';

if (!hasEtcd)
  console.log('etcd is not installed (apt-get install etcd-server): its driver is not tested');
const required = process.env['CI'] === 'true';
const EVENTUALLY_MS = 60_000;
/** When a watch begins anew, whether it has heard something or not. */
const RENEWAL_MS = 30_000;

describe.skipIf(!hasEtcd && !required)('etcd', () => {
  const env = createNodeEnv({ logLevel: 'silent' });
  let cluster: EtcdCluster;
  const value = Buffer.from('v');

  beforeAll(async () => {
    cluster = await EtcdCluster.start();
  });
  afterAll(async () => {
    await cluster.stop();
    await env.close();
  });

  const open = (
    options: { attemptMs?: number; deadlineMs?: number; first?: number; fetch?: typeof fetch } = {},
  ): State => {
    const { first = 0, ...rest } = options;
    const { endpoints } = cluster;
    const rotated = [...endpoints.slice(first), ...endpoints.slice(0, first)];
    return openEtcdState(env, { endpoints: rotated, fetch, ...rest });
  };

  describeState('etcd, three members', async () => {
    const state = open();
    await state.txn({ success: [{ kind: 'deleteRange', range: { prefix: '' } }] });
    await state.close();
    let opened = 0;
    return { open: async () => open({ first: opened++ % 3 }), close: async () => undefined };
  });

  it('goes on with any one member dead, the leader too', async () => {
    for (let round = 0; round < 2; round++) {
      const dead = round === 0 ? await cluster.leader() : 0;
      const state = open({ first: dead });
      const before = await state.txn({ success: [{ kind: 'put', key: 'a', value }] });
      cluster.kill(dead);
      expect(await state.get('a')).toMatchObject({ modRevision: before.revision });
      await eventually(() => state.txn({ success: [{ kind: 'put', key: 'b', value }] }));
      expect(await state.get('b')).toBeDefined();
      cluster.restart(dead);
      await cluster.ready();
      await state.close();
    }
  });

  it('leaves a member that does not answer for another', async () => {
    const slow = ((await cluster.leader()) + 1) % 3;
    const asked: number[] = [];
    const watched: typeof fetch = (input, init) => {
      asked.push(cluster.endpoints.findIndex((endpoint) => String(input).startsWith(endpoint)));
      return fetch(input, init);
    };
    const state = open({ first: slow, attemptMs: 500, fetch: watched });
    cluster.pause(slow);
    await state.get('a');
    expect([asked.length > 1, asked[0]]).toEqual([true, slow]);
    asked.length = 0;
    await state.get('a');
    expect(asked).not.toContain(slow);
    cluster.resume(slow);
    await state.close();
  });

  it('tells a watch whose member hangs from another one, long before the watch is renewed', async () => {
    const silent = ((await cluster.leader()) + 1) % 3;
    const reader = open({ first: silent, attemptMs: 1000 });
    const writer = open({ first: (silent + 1) % 3 });
    const heard: string[] = [];
    // From a revision: "from now" would begin whenever the member comes to it, perhaps after the put.
    const { revision } = await writer.range({ prefix: 'h/' });
    const watches = ['h/', 'h/x'].map((prefix) =>
      reader.watch({ prefix }, revision + 1, {
        onEvents: (events) => heard.push(...events.map((event) => event.kind)),
        onCompacted: () => heard.push('compacted'),
      }),
    );
    await writer.txn({ success: [{ kind: 'put', key: 'h/x', value }] });
    await eventually(async () => expect(heard.length).toBeGreaterThanOrEqual(2));
    heard.length = 0;
    cluster.pause(silent);
    const started = performance.now();
    await writer.txn({ success: [{ kind: 'put', key: 'h/x', value }] });
    await eventually(async () => expect(heard).toEqual(['put', 'put']));
    expect(performance.now() - started).toBeLessThan(RENEWAL_MS);
    cluster.resume(silent);
    for (const watch of watches) watch.close();
    await reader.close();
    await writer.close();
  });

  it('keeps a mirror right while its member dies and history is compacted', async () => {
    const writer = open({ first: 1 });
    const reader = open({ first: 0, attemptMs: 1000 });
    const seen = new Map<string, number>();
    let snapshots = 0;
    const mirror = mirrorRange(
      env,
      reader,
      { prefix: 'm/' },
      {
        onSnapshot(items) {
          snapshots += 1;
          seen.clear();
          for (const item of items) seen.set(item.key, item.modRevision);
        },
        onEvents(events) {
          for (const event of events) {
            if (event.kind === 'put') seen.set(event.item.key, event.item.modRevision);
            else seen.delete(event.key);
          }
        },
      },
    );
    await mirror.ready;
    const put = (i: number) => writer.txn({ success: [{ kind: 'put', key: `m/${i}`, value }] });
    for (let i = 0; i < 10; i++) await put(i);
    cluster.kill(0);
    const killedMs = env.clock.monotonicMs();
    let last = 0;
    for (let i = 10; i < 20; i++) last = (await eventually(() => put(i))).revision;
    // Behind the watch's back, in most runs before it has reconnected.
    await writer.compact(last);
    const expected = await writer.range({ prefix: 'm/' });
    await eventually(async () => {
      expect(Object.fromEntries(seen)).toEqual(
        Object.fromEntries(expected.items.map(({ key, modRevision }) => [key, modRevision])),
      );
    });
    expect(snapshots).toBeGreaterThanOrEqual(1);
    expect(mirror.heardAtMs()).toBeGreaterThan(killedMs);
    mirror.close();
    cluster.restart(0);
    await cluster.ready();
    await writer.close();
    await reader.close();
  });

  it('says state-unavailable without a majority, and recovers', async () => {
    const state = open({ attemptMs: 500, deadlineMs: 1500 });
    cluster.kill(1);
    cluster.kill(2);
    await expect(state.get('a')).rejects.toMatchObject({ code: 'state-unavailable' });
    const change = state.txn({ success: [{ kind: 'put', key: 'c', value }] });
    await expect(change).rejects.toMatchObject({ code: 'state-unavailable' });
    cluster.restart(1);
    cluster.restart(2);
    await cluster.ready();
    await eventually(() => state.txn({ success: [{ kind: 'put', key: 'd', value }] }));
    await state.close();
  });

  async function eventually<Result>(act: () => Promise<Result>): Promise<Result> {
    const deadline = performance.now() + EVENTUALLY_MS;
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await env.clock.sleep(100);
      }
    }
  }
});
