/** What containers tell their accounts and the accounts of users: how it gets there, and what the auditors correct. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EntryState } from '#base/entry.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { Ring } from '#ring/ring.ts';
import type { ListReply } from '#rows/service/calls.ts';
import { RowCluster } from '#rows/testing/row-cluster.ts';
import { RowListingAuditor } from './listing-auditor.ts';

let cluster: RowCluster;

beforeEach(() => {
  cluster = new RowCluster();
});
afterEach(() => cluster.close());

const signal = new AbortController().signal;
/** A round of the auditors over the accounts' rows: how many slots they have corrected, also in earlier ones. */
const audit = async (): Promise<number> => {
  let corrected = 0;
  for (const node of cluster.nodes) {
    const job = node.containers.jobs.find((one) => one instanceof RowListingAuditor)!;
    job.pacer.hurry([node.id]);
    await job.step(signal);
    corrected += Number(job.facts()['slots']);
  }
  return corrected;
};
const own = (node: number) =>
  cluster.nodes[node]!.rows.read(CONTAINER_RING, cluster.hash('/a/c'), '');

/** From now on these are the primaries of all containers. */
function placeContainers(primaries: readonly number[]): void {
  const { view } = cluster;
  const ring = view.rings.get(CONTAINER_RING)!;
  const columns = primaries.map((id) => new Uint16Array(ring.partitions).fill(id));
  const fields = { ...ring.fields(), version: 2, columns, copies: columns.length };
  const rings = new Map(view.rings).set(CONTAINER_RING, new Ring(fields));
  cluster.view = { ...view, version: 2, rings };
}

describe('totals', () => {
  it('reach the account, as the replica with the newest row has them', async () => {
    await cluster.create();
    const state = cluster.live({ size: 40 });
    for (const node of [0, 1]) await cluster.row(node, 'o', state);
    const newer = cluster.live({ size: 2 });
    for (const node of [1, 2]) await cluster.row(node, 'p', newer);
    await cluster.reportTotals();
    expect((await cluster.account()).items[0]).toMatchObject([
      'c',
      expect.anything(),
      expect.anything(),
      '',
      '',
      expect.anything(),
    ]);
    for (const node of [0, 1, 2]) await cluster.list(node);
    await cluster.reportTotals();
    for (const node of [0, 1, 2]) {
      expect((await cluster.account(node)).totals).toEqual({ rows: 1, bytes: 42, objects: 2 });
    }
  });

  it('are sent again until a majority of the account has them, also after a restart', async () => {
    await cluster.create();
    await cluster.row(0, 'o', cluster.live());
    cluster.network.down.add('n1').add('n2');
    const { jobs } = cluster.nodes[0]!.containers;
    const reporter = jobs.find((job) => job.name === 'container.totals')!;
    await reporter.step(signal);
    expect(cluster.nodes[0]!.rows.unreported(CONTAINER_RING, undefined, 9).length).toBe(1);
    cluster.nodes[0]!.restart('kept');
    cluster.network.down.clear();
    await reporter.step(signal);
    expect(cluster.nodes[0]!.rows.unreported(CONTAINER_RING, undefined, 9)).toEqual([]);
    expect((await cluster.account(2)).totals).toEqual({ rows: 1, bytes: 10, objects: 1 });
    const sent = cluster.network.calls.length;
    await reporter.step(signal);
    expect(cluster.network.calls.length).toBe(sent);
  });

  it('list a container whose creation could not reach the account', async () => {
    await cluster.create();
    expect((await cluster.account()).items).toEqual([]);
    await cluster.reportTotals();
    expect((await cluster.account()).items).toMatchObject([['c', expect.anything(), 0, '', '', 0]]);
    expect(cluster.nodes[1]!.rows.facts(ACCOUNT_RING, cluster.hash('/a'))?.path).toBe('/a');
  });

  it('are not shown as a former replica told them, which was behind (brief seed 906674)', async () => {
    await cluster.create();
    const first = cluster.live({ size: 40 });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', first);
    const gone = cluster.tombstone();
    for (const node of [0, 1]) await cluster.row(node, 'o', gone);
    const last = cluster.live({ size: 2 });
    for (const node of [0, 1, 2]) await cluster.row(node, 'p', last);
    // The one that was behind tells after the others, under the same newest row, and leaves.
    await cluster.reportTotals();
    placeContainers([0, 1]);
    await cluster.reportTotals();
    expect((await cluster.account()).totals).toEqual({ rows: 1, bytes: 42, objects: 2 });
    expect(await audit()).toBeGreaterThan(0);
    for (const node of [0, 1, 2]) {
      expect((await cluster.account(node)).totals).toEqual({ rows: 1, bytes: 2, objects: 1 });
    }
    const corrected = await audit();
    expect(await audit()).toBe(corrected);
  });

  it('are not shown as a former replica told them that took a row with it', async () => {
    await cluster.create();
    const first = cluster.live({ size: 40 });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', first);
    await cluster.row(2, 'p', cluster.live({ size: 2 }));
    await cluster.reportTotals();
    cluster.network.down.add('n2');
    placeContainers([0, 1]);
    expect((await cluster.account()).totals).toEqual({ rows: 1, bytes: 42, objects: 2 });
    await audit();
    for (const node of [0, 1]) {
      expect((await cluster.account(node)).totals).toEqual({ rows: 1, bytes: 40, objects: 1 });
    }
  });

  it('are told anew by a replica that has lost a row which it alone had', async () => {
    await cluster.create();
    const first = cluster.live({ size: 40 });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', first);
    await cluster.row(2, 'p', cluster.live({ size: 2 }));
    await cluster.reportTotals();
    expect((await cluster.account()).totals).toEqual({ rows: 1, bytes: 42, objects: 2 });
    const told = { rows: 1, bytes: 40, objects: 1 };
    cluster.nodes[2]!.restart('wiped');
    await cluster.own(2, own(0)!);
    await cluster.row(2, 'o', first);
    cluster.nodes[2]!.device.complete = true;
    await cluster.reportTotals();
    for (const node of [0, 1]) expect((await cluster.account(node)).totals).toEqual(told);
  });

  it('are left alone by the auditors where all is as told, and while too few replicas answer', async () => {
    await cluster.create();
    const first = cluster.live({ size: 40 });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', first);
    await cluster.reportTotals();
    expect(await audit()).toBe(0);
    cluster.network.before = ({ method, to }) => {
      if (method === 'container.holdings' && to !== 'n2')
        throw Object.assign(new Error('down'), { code: 'timeout' });
    };
    placeContainers([0, 1]);
    expect(await audit()).toBe(0);
    cluster.network.before = () => undefined;
    expect(await audit()).toBeGreaterThan(0);
    expect((await cluster.account()).totals).toEqual({ rows: 1, bytes: 40, objects: 1 });
  });
});

describe('what users have written', () => {
  const user = 'a'.repeat(32);
  const held = (node = 0): Promise<ListReply> => cluster.account(node, `/.user_${user}`);

  it("is counted in an account of the user's own, and leaves it when it is deleted", async () => {
    await cluster.create();
    const mine = cluster.live({ size: 40, owner: user });
    for (const node of [0, 1]) await cluster.row(node, 'o', mine);
    for (const node of [0, 1, 2]) await cluster.row(node, 'p', cluster.live({ size: 7 }));
    for (const node of [0, 1, 2]) await cluster.list(node);
    await cluster.reportTotals();
    for (const node of [0, 1, 2]) {
      expect((await held(node)).totals).toEqual({ rows: 1, bytes: 40, objects: 1 });
      expect((await cluster.account(node)).totals).toEqual({ rows: 1, bytes: 47, objects: 2 });
    }
    expect((await held()).items).toMatchObject([['a/c', expect.anything(), 40, '', '', 1]]);
    expect(await audit()).toBe(0);
    const gone = cluster.tombstone();
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', gone);
    await cluster.reportTotals();
    for (const node of [0, 1, 2]) {
      expect((await held(node)).totals).toEqual({ rows: 0, bytes: 0, objects: 0 });
    }
  });

  it('is shown as those have it who know most of it, whatever else others know', async () => {
    await cluster.create();
    const first = cluster.live({ size: 1, owner: user });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', first);
    for (const node of [0, 1]) {
      await cluster.row(node, 'p', cluster.live({ size: 40, owner: user }));
    }
    await cluster.row(2, 'q', cluster.live({ size: 7 }));
    await cluster.reportTotals();
    for (const node of [0, 1, 2]) expect((await held(node)).totals.bytes).toBe(41);
  });

  /** The last node misses what a user does to two objects. Gives the second of them. */
  async function whileOneIsAway(): Promise<EntryState> {
    await cluster.create();
    const first = cluster.live({ size: 1, owner: user });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', first);
    const gone = cluster.tombstone();
    const mine = cluster.live({ size: 40, owner: user });
    for (const node of [0, 1]) {
      await cluster.row(node, 'o', gone);
      await cluster.row(node, 'p', mine);
    }
    // To the one that was away, the user's object ends with this: later than anything of the user elsewhere.
    const another = cluster.live({ size: 7 });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', another);
    await cluster.reportTotals();
    return mine;
  }

  it('is not shown as a former replica told it, which was behind (seed 2142)', async () => {
    const mine = await whileOneIsAway();
    expect((await held()).totals.bytes).toBe(0);
    await cluster.row(2, 'p', mine);
    placeContainers([0, 1]);
    await cluster.reportTotals();
    for (const node of [0, 1, 2]) expect((await held(node)).totals.bytes).toBe(40);
    const calls = cluster.network.calls.length;
    await cluster.reportTotals();
    expect(cluster.network.calls.length).toBe(calls);
  });

  it('is not shown as a replica told it that has forgotten it (brief seed 1250)', async () => {
    await cluster.create();
    // Overwritten by another user before it came to the others, which so never tell of this one.
    await cluster.row(1, 'o', cluster.live({ size: 40, owner: user }));
    await cluster.reportTotals();
    expect((await held()).totals.bytes).toBe(40);
    const another = cluster.live({ size: 7, owner: 'b'.repeat(32) });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', another);
    cluster.nodes[1]!.restart('wiped');
    await cluster.row(1, 'o', another);
    await cluster.own(1, own(0)!);
    cluster.nodes[1]!.device.complete = true;
    await cluster.reportTotals();
    expect((await held()).totals.bytes).toBe(40);
    expect(await audit()).toBeGreaterThan(0);
    for (const node of [0, 1, 2]) expect((await held(node)).totals.bytes).toBe(0);
  });

  it('is not shown as a former replica told it that is gone for good', async () => {
    await whileOneIsAway();
    cluster.network.down.add('n2');
    placeContainers([0, 1]);
    expect((await held()).totals.bytes).toBe(0);
    await audit();
    expect((await held()).totals.bytes).toBe(40);
    expect((await held(1)).totals.bytes).toBe(40);
  });

  it('is sent again until a majority of the account has it', async () => {
    await cluster.create();
    await cluster.reportTotals();
    for (const node of [0, 1, 2]) {
      await cluster.row(node, 'o', cluster.live({ size: 40, owner: user }));
    }
    cluster.network.down.add('n1').add('n2');
    await cluster.reportTotals();
    cluster.network.down.clear();
    await cluster.reportTotals();
    for (const node of [0, 1, 2]) expect((await held(node)).totals.bytes).toBe(40);
  });
});
