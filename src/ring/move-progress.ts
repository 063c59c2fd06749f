/**
 * How far a ring change has come, from what the storage nodes report of the joint partitions. Pure:
 * whoever drives a change (the authority, the simulator, a person's command) asks every node for its
 * devices' `MoveReport` of the ring version in force, and settles the partitions this names.
 *
 *     change:  v OLD -> plan applied -> v+1 joint -> all NEW members complete -> settled -> ...
 *
 * A report counts for the very ring version that it was made for: another version's rows are others.
 */
import type { Ring } from './ring.ts';

/** One device's part in the joint partitions of one ring version. Bit i is of row i of `ring.joint()`. */
export interface MoveReport {
  readonly device: number;
  readonly policy: number;
  readonly version: number;
  /** It is in the new set, and knows every state that it must know. */
  readonly states: Uint8Array;
  /** ... and has every body that it should have. */
  readonly bodies: Uint8Array;
}

export interface MoveProgress {
  /** Joint partitions. */
  readonly partitions: number;
  /** Replicas that the new sets have more than the former ones, and how far they are. */
  readonly moves: number;
  readonly statesDone: number;
  readonly bodiesDone: number;
  /** Partitions whose new members are all complete: these may be settled. */
  readonly settleable: readonly number[];
  /** Devices in new sets of which no report counts: nothing is known of their part. */
  readonly silent: readonly number[];
}

export function progressOf(ring: Ring, reports: Iterable<MoveReport>): MoveProgress {
  const byDevice = reportsFor(ring, reports);
  const settleable: number[] = [];
  const silent = new Set<number>();
  let moves = 0;
  let statesDone = 0;
  let bodiesDone = 0;
  ring.joint().forEach((partition, row) => {
    const { primaries, former = [] } = ring.placement(partition);
    let complete = true;
    for (const { id } of primaries) {
      const report = byDevice.get(id);
      const hasStates = report !== undefined && hasBit(report.states, row);
      if (report === undefined) silent.add(id);
      if (!hasStates) complete = false;
      if (former.some((device) => device.id === id)) continue;
      moves++;
      if (hasStates) statesDone++;
      if (report !== undefined && hasBit(report.bodies, row)) bodiesDone++;
    }
    if (complete) settleable.push(partition);
  });
  const partitions = ring.joint().length;
  return { partitions, moves, statesDone, bodiesDone, settleable, silent: [...silent].sort() };
}

function reportsFor(ring: Ring, reports: Iterable<MoveReport>): Map<number, MoveReport> {
  const byDevice = new Map<number, MoveReport>();
  for (const report of reports) {
    const isOfThis = report.policy === ring.policy && report.version === ring.version;
    if (isOfThis) byDevice.set(report.device, report);
  }
  return byDevice;
}

/** A report that is too short says nothing of the rest. */
function hasBit(bits: Uint8Array, index: number): boolean {
  return ((bits[index >>> 3] ?? 0) & (1 << (index & 7))) !== 0;
}

export function setBit(bits: Uint8Array, index: number): void {
  bits[index >>> 3]! |= 1 << (index & 7);
}

export function bitsFor(count: number): Uint8Array {
  return new Uint8Array(Math.ceil(count / 8));
}
