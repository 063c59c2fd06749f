/** Former primaries of containers: what they hold goes to the primaries, and then it is gone here. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTAINER_RING } from '#base/names.ts';
import { microsOf } from '#base/timestamp.ts';
import type { Device } from '#device/contract.ts';
import { Ring } from '#ring/ring.ts';
import { settingsGroup } from '../row-state.ts';
import { RowCluster } from '../testing/row-cluster.ts';

let cluster: RowCluster;

beforeEach(async () => {
  cluster = new RowCluster(4);
  place([0, 1, 2], 1);
  await cluster.create([0, 1, 2]);
});

afterEach(() => cluster.close());

/** From now on these are the primaries of everything. */
function place(primaries: readonly number[], version: number): void {
  const rings = [...cluster.view.rings].map(([policy, ring]) => {
    const columns = primaries.map((id) => new Uint16Array(ring.partitions).fill(id));
    const fields = { ...ring.fields(), version, columns, copies: columns.length };
    return [policy, new Ring(fields)] as const;
  });
  cluster.view = { ...cluster.view, version, rings: new Map(rings) };
}

const hash = () => cluster.hash('/a/c');
const rowsAt = (node: number) => cluster.nodes[node]!.rows;
const heldAt = (node: number): string[] =>
  rowsAt(node)
    .changes(CONTAINER_RING, hash(), 0, 5000)
    .map(({ name }) => name)
    .sort();
const handover = (node: number) => cluster.nodes[node]!.containers.rows.handover;

async function step(node: number): Promise<string> {
  return (await handover(node).step(new AbortController().signal)).kind;
}

async function put(nodes: readonly number[], ...names: string[]): Promise<void> {
  for (const name of names) {
    const state = name.startsWith('dead') ? cluster.tombstone() : cluster.live();
    for (const node of nodes) await cluster.row(node, name, state);
  }
}

/** Node 3 takes in what 1 and 2 have, as a joining device does. */
async function join(): Promise<void> {
  const { containers, device } = cluster.nodes[3]!;
  device.complete = false;
  for (let i = 0; i < 10 && !device.complete; i++)
    await containers.rows.rejoin.step(new AbortController().signal);
  expect(device.complete).toBe(true);
}

function sent(method: string): number {
  return cluster.network.calls.filter((call) => call.method === method).length;
}

describe('a former primary', () => {
  it('ends empty when the others have everything, without sending it', async () => {
    await put([0, 1, 2], 'a', 'b', 'dead');
    place([1, 2, 3], 2);
    await join();
    const before = sent('container.rows') + sent('container.write');
    expect(handover(0).clearedAtMs(0)).toBeUndefined();
    expect(await step(0)).toBe('more');
    expect(heldAt(0)).toEqual([]);
    expect(handover(0).facts()).toEqual({ held: 0, dropped: 4 });
    expect(sent('container.rows') + sent('container.write')).toBe(before);
    expect(await step(0)).toBe('idle');
    expect(handover(0).clearedAtMs(0)).toBeDefined();
    for (const node of [1, 2, 3]) expect(heldAt(node)).toEqual(['', 'a', 'b', 'dead']);
    expect(await step(1)).toBe('idle');
  });

  it('gives the old deletion of a container that lives by a late row, though nobody wanted it without that row', async () => {
    const path = '/a/late';
    const key = { policy: CONTAINER_RING, hash: cluster.hash(path) };
    const tombstone = cluster.tombstone();
    const container = settingsGroup({ policy: 2, mode: 'strict' }, tombstone.data!.timestamp);
    const own = { ...tombstone, groups: { container } };
    await rowsAt(0).write({ key, path, name: '', state: own });
    await rowsAt(0).write({ key, path, name: 'row', state: cluster.live() });
    cluster.reclaimedMicros = microsOf(cluster.now());
    place([1, 2, 3], 2);
    await join();
    await step(0);
    for (const node of [1, 2, 3]) {
      expect(rowsAt(node).hasLiveRow(CONTAINER_RING, key.hash)).toBe(true);
      expect(rowsAt(node).read(CONTAINER_RING, key.hash, '')).toEqual(own);
    }
  });

  it('gives what only it has to every primary first', async () => {
    await put([0, 1, 2], 'a');
    await put([0], 'only-here');
    place([1, 2, 3], 2);
    await join();
    await step(0);
    expect(heldAt(0)).toEqual([]);
    for (const node of [1, 2, 3]) expect(heldAt(node)).toEqual(['', 'a', 'only-here']);
  });

  it('keeps everything while a primary is away, or does not know everything itself', async () => {
    await put([0, 1, 2], 'a');
    place([1, 2, 3], 2);
    await join();
    cluster.network.down.add('n2');
    expect(await step(0)).toBe('idle');
    expect(heldAt(0)).toEqual(['', 'a']);
    expect(handover(0).facts()).toEqual({ held: 1, dropped: 0 });
    cluster.network.down.delete('n2');
    cluster.nodes[3]!.device.complete = false;
    expect(await step(0)).toBe('idle');
    expect(heldAt(0)).toEqual(['', 'a']);
    expect(handover(0).clearedAtMs(0)).toBeUndefined();
    cluster.nodes[3]!.device.complete = true;
    await step(0);
    expect(heldAt(0)).toEqual([]);
  });

  it('keeps what changed while the others were asked', async () => {
    await put([0, 1, 2], 'a', 'b');
    place([1, 2, 3], 2);
    await join();
    const late = cluster.live();
    let isLate = false;
    cluster.network.before = async ({ from, method }) => {
      if (isLate || from !== 'n0' || method !== 'container.containers') return;
      isLate = true;
      const row = { key: { policy: CONTAINER_RING, hash: hash() }, path: '/a/c', name: 'b' };
      await rowsAt(0).write({ ...row, state: late });
    };
    await step(0);
    expect(isLate).toBe(true);
    for (let i = 0; i < 3; i++) await step(0);
    expect(heldAt(0)).toEqual([]);
    for (const node of [1, 2, 3]) {
      expect(rowsAt(node).read(CONTAINER_RING, hash(), 'b')).toEqual(late);
    }
  });

  it('goes through a large container in pages', async () => {
    const names = Array.from({ length: 1_200 }, (_, i) => `o${i}`);
    const state = cluster.live();
    const key = { policy: CONTAINER_RING, hash: hash() };
    for (const node of [0, 1, 2]) {
      await Promise.all(
        names.map((name) => rowsAt(node).write({ key, path: '/a/c', name, state })),
      );
    }
    await put([0], 'zz-last');
    place([1, 2, 3], 2);
    await join();
    const keeper = cluster.nodes[0]!.containers.jobs.find(
      (job) => job.name === 'container.cursors',
    )!;
    const pulls = sent('container.pull');
    for (let i = 0; i < 3; i++) await keeper.step(new AbortController().signal);
    expect(sent('container.pull')).toBe(pulls);
    for (let i = 0; i < 5 && heldAt(0).length > 0; i++) await step(0);
    expect(heldAt(0)).toEqual([]);
    expect(heldAt(3)).toHaveLength(1_202);
  });

  it('that is a primary again takes everything in anew', async () => {
    await put([0, 1, 2], 'a', 'dead');
    await changePrimaries();
    await put([1, 2, 3], 'new');
    await comeBack();
    expect(heldAt(0)).toEqual(['', 'a', 'dead', 'new']);
    expect(rowsAt(0).facts(CONTAINER_RING, hash())!.digest).toEqual(
      rowsAt(1).facts(CONTAINER_RING, hash())!.digest,
    );
  });

  it('that is a primary again takes in anew what is deleted altogether', async () => {
    await put([0, 1, 2], 'a', 'b');
    for (const name of ['a', 'b'])
      for (const node of [0, 1, 2]) await cluster.row(node, name, cluster.tombstone());
    for (const node of [0, 1, 2]) await cluster.seal(node, 's');
    const tombstone = cluster.tombstone();
    for (const node of [0, 1, 2]) await cluster.remove(node, 's', tombstone);
    for (const away of ['n1', 'n2']) {
      cluster.network.down.add(away);
      await cluster.list(0);
      cluster.network.down.delete(away);
    }
    await changePrimaries();
    expect(heldAt(0)).toEqual([]);
    await comeBack();
    expect(heldAt(0)).toEqual(['', 'a', 'b']);
  });

  it('does not take for known what it has handed over while a pull was under way', async () => {
    await put([0, 1, 2], 'a', 'b');
    const gate = Promise.withResolvers<void>();
    const { containers, device, rows } = cluster.nodes[0]!;
    const wish = { hash: hash(), path: '/a/c', txn: 'test' };
    const target = { device: device as unknown as Device, rows };
    let pull: Promise<unknown> = Promise.resolve();
    cluster.network.before = ({ from, to, method }) => {
      if (from === 'n0' && method === 'container.pull') return gate.promise;
      // The handover begins.
      if (from === 'n0' && to === 'n1' && method === 'container.containers')
        pull = Promise.all([1, 2].map((peer) => pullFrom(peer)));
      return undefined;
    };
    const pullFrom = (peer: number) =>
      containers.rows.freshness.pullFrom(target, { device: peer, node: `n${peer}` }, wish, 2);
    await changePrimaries();
    expect(heldAt(0)).toEqual([]);
    gate.resolve();
    await pull;
    cluster.network.before = () => undefined;
    await comeBack();
    expect(heldAt(0)).toEqual(['', 'a', 'b']);
  });
});

/** Node 0 gives all to 3, and drops it. */
async function changePrimaries(): Promise<void> {
  place([1, 2, 3], 2);
  await join();
  await step(0);
}

async function comeBack(): Promise<void> {
  place([0, 1, 2], 4);
  const { containers, device } = cluster.nodes[0]!;
  device.complete = false;
  for (let i = 0; i < 10 && !device.complete; i++)
    await containers.rows.rejoin.step(new AbortController().signal);
}
