/**
 * Which calls a device takes, by the ring version they were placed by (consistency.md, "Ring change").
 *
 * Neighbouring versions may be in use together, v and v+2 never. A fence makes it so before v+2 is
 * there: it refuses what was placed before the partition became joint. The other way round, a device whose
 * node has not heard that the change may be over refuses who has. And a device that is no primary
 * any more says so (`moved`) to whoever still takes it for one: its ignorance must not be a 404.
 * Hashes decide, never partition numbers from the wire: rings of two versions may cut differently.
 */
import { OperatingError } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { ClusterSource } from './cluster.ts';
import type { Ring } from './ring.ts';

export interface PlacedCall {
  readonly policy: PolicyIndex;
  readonly ringVersion: number;
  /** Absent where a call is about a range: what it tells counts for nothing by itself. */
  readonly hash?: Buffer;
}

/** What of a device matters here (`device/contract.ts`). */
export interface CheckedDevice {
  readonly id: number;
  readonly versions: {
    fenceOf(policy: PolicyIndex, hash: Buffer): number;
    fenceIn(policy: PolicyIndex, from: number, to: number): number;
    readonly forgetful: boolean;
  };
  readonly completeness: { isComplete(policy: PolicyIndex, hash: Buffer): boolean };
}

/** All of a cluster (`cluster.ts`). */
type Rings = { readonly rings: ReadonlyMap<PolicyIndex, Ring> };

/** `cluster`: as this node knows it. @throws OperatingError `ring-old`, `ring-unknown`, `moved` */
export function checkPlaced(
  device: CheckedDevice,
  cluster: Pick<ClusterSource, 'current' | 'seek'>,
  { policy, ringVersion, hash }: PlacedCall,
): void {
  const ring = cluster.current().rings.get(policy);
  const own = ring?.version ?? 0;
  if (ringVersion > own) cluster.seek();
  if (ringVersion + 1 < own) throw ringOld(policy, ringVersion, own);
  if (hash === undefined) return;
  const fence = fenceOf(device, ring, policy, hash);
  if (ringVersion < fence) throw ringOld(policy, ringVersion, fence);
  if (ringVersion > own && isChanging(device, ring, hash)) {
    const facts = { policy, version: ringVersion, own };
    throw new OperatingError('ring-unknown', 'this node has not got that ring yet', facts);
  }
  if (ringVersion < own && hasMoved(device, ring!, policy, hash)) {
    const facts = { policy, device: device.id, own };
    throw new OperatingError('moved', 'this device is no primary of the partition any more', facts);
  }
}

/**
 * Who compares ranges may become complete of what it is told, and has forgotten a fence of its own: a device that was
 * wiped must know the new ring before it counts again.
 * @throws OperatingError `ring-old`
 */
export function checkRanges(
  { versions }: Pick<CheckedDevice, 'versions'>,
  { policy, ringVersion }: Omit<PlacedCall, 'hash'>,
  ranges: readonly (readonly [from: number, to: number])[],
): void {
  for (const [from, to] of ranges) {
    const fence = versions.fenceIn(policy, from, to);
    if (ringVersion < fence) throw ringOld(policy, ringVersion, fence);
  }
}

/**
 * A device that was fenced before its node has the new ring must not act on the old one itself.
 * @throws OperatingError `ring-old`
 */
export function checkOwnRing(device: CheckedDevice, ring: Ring, hash: Buffer): void {
  const fence = fenceOf(device, ring, ring.policy, hash);
  if (ring.version < fence) throw ringOld(ring.policy, ring.version, fence);
}

/** The least ring version by which this device may act, or be asked to, for this hash. */
function fenceOf(
  { versions }: CheckedDevice,
  ring: Ring | undefined,
  policy: PolicyIndex,
  hash: Buffer,
): number {
  const fence = versions.fenceOf(policy, hash);
  if (!versions.forgetful || ring === undefined) return fence;
  return Math.max(fence, ring.placement(ring.partitionOf(hash)).since ?? 0);
}

/**
 * A device that was removed is never taken anything from again: what it holds may have been deleted, and
 * the deletion reclaimed, since (consistency.md, "Reclaim"). Its number is never given to another one.
 * `from`: the device on whose behalf a peer sends what it holds; absent where a proxy sends.
 * @throws OperatingError `removed`
 */
export function checkSender({ rings }: Rings, from: number | undefined): void {
  if (from === undefined || isMember({ rings }, from)) return;
  throw new OperatingError('removed', 'what a removed device holds is not taken', { device: from });
}

/** Some ring names it: then it takes part in what reclaim waits for. */
export function isMember({ rings }: Rings, device: number): boolean {
  for (const ring of rings.values()) if (ring.device(device) !== undefined) return true;
  return false;
}

/**
 * By this node's own ring the partition is changing sets, and by the caller's it may have changed. What the caller
 * would be told, or have acknowledged, the new set alone must know; and a device that loses it, and is filled again
 * by the joint ring, learns from the former set, which need not have heard of it.
 */
function isChanging({ id }: CheckedDevice, ring: Ring | undefined, hash: Buffer): boolean {
  if (ring === undefined) return false;
  const { primaries, former } = ring.placement(ring.partitionOf(hash));
  // A stand-in promises nothing.
  return former !== undefined && [...primaries, ...former].some((device) => device.id === id);
}

/** It was a primary (it is complete there still), and is none by the ring in force. */
function hasMoved(device: CheckedDevice, ring: Ring, policy: PolicyIndex, hash: Buffer): boolean {
  if (!device.completeness.isComplete(policy, hash)) return false;
  const { primaries, former = [] } = ring.placement(ring.partitionOf(hash));
  return ![...primaries, ...former].some(({ id }) => id === device.id);
}

function ringOld(policy: PolicyIndex, version: number, own: number): OperatingError {
  const facts = { policy, version, own };
  return new OperatingError('ring-old', 'placed by a ring too old', facts);
}
