/** Random clusters for property tests, and a placement seen the naive way: maps, no typed arrays. */
import fc from 'fast-check';
import { changed } from '../builder/change.ts';
import {
  type BuilderState,
  columnLengths,
  emptyState,
  idsOf,
  liveDevices,
} from '../builder/state.ts';
import { computeQuotas, computeTargets } from '../builder/targets.ts';
import { buildTree, sumUp } from '../builder/tree.ts';
import type { DeviceDescription } from '../description.ts';

/** Fixed, so that a run of the suite is repeatable; RING_SEED tries another. */
export const RUNS = { numRuns: 120, seed: Number(process.env['RING_SEED'] ?? 20_261_120) };

export interface Cluster {
  readonly devices: readonly DeviceDescription[];
  readonly partPower: number;
  readonly replicas: number;
  readonly overload: number;
  readonly seed: number;
}

const weights = fc.constantFrom(
  fc.constant(100),
  fc.integer({ min: 50, max: 150 }),
  fc.constantFrom(1, 10, 100, 1000),
);

/** One to four sites of one to three zones of one to three nodes of one to four devices. */
export const anyCluster: fc.Arbitrary<Cluster> = weights.chain((weight) =>
  fc.record({
    devices: sites(weight),
    partPower: fc.integer({ min: 4, max: 9 }),
    replicas: fc.constantFrom(1, 2, 3, 3, 3, 5, 2.5, 3.25),
    overload: fc.constantFrom(0, 0, 0.1, 0.5, 1),
    seed: fc.nat(),
  }),
);

function sites(weight: fc.Arbitrary<number>): fc.Arbitrary<DeviceDescription[]> {
  const list = <T>(item: fc.Arbitrary<T>, maxLength: number) =>
    fc.array(item, { minLength: 1, maxLength });
  return list(list(list(list(weight, 4), 3), 3), 4).map((shape) =>
    shape.flatMap((zones, s) =>
      zones.flatMap((nodes, z) =>
        nodes.flatMap((devices, n) =>
          devices.map((item, d) => device(`s${s}`, `z${z}`, `n${s}${z}${n}`, `d${d}`, item)),
        ),
      ),
    ),
  );
}

export function device(
  site: string,
  zone: string,
  node: string,
  name: string,
  weight: number,
): DeviceDescription {
  return { site, zone, node, name, weight, meta: {} };
}

export function stateOf({ devices, partPower, replicas, overload }: Cluster): BuilderState {
  const settings = { policy: 0, partPower, replicas, copies: 1, overload, minPartHours: 1 };
  return changed(emptyState(settings), { add: devices });
}

export interface Judgement {
  /** Partitions of which a tier holds more or fewer replicas than its average rounded up or down. */
  readonly uneven: number;
  /** Replicas on devices above their quota. */
  readonly misplaced: number;
  readonly slots: number;
}

/** Holds a placement against the targets, counting each partition anew. */
export function judge(state: BuilderState): Judgement {
  const tree = buildTree(state.devices);
  const partitions = 2 ** state.settings.partPower;
  const replicas = Math.min(state.settings.replicas, liveDevices(state.devices));
  const slots = columnLengths(replicas, partitions).reduce((sum, length) => sum + length, 0);
  const held = new Float64Array(tree.size);
  for (const column of state.columns) for (const id of column) held[tree.tierOf[id]!]!++;
  sumUp(tree, held);
  const targets = computeTargets(tree, slots / partitions, state.settings.overload);
  const quotas = computeQuotas(tree, targets, slots, Int32Array.from(held));
  let misplaced = 0;
  for (let tier = tree.firstDevice; tier < tree.size; tier++) {
    misplaced += Math.max(0, held[tier]! - quotas[tier]!);
  }
  let uneven = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const counts = new Map<number, number>();
    for (const id of idsOf(state.columns, partition)) {
      for (let tier = tree.tierOf[id]!; tier >= 0; tier = tree.parent[tier]!) {
        counts.set(tier, (counts.get(tier) ?? 0) + 1);
      }
    }
    const isUneven = (quota: number, tier: number): boolean => {
      const count = counts.get(tier) ?? 0;
      return count < Math.floor(quota / partitions) || count > Math.ceil(quota / partitions);
    };
    if (quotas.some(isUneven)) uneven++;
  }
  return { uneven, misplaced, slots };
}

/** How many devices of each partition another state no longer has there. */
export function lostByPartition(before: BuilderState, after: BuilderState): number[] {
  return Array.from({ length: 2 ** before.settings.partPower }, (_, partition) => {
    const now = new Set(idsOf(after.columns, partition));
    return idsOf(before.columns, partition).filter((id) => !now.has(id)).length;
  });
}

/** Replicas that must move because devices hold more than they will. */
export function surplus(before: BuilderState, after: BuilderState): number {
  const count = (state: BuilderState): Map<number, number> => {
    const counts = new Map<number, number>();
    for (const column of state.columns)
      for (const id of column) counts.set(id, (counts.get(id) ?? 0) + 1);
    return counts;
  };
  const now = count(after);
  let moves = 0;
  for (const [id, held] of count(before)) moves += Math.max(0, held - (now.get(id) ?? 0));
  return moves;
}
