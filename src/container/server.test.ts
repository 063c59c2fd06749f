/** Creation, and deletion under a seal, on three replicas. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { settingsOf } from '#rows/row-state.ts';
import { RowCluster } from '#rows/testing/row-cluster.ts';

let cluster: RowCluster;

beforeEach(() => {
  cluster = new RowCluster();
});
afterEach(() => cluster.close());

const signal = new AbortController().signal;
const listing = () => ({
  accountHash: cluster.hash('/a'),
  accountPath: '/a',
  ringVersion: 1,
  targets: [0, 1, 2].map((device) => ({ device, node: `n${device}` })),
});
const own = (node: number) =>
  cluster.nodes[node]!.rows.read(CONTAINER_RING, cluster.hash('/a/c'), '');

describe('creation', () => {
  it('stores the state and lists the container in its account, at the own site first', async () => {
    const state = cluster.creation(2);
    for (const node of [0, 1, 2]) {
      const reply = await cluster.own(node, state, { listing: listing() });
      expect(reply).toMatchObject({ outcome: 'stored', complete: true, listedOn: [node] });
    }
    expect(settingsOf(own(0))).toEqual({ policy: 2, mode: 'strict' });
    const { items, totals } = await cluster.account();
    expect(items).toEqual([['c', state.data!.clientMicros, 0, '', '', 0]]);
    expect(totals).toEqual({ rows: 1, bytes: 0, objects: 0 });
  });

  it('is listed by the next account replica when the own site has none that answers', async () => {
    cluster.network.before = ({ method, to }) => {
      if (method === 'account.rows' && to === 'n0')
        throw Object.assign(new Error('down'), { code: 'timeout' });
    };
    const reply = await cluster.own(0, cluster.creation(), { listing: listing() });
    expect(reply.listedOn).toEqual([1]);
  });

  it('with another policy or mode conflicts with a container that lives', async () => {
    await cluster.create();
    expect((await cluster.own(0, cluster.creation(1))).outcome).toBe('conflict');
    expect((await cluster.own(0, cluster.creation(0, 'available'))).outcome).toBe('conflict');
    expect(settingsOf(own(0))).toEqual({ policy: 0, mode: 'strict' });
  });

  it('conflicts with another one that waits for the same answers of the others', async () => {
    const both = [cluster.own(0, cluster.creation(0)), cluster.own(0, cluster.creation(1))];
    const outcomes = (await Promise.all(both)).map(({ outcome }) => outcome);
    expect(outcomes.toSorted()).toEqual(['conflict', 'stored']);
  });

  it('conflicts also at a replica that missed the first one', async () => {
    await cluster.create([1, 2]);
    expect((await cluster.own(0, cluster.creation(1))).outcome).toBe('conflict');
  });

  it('is kept whole by a replica that missed the deletion before it', async () => {
    await cluster.create();
    const tombstone = cluster.tombstone();
    for (const node of [0, 1]) {
      const key = { policy: CONTAINER_RING, hash: cluster.hash('/a/c') };
      await cluster.nodes[node]!.rows.write({ key, path: '/a/c', name: '', state: tombstone });
    }
    const state = cluster.creation();
    for (const node of [0, 2]) expect((await cluster.own(node, state)).outcome).toBe('stored');
    cluster.network.down.add('n0');
    await cluster.list(1);
    expect(own(1)?.data).toEqual(state.data);
  });

  it('again sets headers and leaves the older ones', async () => {
    await cluster.create();
    const header = (name: string) => ({
      [`h:${name}`]: { timestamp: cluster.now(), values: { value: name } },
    });
    await cluster.own(0, { groups: header('x') });
    const again = cluster.creation();
    const reply = await cluster.own(0, { ...again, groups: { ...again.groups, ...header('y') } });
    expect(reply.outcome).toBe('stored');
    expect(Object.keys(own(0)!.groups).sort()).toEqual(['container', 'h:x', 'h:y']);
    expect((await cluster.own(0, cluster.creation())).outcome).toBe('stored');
  });

  it('of rivals with other settings never acknowledges both', async () => {
    for (let round = 0; round < 10; round++) {
      const name = `/a/rival${round}`;
      const states = [cluster.creation(1), cluster.creation(2)];
      const replies = await Promise.all(
        states.map((state, i) =>
          Promise.all(
            [0, 1, 2].map((node) => cluster.own((node + i * round) % 3, state, {}, name)),
          ),
        ),
      );
      const stored = replies.map((all) => all.filter((reply) => reply.outcome === 'stored').length);
      expect(stored.filter((count) => count >= 2).length).toBeLessThan(2);
    }
  });

  it('of metadata is refused where there is no container', async () => {
    const groups = { 'h:x': { timestamp: cluster.now(), values: { value: '1' } } };
    expect((await cluster.own(0, { groups })).outcome).toBe('no-container');
    cluster.network.down.add('n1').add('n2');
    expect((await cluster.own(0, { groups })).outcome).toBe('unavailable');
  });
});

describe('deletion', () => {
  const sealAll = (name: string) => Promise.all([0, 1, 2].map((node) => cluster.seal(node, name)));

  it('seals, removes, and leaves no container behind', async () => {
    const state = cluster.creation();
    for (const node of [0, 1, 2]) await cluster.own(node, state, { listing: listing() });
    expect((await sealAll('d')).map((reply) => reply.outcome)).toEqual([
      'sealed',
      'sealed',
      'sealed',
    ]);
    expect(await cluster.row(0, 'o', cluster.live())).toBe('sealed');
    const gone = cluster.tombstone();
    for (const node of [0, 1, 2]) {
      const args = {
        ...cluster.address(node),
        seal: 'd',
        state: encodeState(gone),
        listing: listing(),
      };
      expect(await cluster.call(node, 'container.remove', args)).toMatchObject({
        outcome: 'stored',
        listedOn: [node],
      });
    }
    expect(await cluster.row(0, 'o', cluster.live())).toBe('no-container');
    expect(await cluster.list(0)).toMatchObject({ live: false, totals: { rows: 0 } });
    expect((await cluster.account()).items).toEqual([]);
    expect(settingsOf(own(0))).toEqual({ policy: 0, mode: 'strict' });
  });

  it('seals a replica that the deletion of the last row has not reached yet, too', async () => {
    await cluster.create();
    const state = cluster.live();
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', state);
    const deletion = cluster.tombstone();
    for (const node of [1, 2]) await cluster.row(node, 'o', deletion);
    expect((await sealAll('d')).map(({ outcome }) => outcome)).toEqual(Array(3).fill('sealed'));
    const gone = cluster.tombstone();
    for (const node of [0, 1, 2]) await cluster.remove(node, 'd', gone);
    for (const node of [0, 1, 2]) {
      expect(await cluster.row(node, 'late', cluster.live())).toBe('no-container');
    }
  });

  it('is refused by a replica with a row when no other answers', async () => {
    await cluster.create();
    await cluster.row(0, 'o', cluster.live());
    cluster.network.down.add('n1').add('n2');
    expect((await cluster.seal(0, 'd')).outcome).toBe('not-empty');
  });

  it('finds a row that this replica missed', async () => {
    await cluster.create();
    await cluster.row(1, 'o', cluster.live());
    await cluster.row(2, 'o', cluster.live());
    expect((await cluster.seal(0, 'd')).outcome).toBe('not-empty');
    expect(await cluster.row(0, 'p', cluster.live())).toBe('stored');
  });

  it('finds a row that is on its way through the log', async () => {
    await cluster.create();
    cluster.nodes[0]!.log.held = true;
    const row = cluster.row(0, 'o', cluster.live());
    await cluster.eventually(() =>
      cluster.nodes[0]!.rows.hasLiveRow(CONTAINER_RING, cluster.hash('/a/c')),
    );
    expect((await cluster.seal(0, 'd')).outcome).toBe('not-empty');
    cluster.nodes[0]!.log.release();
    expect(await row).toBe('stored');
  });

  it('and a write at the same time never both succeed', async () => {
    for (let round = 0; round < 20; round++) {
      await cluster.create();
      const state = cluster.live();
      const [rows, seals] = await Promise.all([
        Promise.all([0, 1, 2].map((node) => cluster.row((node + round) % 3, `o${round}`, state))),
        sealAll(`d${round}`),
      ]);
      const acknowledged = rows.filter((outcome) => outcome === 'stored').length >= 2;
      const deletable = seals.filter((reply) => reply.outcome === 'sealed').length >= 2;
      expect(acknowledged && deletable).toBe(false);
      for (const node of [0, 1, 2])
        await cluster.call(node, 'container.unseal', {
          ...cluster.address(node),
          seal: `d${round}`,
        });
      const gone = cluster.tombstone();
      for (const node of [0, 1, 2]) await cluster.row(node, `o${round}`, gone);
    }
  });

  it('is not undone by a write that comes to a replica before the others have removed it', async () => {
    await cluster.create();
    await sealAll('d');
    const gone = cluster.tombstone();
    const state = cluster.live();
    expect(await cluster.remove(0, 'd', gone)).toMatchObject({ outcome: 'stored' });
    expect(await cluster.row(0, 'o', state)).toBe('no-container');
    expect(await cluster.row(1, 'o', state)).toBe('sealed');
    for (const node of [1, 2]) await cluster.remove(node, 'd', gone);
    for (const node of [0, 1, 2]) expect(await cluster.row(node, 'o', state)).toBe('no-container');
  });

  it('that was given up half way takes nothing from a container that is written to: its headers stay', async () => {
    await cluster.create();
    const acl = { timestamp: cluster.now(), values: { value: 'private' } };
    for (const node of [0, 1, 2]) await cluster.own(node, { groups: { 'h:acl': acl } });
    await sealAll('d');
    await cluster.remove(0, 'd', cluster.tombstone());
    for (const node of [1, 2]) {
      await cluster.call(node, 'container.unseal', { ...cluster.address(node), seal: 'd' });
    }
    const object = cluster.live();
    for (const node of [1, 2]) expect(await cluster.row(node, 'o', object)).toBe('stored');
    for (const node of [0, 1, 2]) {
      const { live, state } = await cluster.list(node);
      expect(live).toBe(true);
      expect(decodeState(state!).groups['h:acl']?.values).toEqual(acl.values);
    }
    const gone = cluster.live({ kind: 'deleted' });
    for (const node of [0, 1, 2]) await cluster.row(node, 'o', { ...gone });
    await sealAll('e');
    for (const node of [0, 1, 2]) await cluster.remove(node, 'e', cluster.tombstone());
    const again = cluster.creation();
    for (const node of [0, 1, 2]) await cluster.own(node, again);
    expect(own(0)).toEqual(again);
  });

  it('keeps the policy that the container had last, not one that a replica knows from before', async () => {
    const first = cluster.creation(1);
    for (const node of [0, 1, 2]) await cluster.own(node, first);
    await sealAll('d');
    const gone = cluster.tombstone();
    for (const node of [0, 1, 2]) await cluster.remove(node, 'd', gone);
    const creation = cluster.creation(0);
    cluster.network.down.add('n2');
    for (const node of [0, 1]) await cluster.own(node, creation);
    for (const node of [0, 1]) await cluster.seal(node, 'e');
    cluster.network.down.clear();
    const again = cluster.tombstone();
    for (const node of [0, 1, 2])
      expect(await cluster.remove(node, 'e', again)).toMatchObject({ outcome: 'stored' });
    await cluster.row(2, 'late', cluster.live(), { intent: 'repair' });
    for (const node of [0, 1, 2]) {
      await cluster.list(node);
      expect(settingsOf(own(node))).toEqual({ policy: 0, mode: 'strict' });
    }
  });

  it('is given up by unseal, and by itself after the deadline', async () => {
    await cluster.create();
    await sealAll('d');
    expect((await cluster.seal(0, 'other')).outcome).toBe('busy');
    await cluster.call(0, 'container.unseal', { ...cluster.address(0), seal: 'other' });
    expect(await cluster.row(0, 'o', cluster.live())).toBe('sealed');
    await cluster.call(0, 'container.unseal', { ...cluster.address(0), seal: 'd' });
    expect(await cluster.row(0, 'o', cluster.live())).toBe('stored');
    await cluster.row(0, 'o', cluster.tombstone());
    // On a busy machine a short deadline may have passed before the seal was set.
    let deadlineMs = 0;
    await cluster.eventually(async () => {
      deadlineMs += 50;
      return (await cluster.seal(0, 'short', deadlineMs)).outcome === 'sealed';
    });
    await cluster.eventually(async () => (await cluster.row(0, 'p', cluster.live())) === 'stored');
    expect((await cluster.remove(0, 'short', cluster.tombstone())).outcome).toBe('not-empty');
  });

  it('is refused without a seal, and of nothing is missing', async () => {
    expect((await cluster.seal(0, 'd')).outcome).toBe('missing');
    await cluster.create();
    expect((await cluster.remove(0, 'never', cluster.tombstone())).outcome).toBe('not-sealed');
    await expect(cluster.remove(0, 'd', cluster.live())).rejects.toMatchObject({
      code: 'malformed',
    });
  });

  it('names a timestamp that the tombstone must exceed', async () => {
    await cluster.create();
    const last = cluster.tombstone();
    for (const node of [1, 2]) await cluster.row(node, 'o', last);
    expect((await cluster.seal(0, 'd')).newest).toBe(last.data!.timestamp);
  });

  it('is undone by a late row, with the settings the container had', async () => {
    await cluster.create();
    const late = cluster.live();
    await sealAll('d');
    const gone = cluster.tombstone();
    for (const node of [0, 1, 2]) await cluster.remove(node, 'd', gone);
    expect(await cluster.row(0, 'o', late, { intent: 'repair' })).toBe('stored');
    expect(await cluster.list(1)).toMatchObject({ live: true, totals: { rows: 1 } });
    expect(settingsOf(own(1))).toEqual({ policy: 0, mode: 'strict' });
    await cluster.list(2);
    await cluster.reportTotals();
    expect((await cluster.account()).items).toMatchObject([
      ['c', expect.anything(), 10, '', '', 1],
    ]);
  });
});
describe('cursors', () => {
  it('move on in a quiet moment without a listing', async () => {
    await cluster.create();
    const keeper = cluster.nodes[0]!.containers.jobs.find(
      (job) => job.name === 'container.cursors',
    )!;
    const rows = Array.from({ length: 1000 }, (_, i) => i);
    for (let part = 0; part < 3; part++) {
      const items = rows.map((i) => ({
        hash: cluster.hash('/a/c'),
        path: '/a/c',
        name: `${part}-${i}`,
        state: encodeState(cluster.live()),
      }));
      for (const device of [0, 1, 2]) {
        await cluster.call(device, 'container.rows', {
          device,
          ringVersion: 1,
          rows: items,
          intent: 'write',
        });
      }
    }
    for (let i = 0; i < 3; i++) await keeper.step(signal);
    const cursors = [1, 2].map((device) =>
      cluster.nodes[0]!.rows.cursor(CONTAINER_RING, cluster.hash('/a/c'), device),
    );
    expect(cursors.filter((cursor) => cursor?.sequence === 3001).length).toBe(1);
    expect(keeper.facts!()).toMatchObject({ kept: 1 });
  });
});
