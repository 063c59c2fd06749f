/**
 * One rebalance of a state: trims columns that became too many, fills empty slots, settles the rest,
 * and notes for every partition what moved and when.
 */
import { OperatingError } from '#base/errors.ts';
import { fillEmptySlots } from './fill.ts';
import { EMPTY, Placer } from './placer.ts';
import { SeededRandom } from './random.ts';
import { Settlement } from './settle.ts';
import { type BuilderState, columnLengths, knowing, liveDevices } from './state.ts';
import { computeQuotas, computeTargets } from './targets.ts';
import { buildTree, sumUp, type TierTree } from './tree.ts';

export interface RebalanceOptions {
  /** Same state, seed and hour: same ring. */
  readonly seed: number;
  /** Hours since 1970. */
  readonly nowHours: number;
}

/** The next state. Does not judge the risk: see `risk.ts`. */
export function rebalanced(state: BuilderState, options: RebalanceOptions): BuilderState {
  const { devices, settings } = state;
  const live = liveDevices(devices);
  if (live === 0)
    throw new OperatingError('no-devices', 'a ring needs a device with a weight above 0');
  const tree = buildTree(devices);
  const replicas = Math.min(settings.replicas, live);
  const lengths = columnLengths(replicas, 2 ** settings.partPower);
  const random = new SeededRandom(options.seed);
  const placer = layOut(state, tree, lengths, random);
  const movable = movablePartitions(state, placer, options.nowHours);
  const filled = fillEmptySlots(placer, random);
  new Settlement(placer, random, movable, filled).run();
  return nextState(state, placer, options.nowHours);
}

function layOut(
  state: BuilderState,
  tree: TierTree,
  lengths: readonly number[],
  random: SeededRandom,
): Placer {
  const { settings } = state;
  const partitions = 2 ** settings.partPower;
  const slots = lengths.reduce((sum, length) => sum + length, 0);
  const targets = computeTargets(tree, slots / partitions, settings.overload);
  const oldLengths = state.columns.map((column) => column.length);
  const tierAt = readTable(state, tree, Math.max(lengths.length, oldLengths.length));
  const quotas = computeQuotas(tree, targets, slots, heldBy(tree, tierAt));
  const shrinks = oldLengths.some((length, column) => length > (lengths[column] ?? 0));
  if (shrinks) trim(new Placer(tree, oldLengths, partitions, tierAt, quotas, random), lengths);
  const kept = tierAt.subarray(0, lengths.length * partitions);
  return new Placer(tree, lengths, partitions, kept, quotas, random);
}

function readTable(state: BuilderState, tree: TierTree, columns: number): Int32Array {
  const partitions = 2 ** state.settings.partPower;
  const tierAt = new Int32Array(columns * partitions).fill(EMPTY);
  state.columns.forEach((column, c) => {
    for (let p = 0; p < column.length; p++) tierAt[c * partitions + p] = tree.tierOf[column[p]!]!;
  });
  return tierAt;
}

function heldBy(tree: TierTree, tierAt: Int32Array): Int32Array {
  const held = new Float64Array(tree.size);
  for (const tier of tierAt) if (tier !== EMPTY) held[tier]!++;
  sumUp(tree, held);
  return Int32Array.from(held);
}

/** Takes surplus replicas away where they are missed least; the last column's device takes the place. */
function trim(placer: Placer, lengths: readonly number[]): void {
  for (let partition = 0; partition < placer.partitions; partition++) {
    placer.load(partition);
    for (let column = placer.columns - 1; column >= 0; column--) {
      const slot = placer.slot(column, partition);
      if (slot < 0 || partition < (lengths[column] ?? 0)) continue;
      const victim = leastMissed(placer, partition, column);
      if (placer.tierAt[victim] !== EMPTY) placer.take(victim);
      if (victim === slot || placer.tierAt[slot] === EMPTY) continue;
      placer.put(victim, placer.take(slot));
    }
    placer.unload(partition);
  }
}

function leastMissed(placer: Placer, partition: number, last: number): number {
  let best = placer.slot(last, partition);
  let bestScore = Number.NEGATIVE_INFINITY;
  for (let column = 0; column <= last; column++) {
    const slot = placer.slot(column, partition);
    const tier = placer.tierAt[slot]!;
    if (tier === EMPTY) return slot;
    const apart = placer.canLose(tier, 0) ? 1e9 : 0;
    if (apart - placer.need[tier]! > bestScore) {
      best = slot;
      bestScore = apart - placer.need[tier]!;
    }
  }
  return best;
}

/** Not: moved lately, joint, or with a replica to be filled (which is its one move). */
function movablePartitions(state: BuilderState, placer: Placer, nowHours: number): Uint8Array {
  const movable = new Uint8Array(placer.partitions);
  for (let partition = 0; partition < placer.partitions; partition++) {
    let complete = true;
    for (let column = 0; column < placer.columns && complete; column++) {
      const slot = placer.slot(column, partition);
      complete = slot < 0 || placer.tierAt[slot] !== EMPTY;
    }
    movable[partition] = complete && mayMove(state, partition, nowHours) ? 1 : 0;
  }
  return movable;
}

/** Whether min_part_hours and the joint protocol let this partition move a replica now. */
export function mayMove(state: BuilderState, partition: number, nowHours: number): boolean {
  const movedAt = state.movedAt[partition]!;
  if (movedAt !== 0 && nowHours - movedAt < state.settings.minPartHours) return false;
  return !state.former.has(partition);
}

function nextState(state: BuilderState, placer: Placer, nowHours: number): BuilderState {
  const { tree, partitions } = placer;
  const columns = placer.lengths.map((length, c) => {
    const column = new Uint16Array(length);
    const base = c * partitions;
    for (let p = 0; p < length; p++) column[p] = tree.device[placer.tierAt[base + p]!]!.id;
    return column;
  });
  const first = state.columns.length === 0;
  const movedAt = state.movedAt.slice();
  const former = new Map(state.former);
  const version = state.version + 1;
  for (let partition = 0; !first && partition < partitions; partition++) {
    const { ids, isLost } = knowing(state, state.devices, partition);
    const isSame = sameRow(state.columns, columns, partition);
    if (isSame && !isLost) continue;
    if (!isSame) movedAt[partition] = nowHours;
    // A joint partition that changes again keeps its former set: that one's majority knows everything.
    if (ids.length > 0) former.set(partition, { ids, since: version });
    else former.delete(partition);
  }
  return { ...state, version, columns, movedAt, former };
}

export function sameRow(
  a: readonly Uint16Array[],
  b: readonly Uint16Array[],
  partition: number,
): boolean {
  const columns = Math.max(a.length, b.length);
  for (let c = 0; c < columns; c++) if (a[c]?.[partition] !== b[c]?.[partition]) return false;
  return true;
}
