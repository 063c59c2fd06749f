/**
 * One sum for everything that two devices, or two nodes, share in a ring: a hash over the sums of the
 * partitions of which one device is a primary and the other one of those it learns from. Both sides
 * work it out from their own ring and their own digests, so equal sums (of equal ring versions) mean
 * equal states, and a pair of nodes in sync costs 24 bytes per ring however many objects there are.
 *
 * A sum is kept until the digests of its device have changed: an idle node works nothing out.
 */
import { createHash } from 'node:crypto';
import type { PolicyIndex } from '#base/names.ts';
import { ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';

export interface RangeSum {
  readonly sum: Buffer;
  readonly total: number;
}

/** The digests of one device and ring: its objects', or its rows'. */
export interface SumSource {
  /** Whose sums: a device that was opened anew counts its changes anew. */
  readonly of: object;
  /** Another number whenever a sum may be another. */
  readonly changes: number;
  summarise(from: number, to: number): RangeSum;
}

export type SumSources = (device: number, policy: PolicyIndex) => SumSource | undefined;

/** Two devices that share partitions. */
export interface DevicePair {
  /** On the node that asks. */
  readonly asker: number;
  /** On the node that is asked. */
  readonly asked: number;
  /** Buckets of the shared partitions, [from, to, from, to ...]: whole ones, whose sums are kept. */
  readonly bounds: readonly number[];
}

interface Kept {
  readonly of: object;
  readonly changes: number;
  readonly sum: Buffer;
}

export const SUM_BYTES = 16;
const MAX_KEPT = 20_000;

export class PairSums {
  readonly #sources: SumSources;
  readonly #pairs = new WeakMap<Ring, Map<string, readonly DevicePair[]>>();
  #kept = new WeakMap<DevicePair, Map<number, Kept>>();
  #size = 0;

  constructor(sources: SumSources) {
    this.#sources = sources;
  }

  /** The pairs of devices of two nodes, in the same order on both of them. */
  pairs(ring: Ring, askerNode: string, askedNode: string): readonly DevicePair[] {
    let byNodes = this.#pairs.get(ring);
    if (byNodes === undefined) this.#pairs.set(ring, (byNodes = new Map()));
    const key = JSON.stringify([askerNode, askedNode]);
    let pairs = byNodes.get(key);
    if (pairs === undefined) {
      pairs = sharedPairs(ring, askerNode, askedNode);
      byNodes.set(key, pairs);
    }
    return pairs;
  }

  /** What `device`, one of the pair, holds of it; undefined: it is not to be had here now. */
  ofPair(ring: Ring, pair: DevicePair, device: number): Buffer | undefined {
    const source = this.#sources(device, ring.policy);
    if (source === undefined) return undefined;
    const { of, changes } = source;
    const known = this.#kept.get(pair)?.get(device);
    if (known?.of === of && known.changes === changes) return known.sum;
    const sum = sumOf(source, pair.bounds);
    this.#keep(pair, device, { of, changes, sum });
    return sum;
  }

  /** One sum over all pairs of two nodes; undefined where one of the devices is not to be had. */
  ofNodes(ring: Ring, pairs: readonly DevicePair[], side: 'asker' | 'asked'): Buffer | undefined {
    const hash = createHash('md5');
    for (const pair of pairs) {
      const sum = this.ofPair(ring, pair, pair[side]);
      if (sum === undefined) return undefined;
      hash.update(sum);
    }
    return hash.digest();
  }

  #keep(pair: DevicePair, device: number, kept: Kept): void {
    if (this.#size >= MAX_KEPT) {
      this.#kept = new WeakMap();
      this.#size = 0;
    }
    const byDevice = this.#kept.get(pair) ?? new Map<number, Kept>();
    if (!byDevice.has(device)) this.#size++;
    byDevice.set(device, kept);
    this.#kept.set(pair, byDevice);
  }
}

function sumOf(source: SumSource, bounds: readonly number[]): Buffer {
  const hash = createHash('md5');
  const total = Buffer.alloc(6);
  for (let i = 0; i < bounds.length; i += 2) {
    const range = source.summarise(bounds[i]!, bounds[i + 1]!);
    total.writeUIntBE(range.total, 0, 6);
    hash.update(range.sum).update(total);
  }
  return hash.digest();
}

function sharedPairs(ring: Ring, askerNode: string, askedNode: string): DevicePair[] {
  const pairs = new Map<string, { asker: number; asked: number; bounds: number[] }>();
  for (const device of ring.devices) {
    if (device?.node !== askerNode) continue;
    for (const { others, buckets } of ownPartitions(ring, device.id)) {
      for (const other of others) {
        if (other.node !== askedNode) continue;
        const key = `${device.id} ${other.id}`;
        const pair = pairs.get(key) ?? { asker: device.id, asked: other.id, bounds: [] };
        addRange(pair.bounds, buckets.from, buckets.to);
        pairs.set(key, pair);
      }
    }
  }
  return [...pairs.values()].sort((a, b) => a.asker - b.asker || a.asked - b.asked);
}

/** Ranges come in ascending order; a ring finer than the buckets names one bucket several times. */
function addRange(bounds: number[], from: number, to: number): void {
  if (from >= (bounds.at(-1) ?? 0)) bounds.push(from, to);
}
