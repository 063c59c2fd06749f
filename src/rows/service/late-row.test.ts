/** A container that lives by a late row alone, and whose own deletion is older than what all have reclaimed. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTAINER_RING } from '#base/names.ts';
import { microsOf } from '#base/timestamp.ts';
import { settingsGroup, settingsOf } from '../row-state.ts';
import { RowCluster } from '../testing/row-cluster.ts';

let cluster: RowCluster;

beforeEach(() => {
  cluster = new RowCluster();
});
afterEach(() => cluster.close());

const PATH = '/a/c';
const key = () => ({ policy: CONTAINER_RING, hash: cluster.hash(PATH) });
const own = (node: number) =>
  cluster.nodes[node]!.rows.read(CONTAINER_RING, cluster.hash(PATH), '');

/** Deleted on these, and long ago. */
async function deleted(nodes: readonly number[]): Promise<void> {
  const tombstone = cluster.tombstone();
  const container = settingsGroup({ policy: 2, mode: 'strict' }, tombstone.data!.timestamp);
  const state = { ...tombstone, groups: { container } };
  for (const node of nodes)
    await cluster.nodes[node]!.rows.write({ key: key(), path: PATH, name: '', state });
  cluster.reclaimedMicros = microsOf(cluster.now());
}

async function late(node: number, name = 'late'): Promise<void> {
  const row = { intent: 'repair', keptIn: 2 };
  expect(await cluster.row(node, name, cluster.live(), row)).toBe('stored');
}

async function rejoin(node: number): Promise<void> {
  const { jobs } = cluster.nodes[node]!.containers;
  const job = jobs.find(({ name }) => name === 'container.rejoin')!;
  await job.step(new AbortController().signal);
}

describe('a container that lives by a late row', () => {
  it('keeps its settings on a replica that is refilled', async () => {
    await deleted([0, 1, 2]);
    for (const node of [0, 1]) await late(node);
    cluster.nodes[2]!.restart('wiped');
    await rejoin(2);
    expect(cluster.nodes[2]!.device.complete).toBe(true);
    expect(own(2)).toEqual(own(0));
  });

  it('keeps them where the others had reclaimed them before the row came to them', async () => {
    await deleted([0]);
    await late(0);
    for (const node of [1, 2]) {
      expect((await cluster.list(node)).live).toBe(true);
      expect(settingsOf(own(node))).toEqual({ policy: 2, mode: 'strict' });
    }
  });

  it('keeps them also where many rows come first', async () => {
    await deleted([0]);
    for (let i = 0; i < 1100; i++) await late(0, `late ${i}`);
    await cluster.list(1);
    expect(own(1)).toEqual(own(0));
  });

  it('gives them to who has the row without them', async () => {
    await deleted([0]);
    await late(0);
    const state = cluster.nodes[0]!.rows.read(CONTAINER_RING, cluster.hash(PATH), 'late')!;
    await cluster.nodes[1]!.rows.write({ key: key(), path: PATH, name: 'late', state });
    const { incarnation } = cluster.nodes[0]!.rows;
    const { sequence } = cluster.nodes[0]!.rows.facts(CONTAINER_RING, cluster.hash(PATH))!;
    cluster.nodes[1]!.rows.setCursor(CONTAINER_RING, cluster.hash(PATH), 0, {
      incarnation,
      sequence,
    });
    cluster.network.down.add('n2');
    await cluster.list(1);
    expect(own(1)).toEqual(own(0));
  });

  it('is not made again by a deletion that was reclaimed, where no row is left', async () => {
    await deleted([0]);
    await cluster.list(1);
    expect(own(1)).toBeUndefined();
    cluster.nodes[2]!.restart('wiped');
    await rejoin(2);
    expect(own(2)).toBeUndefined();
  });
});
