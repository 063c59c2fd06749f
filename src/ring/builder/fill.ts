/**
 * Gives a device to every empty slot: all of a new ring, the slots of removed devices, a new column.
 * Partitions are taken in random order, each replica goes where `Placer.choose` says.
 */
import { EMPTY, type Placer } from './placer.ts';
import type { SeededRandom } from './random.ts';

/** Returns the slots that were empty. */
export function fillEmptySlots(placer: Placer, random: SeededRandom): Uint8Array {
  const filled = new Uint8Array(placer.tierAt.length);
  const roles = new RoleBalance(placer);
  const order = new Uint32Array(placer.partitions).map((_, i) => i);
  random.shuffle(order);
  for (const partition of order) {
    if (hasEmptySlot(placer, partition)) fillPartition(placer, partition, filled, roles);
  }
  return filled;
}

function hasEmptySlot(placer: Placer, partition: number): boolean {
  for (let column = 0; column < placer.columns; column++) {
    const slot = placer.slot(column, partition);
    if (slot >= 0 && placer.tierAt[slot]! === EMPTY) return true;
  }
  return false;
}

function fillPartition(
  placer: Placer,
  partition: number,
  filled: Uint8Array,
  roles: RoleBalance,
): void {
  const slots: number[] = [];
  placer.load(partition);
  for (let column = 0; column < placer.columns; column++) {
    const slot = placer.slot(column, partition);
    if (slot < 0 || placer.tierAt[slot]! !== EMPTY) continue;
    let device = placer.choose(0);
    if (device === EMPTY) device = placer.chooseAnywhere();
    if (device === EMPTY) continue;
    placer.put(slot, device);
    filled[slot] = 1;
    slots.push(slot);
  }
  placer.unload(partition);
  roles.arrange(slots);
}

/**
 * Which of a partition's new devices gets which column. Columns are not alike (the last may hold
 * only states, the first is often read first), so each device gets its share of every column.
 */
class RoleBalance {
  readonly #placer: Placer;
  readonly #held: Int32Array;

  constructor(placer: Placer) {
    this.#placer = placer;
    this.#held = new Int32Array(placer.columns * placer.tree.size);
  }

  arrange(slots: readonly number[]): void {
    const { tierAt, partitions, tree } = this.#placer;
    for (let last = slots.length - 1; last >= 0; last--) {
      const cells = Math.floor(slots[last]! / partitions) * tree.size;
      let least = last;
      for (let i = 0; i < last; i++) {
        if (this.#share(cells, slots[i]!) < this.#share(cells, slots[least]!)) least = i;
      }
      const device = tierAt[slots[least]!]!;
      tierAt[slots[least]!] = tierAt[slots[last]!]!;
      tierAt[slots[last]!] = device;
      this.#held[cells + device]!++;
    }
  }

  /** How much of the column the device of a slot has got already, for its size. */
  #share(cells: number, slot: number): number {
    const device = this.#placer.tierAt[slot]!;
    return this.#held[cells + device]! * this.#placer.perQuota[device]!;
  }
}
