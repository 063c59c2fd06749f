/**
 * Floors: up to which ballot this device may have promised something that it does not know any more,
 * because the promise was forgotten by age, or went with what made the device incomplete.
 *
 * What a floor forbids is what a forgotten promise would have: a plain write at or below it is sent
 * through the rounds, and a state at or below it is not told as certain (a record that was accepted
 * elsewhere under the forgotten promise may still surface over it, without ever having seen it).
 *
 * One floor for each of 1,024 slots of a ring's hash space: coarse, since a floor that is too high costs
 * only a round, and bounded, since it lives as long as the device.
 */
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { EntryKey } from './contract.ts';
import { BUCKETS, bucketOf } from './digest-table.ts';

export const FLOOR_SLOTS = 1024;
const BUCKETS_PER_SLOT = BUCKETS / FLOOR_SLOTS;

/** [from, to) in slots. */
export interface Floor {
  readonly from: number;
  readonly to: number;
  readonly timestamp: Timestamp;
}

export class Floors {
  readonly #slots = new Map<number, Timestamp[]>();

  at(policy: number, hash: Buffer): Timestamp {
    return this.#slots.get(policy)?.[slotOf(hash)] ?? ZERO_TIMESTAMP;
  }

  raise(policy: number, { from, to, timestamp }: Floor): void {
    let slots = this.#slots.get(policy);
    if (slots === undefined) {
      slots = new Array<Timestamp>(FLOOR_SLOTS).fill(ZERO_TIMESTAMP);
      this.#slots.set(policy, slots);
    }
    for (let slot = from; slot < to; slot++) slots[slot] = maxTimestamp(slots[slot]!, timestamp);
  }

  /** All that are above nothing, as few ranges as possible. */
  *all(): Generator<{ readonly policy: number; readonly floors: Floor[] }> {
    for (const [policy, slots] of this.#slots) yield { policy, floors: ranges(slots) };
  }
}

/** The floors that stand for these promises once they are forgotten, by ring. */
export function floorsOver(
  promises: readonly { readonly key: EntryKey; readonly ballot: Timestamp }[],
): Map<number, Floor[]> {
  const floors = new Floors();
  for (const { key, ballot } of promises) {
    const from = slotOf(key.hash);
    floors.raise(key.policy, { from, to: from + 1, timestamp: ballot });
  }
  return new Map([...floors.all()].map(({ policy, floors }) => [policy, floors]));
}

function slotOf(hash: Buffer): number {
  return Math.floor(bucketOf(hash) / BUCKETS_PER_SLOT);
}

/** The slots that these buckets touch. */
export function slotsOf(fromBucket: number, toBucket: number): { from: number; to: number } {
  return {
    from: Math.floor(fromBucket / BUCKETS_PER_SLOT),
    to: Math.ceil(toBucket / BUCKETS_PER_SLOT),
  };
}

function ranges(slots: readonly Timestamp[]): Floor[] {
  const floors: Floor[] = [];
  for (let from = 0; from < slots.length; ) {
    const timestamp = slots[from]!;
    let to = from + 1;
    while (to < slots.length && slots[to] === timestamp) to++;
    if (timestamp !== ZERO_TIMESTAMP) floors.push({ from, to, timestamp });
    from = to;
  }
  return floors;
}
