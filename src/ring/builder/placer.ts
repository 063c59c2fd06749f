/**
 * The working state of one rebalance: which device holds each slot (a replica of a partition), how
 * far each tier is from its quota, and, for the one partition that is loaded, how many of its
 * replicas each tier holds. Everything is a typed array; a step costs some ten nanoseconds, which is
 * what makes a ring of 2^18 partitions and 1,200 devices build in well under a second.
 *
 * As unique as possible means here: of each partition a tier holds `floor` or `ceiling` of its
 * average number of replicas, no fewer and no more. Once every tier keeps its quota, no placement
 * that keeps to the weights is farther apart.
 */
import type { SeededRandom } from './random.ts';
import type { TierTree } from './tree.ts';

export const EMPTY = -1;

/** Dice are thrown once into a table, and read from a random place on. */
const CHANCE_MASK = 4095;

export class Placer {
  readonly tree: TierTree;
  readonly partitions: number;
  readonly columns: number;
  /** The tier of the device of slot (column * partitions + partition), or EMPTY. */
  readonly tierAt: Int32Array;
  /** Slots that exist: the last column may be shorter than the others. */
  readonly lengths: readonly number[];
  readonly floor: Int32Array;
  readonly ceiling: Int32Array;
  /** Quota less what is held; negative where a tier holds too much. */
  readonly need: Int32Array;
  /** Replicas of the loaded partition. */
  readonly count: Int32Array;
  /** One by the quota: what a replica is to a tier. */
  readonly perQuota: Float64Array;
  readonly #random: SeededRandom;
  readonly #chances: Float64Array;

  constructor(
    tree: TierTree,
    lengths: readonly number[],
    partitions: number,
    tierAt: Int32Array,
    quotas: Int32Array,
    random: SeededRandom,
  ) {
    this.tree = tree;
    this.lengths = lengths;
    this.partitions = partitions;
    this.columns = lengths.length;
    this.tierAt = tierAt;
    this.floor = quotas.map((quota) => Math.floor(quota / partitions));
    this.ceiling = quotas.map((quota) => Math.ceil(quota / partitions));
    this.perQuota = Float64Array.from(quotas, (quota) => 1 / Math.max(quota, 0.5));
    this.count = new Int32Array(tree.size);
    this.#random = random;
    this.#chances = Float64Array.from({ length: CHANCE_MASK + 1 }, () => random.next() / 2 ** 32);
    this.need = quotas.slice();
    for (const tier of tierAt) if (tier !== EMPTY) this.#addAlong(this.need, tier, -1);
  }

  /** The slot of a replica, or -1 where this partition has no replica in that column. */
  slot(column: number, partition: number): number {
    return partition < this.lengths[column]! ? column * this.partitions + partition : -1;
  }

  load(partition: number): void {
    this.#countAll(partition, 1);
  }

  unload(partition: number): void {
    this.#countAll(partition, -1);
  }

  #countAll(partition: number, by: number): void {
    for (let column = 0; column < this.columns; column++) {
      const slot = this.slot(column, partition);
      if (slot >= 0 && this.tierAt[slot]! !== EMPTY)
        this.#addAlong(this.count, this.tierAt[slot]!, by);
    }
  }

  #addAlong(values: Int32Array, device: number, by: number): void {
    const { parent } = this.tree;
    for (let tier = device; tier >= 0; tier = parent[tier]!) values[tier] = values[tier]! + by;
  }

  /** Puts the loaded partition's empty slot on a device. */
  put(slot: number, device: number): void {
    this.tierAt[slot] = device;
    this.#addAlong(this.count, device, 1);
    this.#addAlong(this.need, device, -1);
  }

  /** Empties a slot of the loaded partition; returns the device it was on. */
  take(slot: number): number {
    const device = this.tierAt[slot]!;
    this.tierAt[slot] = EMPTY;
    this.#addAlong(this.count, device, -1);
    this.#addAlong(this.need, device, 1);
    return device;
  }

  /**
   * Where the loaded partition's next replica belongs: from `tier` down, a child that is below its
   * floor first, otherwise the one that has got the smallest part of its quota, never above a
   * ceiling. EMPTY when there is no such device. `hungry`: only by way of tiers below their quota.
   */
  choose(tier: number, hungry = false): number {
    let at = tier;
    while (at !== EMPTY && at < this.tree.firstDevice) at = this.#chooseChild(at, hungry);
    return at;
  }

  /** Where to put the replica that was just taken from `device`: where it is missed, if it is. */
  chooseInstead(device: number): number {
    let above = 0;
    for (let tier = device; tier > 0; tier = this.tree.parent[tier]!) {
      if (this.count[tier]! < this.floor[tier]!) above = this.tree.parent[tier]!;
    }
    return this.choose(above);
  }

  #chooseChild(tier: number, hungry: boolean): number {
    const { count, ceiling, floor, need } = this;
    const first = this.tree.firstChild[tier]!;
    const end = first + this.tree.children[tier]!;
    let best = EMPTY;
    let bestNeed = Number.NEGATIVE_INFINITY;
    // Chance of less than one replica: without it devices of nearly the same quota would always
    // follow each other in the same order, share partitions with the same few, and fail together.
    let dice = this.#random.next();
    for (let child = first; child < end; child++) {
      if (count[child]! >= ceiling[child]! || (hungry && need[child]! <= 0)) continue;
      const must = count[child]! < floor[child]! ? 4 : 0;
      const chance = this.#chances[dice++ & CHANCE_MASK]!;
      const relative = must + (need[child]! + chance) * this.perQuota[child]!;
      if (relative > bestNeed) {
        best = child;
        bestNeed = relative;
      }
    }
    return best;
  }

  /**
   * When ceilings leave no place (too few devices, or neighbours that may not move yet): any device
   * without a replica of the loaded partition, where fewest are near.
   */
  chooseAnywhere(): number {
    let best = EMPTY;
    let bestCrowding = Number.POSITIVE_INFINITY;
    for (let device = this.tree.firstDevice; device < this.tree.size; device++) {
      if (this.count[device]! > 0 || this.tree.device[device]!.weight <= 0) continue;
      const crowding = this.#crowding(device) - this.need[device]! * this.perQuota[device]! * 1e-3;
      if (crowding < bestCrowding) {
        best = device;
        bestCrowding = crowding;
      }
    }
    return best;
  }

  #crowding(device: number): number {
    const { parent } = this.tree;
    const node = parent[device]!;
    const zone = parent[node]!;
    return this.count[parent[zone]!]! * 1e4 + this.count[zone]! * 1e2 + this.count[node]!;
  }

  /** Whether the loaded partition may lose its replica on `device`, seen from below tier `above`. */
  canLose(device: number, above: number): boolean {
    const { parent } = this.tree;
    for (let tier = device; tier !== above; tier = parent[tier]!) {
      if (this.count[tier]! <= this.floor[tier]!) return false;
    }
    return true;
  }

  /** Whether the loaded partition may move its replica from one device to another. */
  canMove(from: number, to: number): boolean {
    const { parent } = this.tree;
    let above = from;
    for (let other = to; above !== other; other = parent[other]!) {
      if (this.count[other]! >= this.ceiling[other]!) return false;
      above = parent[above]!;
    }
    return this.canLose(from, above);
  }

  /** Whether every tier from `device` up to below `above` holds more than its quota. */
  isOver(device: number, above: number): boolean {
    const { parent } = this.tree;
    for (let tier = device; tier !== above; tier = parent[tier]!)
      if (this.need[tier]! >= 0) return false;
    return true;
  }

  /** The nearest ancestor of a device that keeps its quota, so that the excess can stay below it. */
  firstNotOver(device: number): number {
    let tier = device;
    while (tier > 0 && this.need[tier]! < 0) tier = this.tree.parent[tier]!;
    return tier;
  }

  /** The ancestor of a device at a depth above it. */
  ancestor(device: number, depth: number): number {
    let tier = device;
    while (this.tree.depth[tier]! > depth) tier = this.tree.parent[tier]!;
    return tier;
  }
}
