/**
 * The partitions that a device is a primary of, by its ring, with whom it shares them. Computed once
 * per ring: it is a walk over all partitions.
 */
import { BUCKET_BITS } from '#device/contract.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';

export interface BucketRange {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

export interface OwnPartition {
  readonly partition: number;
  readonly buckets: BucketRange;
  /** Whom to learn from: the other primaries; of the former set, where the device is joining. */
  readonly others: readonly RingDevice[];
  /** How many complete ones of them it takes to know everything that was acknowledged. */
  readonly needed: number;
  /** The device keeps bodies, not only states. */
  readonly holdsBodies: boolean;
}

export class OwnPartitions {
  readonly #byRing = new WeakMap<Ring, Map<number, readonly OwnPartition[]>>();

  of(ring: Ring, device: number): readonly OwnPartition[] {
    let byDevice = this.#byRing.get(ring);
    if (byDevice === undefined) {
      byDevice = allPartitions(ring);
      this.#byRing.set(ring, byDevice);
    }
    return byDevice.get(device) ?? [];
  }
}

function allPartitions(ring: Ring): Map<number, OwnPartition[]> {
  const byDevice = new Map<number, OwnPartition[]>();
  for (let partition = 0; partition < ring.partitions; partition++) {
    const { primaries, former } = ring.placement(partition);
    for (const [replica, { id }] of primaries.entries()) {
      const joining = former !== undefined && !former.some((other) => other.id === id);
      const set = joining ? former : primaries;
      const own = {
        partition,
        buckets: bucketsOf(partition, ring.partPower),
        others: set.filter((other) => other.id !== id),
        needed: joining
          ? majority(former.length)
          : primaries.length - majority(primaries.length) + 1,
        holdsBodies: replica < ring.copies,
      };
      const list = byDevice.get(id);
      if (list === undefined) byDevice.set(id, [own]);
      else list.push(own);
    }
  }
  return byDevice;
}

/** A ring finer than the buckets shares a bucket between partitions: the whole bucket counts. */
function bucketsOf(partition: number, partPower: number): BucketRange {
  const scale = 2 ** (BUCKET_BITS - partPower);
  const from = Math.floor(partition * scale);
  return { from, to: Math.max(from + 1, Math.floor((partition + 1) * scale)) };
}

function majority(replicas: number): number {
  return Math.floor(replicas / 2) + 1;
}
