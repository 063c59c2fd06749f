import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  anyCluster,
  type Cluster,
  device,
  judge,
  lostByPartition,
  RUNS,
  stateOf,
  surplus,
} from '../testing/clusters.ts';
import { type Change, changed } from './change.ts';
import { rebalanced } from './rebalance.ts';
import { type BuilderState, columnLengths, idsOf, liveDevices } from './state.ts';

const HOUR = 500_000;

function built(cluster: Cluster): BuilderState {
  return rebalanced(stateOf(cluster), { seed: cluster.seed, nowHours: HOUR });
}

/** A later rebalance, when everything has settled. */
function later(state: BuilderState, hours: number): BuilderState {
  return rebalanced({ ...state, former: new Map() }, { seed: hours, nowHours: HOUR + hours });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** What dispersion itself asks to be moved: replicas that a tier holds beyond its new floor and ceiling. */
function tooClose(state: BuilderState): number {
  return judge(state).uneven;
}

describe('a new ring', () => {
  it('places every partition as far apart as the weights allow, whatever the cluster', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => judge(built(cluster)).uneven === 0),
      RUNS,
    );
  });

  it('gives each device its quota, a handful of misplaced replicas aside', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        expect(judge(built(cluster)).misplaced).toBeLessThanOrEqual(4);
      }),
      RUNS,
    );
  });

  it('never puts two replicas of a partition on one device, and has all of them', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        const { columns, devices } = built(cluster);
        const replicas = Math.min(cluster.replicas, liveDevices(devices));
        const partitions = 2 ** cluster.partPower;
        expect(columns.map((column) => column.length)).toEqual(columnLengths(replicas, partitions));
        for (let partition = 0; partition < partitions; partition++) {
          const ids = idsOf(columns, partition);
          expect(new Set(ids).size).toBe(ids.length);
          expect(ids.every((id) => devices[id]!.weight > 0)).toBe(true);
        }
      }),
      RUNS,
    );
  });

  it('is the same for the same seed and another for another', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        expect(built(cluster).columns).toEqual(built(cluster).columns);
      }),
      { ...RUNS, numRuns: 20 },
    );
    const devices = Array.from({ length: 30 }, (_, i) => device('s', 'z', `n${i}`, 'd', 100));
    const cluster = { devices, partPower: 8, replicas: 3, overload: 0, seed: 1 };
    expect(built({ ...cluster, seed: 2 }).columns).not.toEqual(built(cluster).columns);
  });

  it('needs a device with a weight', () => {
    const devices = [device('s', 'z', 'n', 'd', 0)];
    const cluster = { devices, partPower: 4, replicas: 3, overload: 0, seed: 1 };
    expect(() => built(cluster)).toThrow(expect.objectContaining({ code: 'no-devices' }));
  });

  it('gives every device its share of every column, since columns have different work', () => {
    const devices = Array.from({ length: 12 }, (_, i) =>
      device(`s${i % 3}`, 'z', `n${i}`, 'd', 100),
    );
    const { columns } = built({ devices, partPower: 10, replicas: 3, overload: 0, seed: 5 });
    for (const column of columns) {
      const counts = devices.map((_, id) => column.filter((held) => held === id).length);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(8);
    }
  });

  it('does not tie devices into pairs: a lost device is replaced from many others', () => {
    const devices = Array.from({ length: 60 }, (_, i) =>
      device(`s${i % 3}`, 'z', `n${i}`, 'd', 100),
    );
    const { columns } = built({ devices, partPower: 12, replicas: 3, overload: 0, seed: 3 });
    const partners = new Map<number, number>();
    for (let partition = 0; partition < 2 ** 12; partition++) {
      const ids = idsOf(columns, partition);
      if (!ids.includes(0)) continue;
      for (const id of ids) if (id !== 0) partners.set(id, (partners.get(id) ?? 0) + 1);
    }
    // 205 partitions, 40 devices at the other sites: 10 shared with each on average.
    expect(partners.size).toBe(40);
    expect(Math.max(...partners.values())).toBeLessThan(25);
  });
});

const anyChange = fc.record({
  kind: fc.constantFrom('add', 'drain', 'weight', 'remove'),
  pick: fc.nat(),
  weight: fc.integer({ min: 1, max: 400 }),
});

/** A change that leaves enough devices, or undefined. */
function changeOf(
  state: BuilderState,
  { kind, pick, weight }: { kind: string; pick: number; weight: number },
): Change | undefined {
  const present = state.devices.filter((item) => item !== undefined);
  const id = present[pick % present.length]!.id;
  const spare = liveDevices(state.devices) > Math.ceil(state.settings.replicas) + 1;
  if (kind === 'add') return { add: [device(`s${pick % 5}`, `z${pick % 3}`, 'new', 'd', weight)] };
  if (kind === 'weight') return { update: [{ id, weight }] };
  if (!spare) return undefined;
  return kind === 'drain' ? { update: [{ id, weight: 0 }] } : { remove: [id] };
}

describe('a rebalance', () => {
  it('moves at most one replica of a partition, and none again before min_part_hours', () => {
    fc.assert(
      fc.property(anyCluster, anyChange, (cluster, wanted) => {
        const state = built(cluster);
        const change = changeOf(state, wanted);
        fc.pre(change !== undefined);
        const first = rebalanced(changed(state, change), { seed: 1, nowHours: HOUR + 1 });
        const moved = lostByPartition(state, first);
        expect(Math.max(...moved)).toBeLessThanOrEqual(1);
        const again = rebalanced({ ...first, former: new Map() }, { seed: 2, nowHours: HOUR + 1 });
        lostByPartition(first, again).forEach((lost, partition) => {
          expect(lost === 0 || moved[partition] === 0).toBe(true);
        });
      }),
      RUNS,
    );
  });

  it('reaches the target in the end, with hardly more moves than the target asks for', () => {
    let total = 0;
    let least = 0;
    fc.assert(
      fc.property(anyCluster, anyChange, (cluster, wanted) => {
        const before = built(cluster);
        const change = changeOf(before, wanted);
        fc.pre(change !== undefined);
        let state = changed(before, change);
        const closeness =
          wanted.kind === 'remove' ? 0 : tooClose({ ...state, columns: before.columns });
        let moves = 0;
        for (let round = 1; round <= 6; round++) {
          const next = later(state, round * 2);
          moves += sum(lostByPartition(state, next));
          state = next;
        }
        const { uneven, misplaced, slots } = judge(state);
        expect(uneven).toBe(0);
        expect(misplaced).toBeLessThanOrEqual(Math.max(3, slots / 100));
        total += moves;
        least += surplus(before, state) + (wanted.kind === 'drain' ? 0 : closeness);
      }),
      RUNS,
    );
    expect(total).toBeLessThanOrEqual(least * 1.25);
  });

  it('without a change moves nothing', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        let state = built(cluster);
        if (judge(state).misplaced > 0) state = later(state, 2);
        fc.pre(judge(state).misplaced === 0);
        expect(later(state, 4).columns).toEqual(state.columns);
      }),
      { ...RUNS, numRuns: 60 },
    );
  });

  it('moves to new devices only their share, and nothing else', () => {
    const devices = Array.from({ length: 40 }, (_, i) =>
      device(`s${i % 4}`, 'z', `n${i % 20}`, `d${i}`, 100),
    );
    const before = built({ devices, partPower: 10, replicas: 3, overload: 0, seed: 1 });
    const add = Array.from({ length: 4 }, (_, i) => device(`s${i}`, 'z', `new${i}`, 'd', 100));
    const after = later(changed(before, { add }), 2);
    expect(sum(lostByPartition(before, after))).toBeLessThanOrEqual(
      Math.ceil((4 * 3 * 1024) / 44) + 4,
    );
    for (const [c, column] of after.columns.entries()) {
      column.forEach((id, partition) => {
        expect(id === before.columns[c]![partition] || id >= 40).toBe(true);
      });
    }
  });

  it('empties a drained device, one replica of a partition at a time', () => {
    fc.assert(
      fc.property(anyCluster, fc.nat(), (cluster, pick) => {
        let state = built(cluster);
        const change = changeOf(state, { kind: 'drain', pick, weight: 0 });
        fc.pre(change !== undefined);
        state = changed(state, change);
        for (let round = 1; round <= 3; round++) state = later(state, round * 2);
        const id = change.update![0]!.id;
        expect(state.columns.every((column) => !column.includes(id))).toBe(true);
      }),
      { ...RUNS, numRuns: 60 },
    );
  });

  it('places what a removed device held at once, and touches no other replica of those partitions', () => {
    const devices = Array.from({ length: 12 }, (_, i) =>
      device(`s${i % 3}`, 'z', `n${i}`, 'd', 100),
    );
    const before = built({ devices, partPower: 8, replicas: 3, overload: 0, seed: 1 });
    const after = rebalanced(changed(before, { remove: [4] }), { seed: 2, nowHours: HOUR });
    for (let partition = 0; partition < 256; partition++) {
      const old = idsOf(before.columns, partition);
      const now = idsOf(after.columns, partition);
      expect(now).not.toContain(4);
      if (old.includes(4)) expect(old.filter((id) => !now.includes(id))).toEqual([4]);
    }
  });

  it('leaves joint partitions alone', () => {
    const devices = Array.from({ length: 9 }, (_, i) =>
      device(`s${i % 3}`, 'z', `n${i}`, 'd', 100),
    );
    const before = built({ devices, partPower: 6, replicas: 3, overload: 0, seed: 1 });
    const first = rebalanced(changed(before, { update: [{ id: 0, weight: 0 }] }), {
      seed: 2,
      nowHours: HOUR + 2,
    });
    expect(first.former.size).toBeGreaterThan(0);
    const second = rebalanced(changed(first, { update: [{ id: 0, weight: 100 }] }), {
      seed: 3,
      nowHours: HOUR + 90,
    });
    for (const [partition, set] of first.former) {
      expect(idsOf(second.columns, partition)).toEqual(idsOf(first.columns, partition));
      expect(second.former.get(partition)).toEqual(set);
    }
  });

  it('adds and takes away replicas, fractions of one too', () => {
    fc.assert(
      fc.property(anyCluster, fc.constantFrom(1, 2, 2.5, 3, 3.75, 4), (cluster, replicas) => {
        let state = changed(built(cluster), { settings: { replicas } });
        for (let round = 1; round <= 6; round++) state = later(state, round * 2);
        const live = Math.min(replicas, liveDevices(state.devices));
        expect(state.columns.map((c) => c.length)).toEqual(
          columnLengths(live, 2 ** cluster.partPower),
        );
        const { uneven, misplaced, slots } = judge(state);
        expect(uneven).toBeLessThanOrEqual(slots / 100);
        expect(misplaced).toBeLessThanOrEqual(Math.max(3, slots / 100));
      }),
      { ...RUNS, numRuns: 60 },
    );
  });

  it('moves nothing when the part power is raised', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        const before = built(cluster);
        const after = changed(before, { settings: { partPower: cluster.partPower + 2 } });
        for (let partition = 0; partition < 2 ** (cluster.partPower + 2); partition++) {
          expect(idsOf(after.columns, partition)).toEqual(idsOf(before.columns, partition >> 2));
        }
      }),
      { ...RUNS, numRuns: 20 },
    );
  });
});
