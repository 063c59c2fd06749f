/**
 * Whose knowledge a ring change rests on (consistency.md, "Ring change").
 *
 * What was acknowledged under OLD is on W of OLD. Once a partition is settled a read hears R of NEW
 * alone, so any R of NEW must hold a device that knows all of it: one that has joined W fenced
 * members of OLD, or enough old members themselves. Joining devices always learn. Devices that stay
 * need not, except where the number of replicas shrinks so far that R of NEW may miss W of OLD
 * (5 to 3: written to C, D and E; read from A and B).
 */

/** W = floor(N/2)+1. */
export function majority(replicas: number): number {
  return Math.floor(replicas / 2) + 1;
}

/** Whether a member of NEW must join W fenced members of OLD before the partition may be settled. */
export function mustLearn(
  former: readonly number[],
  primaries: readonly number[],
  device: number,
): boolean {
  if (!former.includes(device)) return true;
  const readers = primaries.length - majority(primaries.length) + 1;
  return readers + majority(former.length) <= former.length;
}
