/** A container of which nobody knows the creation, and of which a device holds an object (simulator, seed 11007933). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeState } from '#base/entry-codec.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { type ContainerSettings, settingsGroup, settingsOf } from '#rows/row-state.ts';
import { RowCluster } from '#rows/testing/row-cluster.ts';

let cluster: RowCluster;

beforeEach(() => {
  cluster = new RowCluster();
});
afterEach(() => cluster.close());

const ALL = [0, 1, 2];
const KEPT_IN_2 = { intent: 'repair', keptIn: 2 };
const own = (node: number) =>
  cluster.nodes[node]!.rows.read(CONTAINER_RING, cluster.hash('/a/c'), '');
const settings = async (node: number): Promise<ContainerSettings | undefined> => {
  const { state } = await cluster.list(node);
  return state === null ? undefined : settingsOf(decodeState(state));
};

describe('a row that a device sends of what it holds', () => {
  it('makes a container that nobody knows, in the policy of the object, alike on all replicas', async () => {
    const object = cluster.live();
    for (const node of ALL) expect(await cluster.row(node, 'o', object, KEPT_IN_2)).toBe('stored');
    for (const node of ALL) expect(await settings(node)).toEqual({ policy: 2, mode: 'strict' });
    expect(own(1)).toEqual(own(0));
    expect(own(2)).toEqual(own(0));
    await cluster.reportTotals();
    const { items } = await cluster.account();
    expect(items.map((item) => item[0])).toEqual(['c']);
  });

  it('makes it once, whichever of its objects come to which replica first', async () => {
    const objects = ['o', 'p', 'q'].map((name) => ({ name, state: cluster.live() }));
    for (const node of ALL)
      for (const i of ALL) {
        const { name, state } = objects[(i + node) % 3]!;
        await cluster.row(node, name, state, KEPT_IN_2);
      }
    for (const node of ALL) await cluster.list(node);
    expect(own(1)).toEqual(own(0));
    expect(own(2)).toEqual(own(0));
  });

  it('gives way to the creation as soon as somebody has it', async () => {
    const creation = cluster.creation(2, 'available');
    cluster.network.down.add('n2');
    await cluster.row(0, 'o', cluster.live(), KEPT_IN_2);
    expect(await settings(0)).toEqual({ policy: 2, mode: 'strict' });
    cluster.network.down.clear();
    const key = { policy: CONTAINER_RING, hash: cluster.hash('/a/c') };
    await cluster.nodes[2]!.rows.write({ key, path: '/a/c', name: '', state: creation });
    cluster.network.down.add('n1');
    expect(await settings(0)).toEqual({ policy: 2, mode: 'available' });
    expect(own(0)).toEqual(creation);
  });

  it('asks before: what a majority knows is not made anew by who missed it', async () => {
    const creation = cluster.creation(2);
    for (const node of [1, 2]) await cluster.own(node, creation);
    await cluster.row(0, 'o', cluster.live(), KEPT_IN_2);
    expect(own(0)).toEqual(creation);
  });

  it('is kept, and has to come again, while too few can be asked', async () => {
    const object = cluster.live();
    cluster.network.down.add('n1').add('n2');
    expect(await cluster.row(0, 'o', object, KEPT_IN_2)).toBe('unavailable');
    expect(own(0)).toBeUndefined();
    cluster.network.down.clear();
    expect(await cluster.names(0)).toEqual(['o']);
    expect(await cluster.row(0, 'o', object, KEPT_IN_2)).toBe('stored');
    expect(await settings(0)).toMatchObject({ policy: 2 });
  });

  it.each([
    ['that is deleted in the policy it had, and brings it back as it was', 0, true, 'deleted'],
    ['that was deleted after it in another policy', 2, false, 'deleted'],
    ['that was deleted before it in another policy, and so was made again', 2, true, 'live'],
  ])('of a container %s', async (_, keptIn, isLater, kind) => {
    const [before, tombstone, after] = [cluster.live(), cluster.tombstone(), cluster.live()];
    const container = settingsGroup({ policy: 0, mode: 'strict' }, tombstone.data!.timestamp);
    const key = { policy: CONTAINER_RING, hash: cluster.hash('/a/c') };
    const state = { ...tombstone, groups: { container } };
    for (const { rows } of cluster.nodes) await rows.write({ key, path: '/a/c', name: '', state });
    const object = isLater ? after : before;
    for (const node of ALL) await cluster.row(node, 'o', object, { intent: 'repair', keptIn });
    expect(own(0)?.data?.kind).toBe(kind);
    expect(settingsOf(own(0))?.policy).toBe(kind === 'live' ? keptIn : 0);
  });
});

describe('a row that a device sends of what it holds in a policy that the container has not', () => {
  const listed = async (node: number) => (await cluster.list(node)).items;

  it('is neither listed, nor hides what is written in the policy that it has', async () => {
    const creation = cluster.creation(0);
    for (const node of ALL) await cluster.own(node, creation);
    for (const node of ALL) await cluster.row(node, 'o', cluster.live(), { policy: 0 });
    const before = await listed(0);
    for (const [name, state] of [
      ['o', cluster.tombstone()],
      ['p', cluster.live()],
    ] as const)
      for (const node of ALL)
        expect(await cluster.row(node, name, state, KEPT_IN_2)).toBe('superseded');
    expect(await listed(1)).toEqual(before);
  });

  it('is refused, so that the object goes, where the container has something newer of that name', async () => {
    const creation = cluster.creation(0);
    for (const node of ALL) await cluster.own(node, creation);
    const [object, newer] = [cluster.live(), cluster.tombstone()];
    for (const node of ALL) await cluster.row(node, 'o', newer, { policy: 0 });
    expect(await cluster.row(0, 'o', object, KEPT_IN_2)).toBe('container-mismatch');
  });

  it('is taken in by who had missed that it has that policy by now', async () => {
    for (const node of ALL) await cluster.own(node, cluster.creation(0));
    const creation = cluster.creation(2);
    const key = { policy: CONTAINER_RING, hash: cluster.hash('/a/c') };
    for (const node of [1, 2])
      await cluster.nodes[node]!.rows.write({ key, path: '/a/c', name: '', state: creation });
    expect(await cluster.row(0, 'o', cluster.live(), KEPT_IN_2)).toBe('stored');
    expect(await cluster.names(0)).toEqual(['o']);
  });

  it('has to come again where too few can be asked', async () => {
    for (const node of ALL) await cluster.own(node, cluster.creation(0));
    cluster.network.down.add('n1').add('n2');
    expect(await cluster.row(0, 'o', cluster.live(), KEPT_IN_2)).toBe('unavailable');
  });

  it('does not bring back a container that was deleted since', async () => {
    const object = cluster.live();
    const tombstone = cluster.tombstone();
    const container = settingsGroup({ policy: 0, mode: 'strict' }, tombstone.data!.timestamp);
    const key = { policy: CONTAINER_RING, hash: cluster.hash('/a/c') };
    const state = { ...tombstone, groups: { container } };
    for (const { rows } of cluster.nodes) await rows.write({ key, path: '/a/c', name: '', state });
    for (const node of ALL) await cluster.row(node, 'o', object, KEPT_IN_2);
    expect((await cluster.list(0)).live).toBe(false);
  });
});
