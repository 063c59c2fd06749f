/** The interleavings of consistency.md ("List", "Rows", "Complete") on three replicas. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeState } from '#base/entry-codec.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { RowCluster } from '../testing/row-cluster.ts';

let cluster: RowCluster;

beforeEach(() => {
  cluster = new RowCluster();
});
afterEach(() => cluster.close());

/**
 * How often n1 was asked. A slow machine makes a listing ask n2 too, which would be counted and, where
 * only n1 has a row, be enough: tests of how n1 is asked take n2 away.
 */
const pulls = (): number =>
  cluster.network.calls.filter(({ method, to }) => method === 'container.pull' && to === 'n1')
    .length;
const digestOf = (node: number) =>
  cluster.nodes[node]!.rows.facts(CONTAINER_RING, cluster.hash('/a/c'))?.digest.toString('hex');

describe('a listing', () => {
  it('shows a row that its own replica missed', async () => {
    await cluster.create();
    for (const node of [1, 2]) expect(await cluster.row(node, 'o', cluster.live())).toBe('stored');
    expect(await cluster.names(0)).toEqual(['o']);
    expect((await cluster.list(0)).totals.rows).toBe(1);
  });

  it('hides a row whose deletion its own replica missed', async () => {
    await cluster.create();
    const state = cluster.live();
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', state);
    expect(await cluster.names(0)).toEqual(['o']);
    const gone = cluster.tombstone();
    for (const node of [1, 2]) await cluster.row(node, 'o', gone);
    expect(await cluster.names(0)).toEqual([]);
  });

  it('answers while one of the others is down, whichever it is', async () => {
    await cluster.create();
    const state = cluster.live();
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', state);
    for (const down of ['n1', 'n2']) {
      cluster.network.down.clear();
      cluster.network.down.add(down);
      expect(await cluster.names(0)).toEqual(['o']);
    }
  });

  it('does not call a container gone because damage took its state away here (seed 227)', async () => {
    await cluster.create();
    const state = cluster.live();
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', state);
    for (const peer of [1, 2]) expect(await cluster.names(peer)).toEqual(['o']);
    expect(await cluster.names(0)).toEqual(['o']);
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', cluster.tombstone());
    expect((await cluster.list(0)).live).toBe(true);
    cluster.nodes[0]!.loseRow('');
    expect(await cluster.list(0)).toMatchObject({ live: true, items: [] });
  });

  it('tells of what lives by its rows also the settings that damage took away here', async () => {
    await cluster.create();
    const state = cluster.live();
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', state);
    const { state: own } = await cluster.list(0);
    cluster.nodes[0]!.loseRow('');
    expect((await cluster.list(0, { limit: 5 }, 'nearest')).state).toBe(null);
    expect(await cluster.list(0)).toMatchObject({ live: true, state: own, totals: { rows: 1 } });
  });

  it('is refused as unavailable when no majority answers, unless the nearest is asked', async () => {
    await cluster.create();
    cluster.network.down.add('n1').add('n2');
    await expect(cluster.list(0)).rejects.toMatchObject({ code: 'unavailable' });
    expect((await cluster.list(0, { limit: 5 }, 'nearest')).items).toEqual([]);
  });

  it('does not count what an incomplete replica says', async () => {
    await cluster.create();
    cluster.nodes[1]!.device.complete = false;
    cluster.network.down.add('n2');
    await expect(cluster.list(0)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(cluster.list(1)).rejects.toMatchObject({ code: 'incomplete' });
  });

  it('is refused by a device that is not here, or of a ring too old', async () => {
    const args = { query: { limit: 1 }, read: 'quorum' };
    const elsewhere = { ...cluster.address(0), device: 7, ...args };
    await expect(cluster.call(0, 'container.list', elsewhere)).rejects.toMatchObject({
      code: 'no-device',
    });
    const otherHash = { ...cluster.address(0), hash: cluster.hash('/a/d'), ...args };
    await expect(cluster.call(0, 'container.list', otherHash)).rejects.toMatchObject({
      code: 'malformed',
    });
  });

  it('shares a pull that has not begun, and never one that has', async () => {
    await cluster.create();
    cluster.network.down.add('n2');
    await cluster.list(0);
    const gate = Promise.withResolvers<void>();
    const before = pulls();
    cluster.network.before = ({ method }) =>
      method === 'container.pull' ? gate.promise : undefined;
    const first = cluster.list(0);
    const late = Array.from({ length: 20 }, () => cluster.names(0));
    await cluster.row(1, 'o', cluster.live());
    cluster.network.before = () => undefined;
    gate.resolve();
    await first;
    expect(await Promise.all(late)).toEqual(Array.from({ length: 20 }, () => ['o']));
    expect(pulls() - before).toBe(2);
  });

  it('misses no row that is overwritten at the other replica between two pages', async () => {
    await cluster.create();
    const names = Array.from({ length: 2_000 }, (_, i) => `o${1_000 + i}`);
    const state = cluster.live();
    for (const name of names) for (const node of [1, 2]) await cluster.row(node, name, state);
    const [before, moved] = names.slice(1_500) as [string, string];
    let pages = 0;
    cluster.network.before = async ({ method, from }) => {
      if (method !== 'container.pull' || from !== 'n0' || ++pages !== 2) return;
      // A write that is not acknowledged yet: the row moves just behind what two pages hold.
      for (const node of [1, 2]) await cluster.row(node, moved, cluster.live());
    };
    const { items } = await cluster.list(0, { limit: 1, marker: before });
    expect(pages).toBeGreaterThan(1);
    expect(items.map((item) => (typeof item === 'string' ? item : item[0]))).toEqual([moved]);
  });

  it('sends no row where nothing changed, and after that only what changed', async () => {
    await cluster.create();
    for (let i = 0; i < 30; i++) {
      const state = cluster.live();
      for (const node of [0, 1, 2]) await cluster.row(node, `o${i}`, state);
    }
    const sent: number[] = [];
    const pull = async (): Promise<void> => {
      const { rows } = cluster.nodes[0]!;
      const hash = cluster.hash('/a/c');
      const cursor = rows.cursor(CONTAINER_RING, hash, 1);
      const { digest } = rows.facts(CONTAINER_RING, hash)!;
      const since = {
        incarnation: cursor?.incarnation ?? null,
        since: cursor?.sequence ?? 0,
        limit: 500,
        digest,
      };
      sent.push((await cluster.pull(1, since)).rows.length);
    };
    await pull();
    await cluster.list(0);
    for (const node of [1, 2]) await cluster.row(node, 'new', cluster.live());
    await pull();
    expect(sent).toEqual([0, 1]);
  });

  it('reads pages of a pull until it has all that the peer has', async () => {
    await cluster.create();
    for (const part of ['a', 'b']) {
      const rows = Array.from({ length: 700 }, (_, i) => ({
        hash: cluster.hash('/a/c'),
        path: '/a/c',
        name: `${part}${String(i).padStart(4, '0')}`,
        state: encodeState(cluster.live()),
      }));
      const args = { ringVersion: 1, rows, intent: 'write' };
      await cluster.call(1, 'container.rows', { device: 1, ...args });
    }
    cluster.network.down.add('n2');
    const before = pulls();
    expect((await cluster.list(0, { limit: 5000 })).items.length).toBe(1400);
    expect(pulls() - before).toBe(2);
    expect(digestOf(0)).toBe(digestOf(1));
  });

  it('goes on after a peer rebuilt its database', async () => {
    await cluster.create();
    const state = cluster.live();
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', state);
    await cluster.list(0);
    for (const node of [1, 2]) cluster.nodes[node]!.restart('rebuilt');
    for (const node of [1, 2]) await cluster.row(node, 'p', cluster.live());
    expect(await cluster.names(0)).toEqual(['o', 'p']);
  });
});

describe('a pull', () => {
  it('begins anew for a cursor beyond what the peer has', async () => {
    await cluster.create();
    await cluster.row(1, 'o', cluster.live());
    const { incarnation } = cluster.nodes[1]!.rows;
    const digest = Buffer.alloc(16);
    const reply = await cluster.pull(1, { incarnation, since: 99, limit: 10, digest });
    expect(reply).toMatchObject({ sequence: 2, upTo: 2, more: false, equal: false });
    expect(reply.rows.map((row) => row.name)).toEqual(['', 'o']);
  });
});

describe('rows', () => {
  it('are refused where the container was never created', async () => {
    expect(await cluster.row(0, 'o', cluster.live())).toBe('no-container');
    expect(cluster.nodes[0]!.rows.read(CONTAINER_RING, cluster.hash('/a/c'), 'o')).toBeUndefined();
  });

  it('are taken by a replica that missed the creation', async () => {
    await cluster.create([1, 2]);
    expect(await cluster.row(0, 'o', cluster.live())).toBe('stored');
    expect((await cluster.list(0, { limit: 1 }, 'nearest')).live).toBe(true);
  });

  it('are taken by a replica that only knows an older deletion', async () => {
    await cluster.create();
    await cluster.own(0, cluster.tombstone(), { intent: 'repair' });
    await cluster.create([1, 2]);
    expect(await cluster.row(0, 'o', cluster.live())).toBe('stored');
  });

  it('are neither taken nor refused where nobody can tell whether there is a container', async () => {
    cluster.network.down.add('n1').add('n2');
    expect(await cluster.row(0, 'o', cluster.live())).toBe('unavailable');
  });

  it('do not share a question that was asked before the container was created', async () => {
    const gate = Promise.withResolvers<void>();
    let answered = 0;
    cluster.network.before = async ({ method, to }) => {
      if (method === 'container.state' && to !== 'n0' && answered++ === 0) await gate.promise;
    };
    // Its answer is computed before the creation, and delivered after it.
    const early = cluster.row(0, 'early', cluster.live());
    await cluster.eventually(() => answered > 0);
    const create = cluster.create([1, 2]);
    await create;
    const late = cluster.row(0, 'late', cluster.live());
    gate.resolve();
    expect(await late).toBe('stored');
    expect(['stored', 'no-container']).toContain(await early);
  });

  it('of a repair are taken without a container, and make it live', async () => {
    expect(await cluster.row(0, 'o', cluster.live(), { intent: 'repair' })).toBe('stored');
    expect((await cluster.list(0, { limit: 1 }, 'nearest')).live).toBe(true);
    expect(await cluster.row(0, 'p', cluster.live())).toBe('stored');
  });

  it('of another policy or mode are refused, their deletions are not', async () => {
    await cluster.create();
    expect(await cluster.row(0, 'o', cluster.live(), { policy: 3 })).toBe('container-mismatch');
    expect(await cluster.row(0, 'o', cluster.live(), { mode: 'available' })).toBe(
      'container-mismatch',
    );
    expect(await cluster.row(0, 'o', cluster.live(), { policy: 3, intent: 'repair' })).toBe(
      'container-mismatch',
    );
    expect(await cluster.row(0, 'o', cluster.tombstone(), { policy: 3 })).toBe('stored');
    expect(await cluster.row(0, 'o', cluster.live(), { policy: 0, mode: 'strict' })).toBe('stored');
  });

  it('from a clock that is far ahead are refused', async () => {
    await cluster.create();
    const state = cluster.live();
    const ahead = {
      data: { ...state.data!, timestamp: `0007${state.data!.timestamp.slice(4)}` },
      groups: {},
    };
    const sent = cluster.row(0, 'o', ahead as typeof state);
    await expect(sent).rejects.toMatchObject({ code: 'clock-drift' });
  });

  it.each([
    ['no map', 7],
    ['a row without a name', { name: '' }],
    ['a name that is no text', { name: 5 }],
    ['a name that is too long', { name: 'x'.repeat(5000) }],
    ['a hash that is too short', { hash: Buffer.alloc(3) }],
    ['a hash of another name', { hash: Buffer.alloc(16) }],
    ['a state that is no state', { state: Buffer.from('junk') }],
    ['a path without a slash', { path: 'a/c' }],
    ['an unknown mode', { mode: 'odd' }],
  ])('that are malformed are refused whole: %s', async (_, change) => {
    await cluster.create();
    const row = {
      hash: cluster.hash('/a/c'),
      path: '/a/c',
      name: 'o',
      state: encodeState(cluster.live()),
    };
    const rows = typeof change === 'number' ? [change] : [{ ...row, ...change }];
    const sent = cluster.call(0, 'container.rows', {
      device: 0,
      ringVersion: 1,
      rows,
      intent: 'write',
    });
    await expect(sent).rejects.toMatchObject({ code: 'malformed' });
    expect((await cluster.list(0)).items).toEqual([]);
  });

  it('with numbers that no listing can show are refused', async () => {
    await cluster.create();
    await expect(cluster.row(0, 'o', cluster.live({ size: 1.5 }))).rejects.toMatchObject({
      code: 'malformed',
    });
    await expect(cluster.row(0, 'o', cluster.live({ size: 2 ** 60 }))).rejects.toMatchObject({
      code: 'malformed',
    });
  });
});

describe('a replica that lost its rows', () => {
  it('becomes complete again from the others, and has all they have', async () => {
    await cluster.create();
    for (let i = 0; i < 20; i++) {
      const state = cluster.live();
      for (const node of [0, 1, 2]) await cluster.row(node, `o${i}`, state);
    }
    // Each of these is on a majority that includes the one that will be wiped.
    await cluster.row(0, 'only-0-and-1', cluster.live());
    await cluster.row(1, 'only-0-and-1', cluster.live());
    const node = cluster.nodes[0]!;
    node.restart('wiped');
    await expect(cluster.list(0)).rejects.toMatchObject({ code: 'incomplete' });
    const { rejoin } = node.containers.rows;
    await rejoin.step(new AbortController().signal);
    expect(node.device.complete).toBe(true);
    expect(rejoin.facts()['incompletePartitions']).toBe(0);
    expect((await cluster.names(0)).length).toBe(21);
  });

  it('stays incomplete while too few complete peers answer', async () => {
    await cluster.create();
    const node = cluster.nodes[0]!;
    node.restart('wiped');
    cluster.network.down.add('n2');
    const result = await node.containers.rows.rejoin.step(new AbortController().signal);
    expect(result.kind).toBe('idle');
    expect(node.device.complete).toBe(false);
  });

  it('waits where the last batch of its device is in doubt: nothing that it joined would count (seed 11003311)', async () => {
    await cluster.create();
    const node = cluster.nodes[0]!;
    node.device.tailUnconfirmed = true;
    const result = await node.containers.rows.rejoin.step(new AbortController().signal);
    expect(result.kind).toBe('idle');
    expect(node.containers.rows.rejoin.facts()['joined']).toBe(0);
  });
});

describe('replicas', () => {
  it('converge without being listed, once a difference lasts', async () => {
    await cluster.create();
    await cluster.row(1, 'a', cluster.live());
    await cluster.row(2, 'b', cluster.live());
    const round = async (): Promise<void> => {
      for (const { containers } of cluster.nodes)
        await containers.rows.rejoin.step(new AbortController().signal);
    };
    await round();
    expect(digestOf(0)).not.toBe(digestOf(1));
    for (let i = 0; i < 5; i++) await round();
    expect(new Set([digestOf(0), digestOf(1), digestOf(2)]).size).toBe(1);
  });
});
