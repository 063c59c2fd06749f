/**
 * The arithmetic of majorities, in one place, for everything that counts replicas.
 *
 * A key has one set of replicas when its partition is settled, and two (OLD and NEW) while a ring
 * change is under way; then every majority must be one of OLD *and* of NEW. A device in both counts
 * in both. Only answers of complete replicas may be put into the counted set: the caller decides
 * that (a joining device counts in NEW although it is not complete yet; see `countsIn`).
 *
 * N = size of a set, W = floor(N/2)+1, R = N-W+1, so that any W and any R share a replica.
 */

export type DeviceSet = readonly number[];

export function writeQuorum(replicas: number): number {
  return Math.floor(replicas / 2) + 1;
}

export function readQuorum(replicas: number): number {
  return replicas - writeQuorum(replicas) + 1;
}

export interface Member {
  has(device: number): boolean;
}

export class Quorum {
  /** One set, or OLD and NEW; the same of another policy's ring beside them (placement.ts). */
  readonly sets: readonly DeviceSet[];
  readonly #joining: DeviceSet;

  /** `joining`: those that are new to their set. */
  constructor(sets: readonly DeviceSet[], joining: DeviceSet = []) {
    this.sets = sets;
    this.#joining = joining;
  }

  /** W of every set. */
  isWrite(counted: Member): boolean {
    return this.sets.every((set) => count(set, counted) >= writeQuorum(set.length));
  }

  /** R of every set. */
  isRead(counted: Member): boolean {
    return this.sets.every((set) => count(set, counted) >= readQuorum(set.length));
  }

  /** Whether W of every set can still be had when `lost` will never count. */
  canWrite(lost: Member): boolean {
    return this.sets.every((set) => set.length - count(set, lost) >= writeQuorum(set.length));
  }

  canRead(lost: Member): boolean {
    return this.sets.every((set) => set.length - count(set, lost) >= readQuorum(set.length));
  }

  /** How many more answers a read needs at the very least. */
  readShortfall(counted: Member): number {
    return Math.max(...this.sets.map((set) => readQuorum(set.length) - count(set, counted)), 0);
  }

  /** Whether one more answer of this device would bring a read nearer to its quorum. */
  helpsRead(device: number, counted: Member): boolean {
    if (counted.has(device)) return false;
    return this.sets.some(
      (set) => set.includes(device) && count(set, counted) < readQuorum(set.length),
    );
  }

  /**
   * Whether an answer of this device counts: a complete replica does; while joint, a joining device
   * (in NEW, not in OLD) does too, because OLD's majority supplies what it lacks. Alone it never
   * does: OLD must have its own majority of devices that are complete.
   */
  countsIn(device: number, complete: boolean): boolean {
    if (this.#joining.includes(device)) return true;
    return complete && this.sets.some((set) => set.includes(device));
  }
}

function count(set: DeviceSet, members: Member): number {
  let n = 0;
  for (const device of set) if (members.has(device)) n++;
  return n;
}
