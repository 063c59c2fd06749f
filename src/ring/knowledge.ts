/**
 * Whether a device knows all that it must know of a partition, and how that is put on record: complete
 * for the range, and, where a ring change made it learn, marked with the version of that change.
 */
import type { PolicyIndex } from '#base/names.ts';
import { type Coverage, coverageOf } from './coverage.ts';
import type { Fence } from './fence.ts';
import { type OwnPartition, ownPartitions } from './own-partitions.ts';
import type { Ring } from './ring.ts';

type Ranges = readonly (readonly [from: number, to: number])[];

/** What of a device matters here (`device/contract.ts`). */
export interface KnowingDevice {
  readonly id: number;
  readonly completeness: {
    /** The very same list until it is another. */
    ranges(policy: PolicyIndex): readonly { readonly from: number; readonly to: number }[];
    mark(policy: PolicyIndex, from: number, to: number, complete: boolean): Promise<void>;
  };
  readonly versions: {
    fence(policy: PolicyIndex, ranges: Ranges, version: number): Promise<void>;
    learntOf(policy: PolicyIndex, from: number, to: number): number;
    learnt(policy: PolicyIndex, ranges: Ranges, version: number): Promise<void>;
  };
}

/** `coverage`: of what the device is complete for. */
export function isKnown(
  { versions }: KnowingDevice,
  policy: PolicyIndex,
  { buckets: { from, to }, learnsAt }: OwnPartition,
  coverage: Coverage,
): boolean {
  if (!coverage.has(from, to)) return false;
  return learnsAt === undefined || versions.learntOf(policy, from, to) >= learnsAt;
}

/** Of settled rings, by what the device is complete for: asked every few seconds, and seldom another. */
const WORKED_OUT = new WeakMap<object, WeakMap<Ring, readonly OwnPartition[]>>();

/** The partitions of a device that it does not know all of. */
export function unknownPartitions(device: KnowingDevice, ring: Ring): readonly OwnPartition[] {
  const ranges = device.completeness.ranges(ring.policy);
  const isSettled = ring.jointPartitions === 0;
  const before = isSettled ? WORKED_OUT.get(ranges)?.get(ring) : undefined;
  if (before !== undefined) return before;
  const coverage = coverageOf(ranges);
  const unknown = ownPartitions(ring, device.id).filter(
    (partition) => !isKnown(device, ring.policy, partition, coverage),
  );
  if (!isSettled) return unknown;
  const byRing = WORKED_OUT.get(ranges) ?? new WeakMap<Ring, readonly OwnPartition[]>();
  WORKED_OUT.set(ranges, byRing.set(ring, unknown));
  return unknown;
}

/**
 * First what was learnt, then complete: a crash between the two only makes it learn again. Before both the
 * fences, for what made the device incomplete may have taken them along, and a joining one rests on them.
 */
export async function markKnown(
  device: KnowingDevice,
  policy: PolicyIndex,
  partitions: readonly OwnPartition[],
): Promise<void> {
  await fenceAgain(device, policy, partitions);
  const learnt = byVersion(partitions, ({ learnsAt }) => learnsAt);
  await Promise.all(
    learnt.map(([version, ranges]) => device.versions.learnt(policy, ranges, version)),
  );
  // At once: they share one record and one sync.
  const marks = partitions.map(({ buckets: { from, to } }) =>
    device.completeness.mark(policy, from, to, true),
  );
  await Promise.all(marks);
}

/** Raises every fence that a joining device may have asked for. Callers refused without need fetch the ring. */
export async function fenceAgain(
  { versions }: { readonly versions: Pick<KnowingDevice['versions'], 'fence'> },
  policy: PolicyIndex,
  partitions: readonly OwnPartition[],
): Promise<void> {
  const fences = byVersion(partitions, ({ fencedAt }) => fencedAt);
  await Promise.all(fences.map(([version, ranges]) => versions.fence(policy, ranges, version)));
}

function byVersion(
  partitions: readonly OwnPartition[],
  versionOf: (partition: OwnPartition) => number | undefined,
): [version: number, ranges: Ranges][] {
  const groups = Map.groupBy(partitions, versionOf);
  return [...groups].flatMap(([version, list]) =>
    version === undefined ? [] : [[version, list.map(({ buckets: { from, to } }) => [from, to])]],
  );
}

/** What must be fenced off before these partitions are joined from a peer. */
export function fencesFor(partitions: readonly OwnPartition[]): Fence[] {
  return partitions.flatMap(({ buckets: { from, to }, learnsAt }) =>
    learnsAt === undefined ? [] : [[from, to, learnsAt] as const],
  );
}
