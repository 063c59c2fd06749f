/**
 * Moves replicas until every tier keeps its quota and no partition is closer together than it need
 * be, with as few moves as that takes and at most one of each partition.
 *
 * - `spreadOut`: partitions that break a floor or a ceiling (a new site, other weights, history).
 * - `moveDirectly`: from a device above its quota to one below, over the tiers where the difference
 *   lies. Every move brings both ends nearer, so their number is the least possible.
 * - `moveAround`: what no direct move could cure: by way of a third device, two moves for one.
 */
import { EMPTY, type Placer } from './placer.ts';
import type { SeededRandom } from './random.ts';
import { DEPTH } from './tree.ts';

/** Tries per misplaced replica before it is left for the next rebalance. */
const MAX_DETOURS = 200;
const MAX_ROUNDS = 4;
const MAX_DETOURS_IN_ALL = 100_000;
const MAX_PULLS = 100_000;

/** What a move may take: only slots that cost nothing, or one more replica of a partition too. */
type Price = 'free' | 'any';

export class Settlement {
  readonly #placer: Placer;
  readonly #random: SeededRandom;
  /** Partitions with a replica that may move. */
  readonly #movable: Uint8Array;
  /** Slots that were empty, or have moved in this rebalance: moving them again costs nothing. */
  readonly #free: Uint8Array;
  /** Slots by device: the slots of tier t are slots[start[t - firstDevice]] onwards. */
  #start = new Int32Array(0);
  #slots = new Int32Array(0);
  /** By device: slots that came to it since; stale ones are skipped. */
  #arrivals: number[][] = [];

  constructor(placer: Placer, random: SeededRandom, movable: Uint8Array, filled: Uint8Array) {
    this.#placer = placer;
    this.#random = random;
    this.#movable = movable;
    this.#free = filled;
  }

  run(): void {
    this.#arrivals = Array.from({ length: this.#placer.tree.size }, () => []);
    this.#spreadOut();
    this.#indexSlots();
    this.#moveDirectly('free');
    this.#moveAround('free', 'free');
    this.#moveDirectly('any');
    this.#moveAround('any', 'free');
    this.#emptyDrained();
    for (let round = 0; round < MAX_ROUNDS && this.#isUnsettled(); round++) {
      this.#moveAround('any', 'free');
      this.#moveAround('any', 'any');
      this.#pullAround();
    }
    this.#emptyDrained();
  }

  #isUnsettled(): boolean {
    return this.#placer.need.some((need) => need < 0);
  }

  #canMove(slot: number, price: Price): boolean {
    if (this.#free[slot] === 1) return true;
    return price === 'any' && this.#movable[slot % this.#placer.partitions] === 1;
  }

  /** Of a full slot this was its partition's one move; from now on only this slot may go on. */
  #moved(slot: number): void {
    if (this.#free[slot] === 0) this.#movable[slot % this.#placer.partitions] = 0;
    this.#free[slot] = 1;
    this.#arrivals[this.#placer.tierAt[slot]!]!.push(slot);
  }

  /** Filled slots first, since moving them is free, then the others from a random one on. */
  #indexSlots(): void {
    const { tree, tierAt } = this.#placer;
    const start = new Int32Array(tree.size - tree.firstDevice + 1);
    for (const tier of tierAt) if (tier !== EMPTY) start[tier - tree.firstDevice + 1]!++;
    for (let i = 1; i < start.length; i++) start[i]! += start[i - 1]!;
    const next = start.slice();
    this.#slots = new Int32Array(start.at(-1)!);
    const offset = this.#random.below(this.#placer.partitions);
    for (const filled of [1, 0]) {
      for (let i = 0; i < tierAt.length; i++) {
        const slot = (i + offset) % tierAt.length;
        if (this.#free[slot] !== filled || tierAt[slot] === EMPTY) continue;
        this.#slots[next[tierAt[slot]! - tree.firstDevice]!++] = slot;
      }
    }
    this.#start = start;
  }

  #spreadOut(): void {
    const placer = this.#placer;
    const required: number[] = [];
    for (let tier = 1; tier < placer.tree.size; tier++)
      if (placer.floor[tier]! > 0) required.push(tier);
    for (let partition = 0; partition < placer.partitions; partition++) {
      placer.load(partition);
      const tier = this.#tooClose(partition, required);
      if (tier !== EMPTY) this.#spreadPartition(partition, tier);
      placer.unload(partition);
    }
  }

  /** The topmost tier whose children hold too many or too few of the loaded partition, or EMPTY. */
  #tooClose(partition: number, required: readonly number[]): number {
    const { count, ceiling, floor, tree, tierAt } = this.#placer;
    let worst = EMPTY;
    const note = (tier: number): void => {
      if (worst === EMPTY || tree.depth[tier]! < tree.depth[worst]!) worst = tier;
    };
    for (let column = 0; column < this.#placer.columns; column++) {
      const slot = this.#placer.slot(column, partition);
      if (slot < 0 || tierAt[slot] === EMPTY) continue;
      for (let tier = tierAt[slot]!; tier > 0; tier = tree.parent[tier]!) {
        // A tier that should hold nothing is not too crowded but drained: the moves after this do it.
        if (count[tier]! > ceiling[tier]! && ceiling[tier]! > 0) note(tier);
      }
    }
    for (const tier of required) if (count[tier]! < floor[tier]!) note(tier);
    return worst === EMPTY ? EMPTY : tree.parent[worst]!;
  }

  /** Moves the replica under `above` that is most in excess to where one is missing. */
  #spreadPartition(partition: number, above: number): void {
    const placer = this.#placer;
    let source = -1;
    let sourceExcess = 0;
    for (let column = 0; column < placer.columns; column++) {
      const slot = placer.slot(column, partition);
      if (slot < 0 || placer.tierAt[slot] === EMPTY || !this.#canMove(slot, 'any')) continue;
      const excess = this.#excess(placer.tierAt[slot]!, above);
      if (excess > sourceExcess) {
        source = slot;
        sourceExcess = excess;
      }
    }
    if (source < 0) return;
    const from = placer.take(source);
    const to = placer.choose(above);
    placer.put(source, to === EMPTY ? from : to);
    if (to !== EMPTY && to !== from) this.#moved(source);
  }

  /** How much the loaded partition wants its replica on `device` elsewhere under `above`; 0: not. */
  #excess(device: number, above: number): number {
    const placer = this.#placer;
    const child = placer.ancestor(device, placer.tree.depth[above]! + 1);
    if (placer.tree.parent[child] !== above || placer.count[child]! <= placer.floor[child]!)
      return 0;
    const over = placer.count[child]! > placer.ceiling[child]! ? 1e9 : 0;
    const keepsFloors = placer.canLose(device, above) ? 1e8 : 0;
    return 1 + over + keepsFloors + Math.min(1e7, Math.max(0, -placer.need[device]!));
  }

  /** Tier by tier from the root: moves between different children of tiers at that depth. */
  #moveDirectly(price: Price): void {
    const { tree } = this.#placer;
    for (let depth = DEPTH.root; depth < DEPTH.device; depth++) {
      for (let device = tree.firstDevice; device < tree.size; device++) {
        const above = this.#placer.ancestor(device, depth);
        if (!this.#placer.isOver(device, above)) continue;
        this.#relieve(device, above, price, Number.POSITIVE_INFINITY);
      }
    }
  }

  /** Moves up to `most` slots from `device` to hungry devices elsewhere under `above`. */
  #relieve(device: number, above: number, price: Price, most: number): number {
    const placer = this.#placer;
    let moves = 0;
    for (const slot of this.#slotsOf(device)) {
      if (moves >= most || !placer.isOver(device, above)) break;
      if (placer.tierAt[slot] !== device || !this.#canMove(slot, price)) continue;
      if (this.#moveHungry(slot, above)) moves++;
    }
    return moves;
  }

  *#slotsOf(device: number): Generator<number> {
    yield* this.#arrivals[device]!.slice();
    const index = device - this.#placer.tree.firstDevice;
    for (let i = this.#start[index]!; i < this.#start[index + 1]!; i++) yield this.#slots[i]!;
  }

  #moveHungry(slot: number, above: number): boolean {
    const placer = this.#placer;
    const partition = slot % placer.partitions;
    let moved = false;
    placer.load(partition);
    if (placer.canLose(placer.tierAt[slot]!, above)) {
      const from = placer.take(slot);
      const to = placer.choose(above, true);
      moved = to !== EMPTY && to !== from;
      placer.put(slot, moved ? to : from);
      if (moved) this.#moved(slot);
    }
    placer.unload(partition);
    return moved;
  }

  /** What no direct move could cure: by way of a device that passes another slot on. */
  #moveAround(price: Price, onward: Price): void {
    const placer = this.#placer;
    let tries = MAX_DETOURS_IN_ALL;
    for (let device = placer.tree.firstDevice; device < placer.tree.size; device++) {
      let left = MAX_DETOURS * Math.max(0, -placer.need[device]!);
      if (left === 0) continue;
      for (const slot of this.#slotsOf(device)) {
        if (placer.need[device]! >= 0 || left-- <= 0 || tries-- <= 0) break;
        if (placer.tierAt[slot] === device && this.#canMove(slot, price))
          this.#detour(slot, onward);
      }
    }
  }

  /** Moves `slot` to a device at its quota, and one slot of that device on to a hungry one. */
  #detour(slot: number, onward: Price): void {
    const placer = this.#placer;
    const partition = slot % placer.partitions;
    const wasMovable = this.#movable[partition]!;
    const wasFree = this.#free[slot]!;
    const from = placer.tierAt[slot]!;
    const to = this.#replace(slot);
    if (to === from) return;
    this.#moved(slot);
    if (placer.need[to]! >= 0 || this.#relieve(to, placer.firstNotOver(to), onward, 1) > 0) return;
    placer.load(partition);
    placer.take(slot);
    placer.put(slot, from);
    placer.unload(partition);
    this.#movable[partition] = wasMovable;
    this.#free[slot] = wasFree;
  }

  /** Puts a slot where its partition wants it most; returns the device it is on then. */
  #replace(slot: number): number {
    const placer = this.#placer;
    const partition = slot % placer.partitions;
    placer.load(partition);
    const from = placer.take(slot);
    const to = placer.chooseInstead(from);
    placer.put(slot, to === EMPTY ? from : to);
    placer.unload(partition);
    return placer.tierAt[slot]!;
  }

  /** A drained device must become empty, even where a neighbour then holds one replica too many. */
  #emptyDrained(): void {
    const placer = this.#placer;
    for (let device = placer.tree.firstDevice; device < placer.tree.size; device++) {
      if (placer.ceiling[device]! > 0 || placer.need[device]! >= 0) continue;
      for (const slot of this.#slotsOf(device)) {
        if (placer.tierAt[slot] !== device || !this.#canMove(slot, 'any')) continue;
        const partition = slot % placer.partitions;
        placer.load(partition);
        const to = placer.chooseInstead(placer.take(slot));
        placer.put(slot, to === EMPTY ? placer.chooseAnywhere() : to);
        placer.unload(partition);
        this.#moved(slot);
      }
    }
  }

  /**
   * The other way round: a device that still lacks something takes it from one at its quota, which is
   * then given something by one above. Finds what starting from above cannot, where nearly every
   * partition is at the hungry tier's ceiling already.
   */
  #pullAround(): void {
    const { tree, need, partitions } = this.#placer;
    let tries = MAX_PULLS;
    for (let device = tree.firstDevice; device < tree.size; device++) {
      for (let partition = 0; partition < partitions && need[device]! > 0; partition++) {
        if (tries-- <= 0) return;
        this.#pull(partition, device);
      }
    }
  }

  #pull(partition: number, device: number): void {
    const placer = this.#placer;
    for (let column = 0; column < placer.columns; column++) {
      const slot = placer.slot(column, partition);
      if (slot < 0 || !this.#canMove(slot, 'any')) continue;
      const from = placer.tierAt[slot]!;
      placer.load(partition);
      const possible = placer.need[from]! <= 0 && placer.canMove(from, device);
      if (possible) {
        placer.take(slot);
        placer.put(slot, device);
      }
      placer.unload(partition);
      if (possible && this.#keepPull(slot, from)) return;
    }
  }

  /** Finds the giver something from a device above its quota; otherwise takes the move back. */
  #keepPull(slot: number, from: number): boolean {
    const placer = this.#placer;
    const partition = slot % placer.partitions;
    const wasMovable = this.#movable[partition]!;
    const wasFree = this.#free[slot]!;
    this.#moved(slot);
    if (placer.need[from]! <= 0) return true;
    for (let over = placer.tree.firstDevice; over < placer.tree.size; over++) {
      if (placer.need[over]! >= 0) continue;
      if (this.#relieve(over, placer.firstNotOver(over), 'any', 1) > 0) return true;
    }
    placer.load(partition);
    placer.take(slot);
    placer.put(slot, from);
    placer.unload(partition);
    this.#movable[partition] = wasMovable;
    this.#free[slot] = wasFree;
    return false;
  }
}
