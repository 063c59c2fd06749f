/**
 * The partitions that a device is a primary of, by its ring: what it must know, whom to learn it from.
 * Computed once per ring, for it is a walk over all partitions.
 *
 * A joint partition is its own of every device in either set. All of them learn from the former set,
 * for that is where everything acknowledged is: a joining device W of it, behind a fence; the others,
 * like any primary of a settled partition, R others to make up for what they have lost.
 */
import { BUCKET_BITS } from '#base/hash.ts';
import { majority, mustLearn } from './joint.ts';
import type { Ring, RingDevice } from './ring.ts';

export interface BucketRange {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

export interface OwnPartition {
  readonly partition: number;
  readonly buckets: BucketRange;
  /** Whom to learn from. */
  readonly others: readonly RingDevice[];
  /** How many complete ones of them it takes to know everything that was acknowledged. */
  readonly needed: number;
  /** While joint, where the device must learn: fenced off at this version, and marked with it. */
  readonly learnsAt: number | undefined;
  /** While joint, where the device is of the former set: joining devices may have fenced it off at this version. */
  readonly fencedAt: number | undefined;
  /** The device keeps bodies, not only states. */
  readonly holdsBodies: boolean;
}

/** A ring never changes, so whoever asks shares what was worked out once: it takes megabytes. */
const WORKED_OUT = new WeakMap<Ring, Map<number, readonly OwnPartition[]>>();

/** Ascending. */
export function ownPartitions(ring: Ring, device: number): readonly OwnPartition[] {
  let byDevice = WORKED_OUT.get(ring);
  if (byDevice === undefined) {
    byDevice = allPartitions(ring);
    WORKED_OUT.set(ring, byDevice);
  }
  return byDevice.get(device) ?? [];
}

/** A device and its node, as calls are addressed. */
export interface Peer {
  readonly device: number;
  readonly node: string;
}

/** Which partitions can be learnt from whom. */
export function byPeer(partitions: readonly OwnPartition[]): Map<Peer, OwnPartition[]> {
  const peers = new Map<number, { peer: Peer; theirs: OwnPartition[] }>();
  for (const partition of partitions) {
    for (const { id, node } of partition.others) {
      const known = peers.get(id) ?? { peer: { device: id, node }, theirs: [] };
      known.theirs.push(partition);
      peers.set(id, known);
    }
  }
  return new Map([...peers.values()].map(({ peer, theirs }) => [peer, theirs]));
}

/** Ascending: what of the hash space is in none of the device's own partitions. */
export function foreignRanges(ring: Ring, device: number): readonly BucketRange[] {
  const ranges: BucketRange[] = [];
  let reached = 0;
  const upTo = (end: number): void => {
    if (reached < end) ranges.push({ from: reached, to: end });
  };
  for (const { buckets } of ownPartitions(ring, device)) {
    upTo(buckets.from);
    reached = Math.max(reached, buckets.to);
  }
  upTo(2 ** BUCKET_BITS);
  return ranges;
}

function allPartitions(ring: Ring): Map<number, OwnPartition[]> {
  const byDevice = new Map<number, OwnPartition[]>();
  const add = (device: number, own: OwnPartition): void => {
    const list = byDevice.get(device);
    if (list === undefined) byDevice.set(device, [own]);
    else list.push(own);
  };
  for (let partition = 0; partition < ring.partitions; partition++) {
    const { primaries, former } = ring.placement(partition);
    for (const { id } of primaries) add(id, ownPartition(ring, partition, id));
    for (const { id } of former ?? []) {
      const stays = primaries.some((primary) => primary.id === id);
      if (!stays) add(id, ownPartition(ring, partition, id));
    }
  }
  return byDevice;
}

/** The same of one partition, also of one that is none of the device's: it may hold something of it. */
export function ownPartition(ring: Ring, partition: number, device: number): OwnPartition {
  const { primaries, former, since } = ring.placement(partition);
  const teachers = former ?? primaries;
  const joins = primaries.some(({ id }) => id === device);
  const learns = former !== undefined && joins && mustLearn(ids(former), ids(primaries), device);
  const copies = (set: readonly RingDevice[]): readonly RingDevice[] => set.slice(0, ring.copies);
  return {
    partition,
    buckets: bucketsOf(partition, ring.partPower),
    others: teachers.filter(({ id }) => id !== device),
    needed: learns ? majority(teachers.length) : teachers.length - majority(teachers.length) + 1,
    learnsAt: learns ? since : undefined,
    fencedAt: former?.some(({ id }) => id === device) === true ? since : undefined,
    holdsBodies: [...copies(primaries), ...copies(former ?? [])].some(({ id }) => id === device),
  };
}

/** A ring finer than the buckets shares a bucket between partitions: the whole bucket counts. */
export function bucketsOf(partition: number, partPower: number): BucketRange {
  const scale = 2 ** (BUCKET_BITS - partPower);
  const from = Math.floor(partition * scale);
  return { from, to: Math.max(from + 1, Math.floor((partition + 1) * scale)) };
}

function ids(devices: readonly RingDevice[]): number[] {
  return devices.map(({ id }) => id);
}
