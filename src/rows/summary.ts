/** Digests of ranges of hash buckets, summed from the containers in them. */
import { assert } from '#base/assert.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { DigestSummary } from '#device/contract.ts';
import type { ContainerTable } from './container-table.ts';
import { addTerm, type Sum, sumToBytes, zeroSum } from './digest.ts';

/** As device/contract.ts has it, which only gives types to its neighbours; summary.test.ts compares. */
export const BUCKET_BITS = 20;
const PAGE = 1000;
const BUCKETS = 2 ** BUCKET_BITS;

interface Part {
  readonly sum: Sum;
  live: number;
  total: number;
}

/** Splits the buckets [from, to) into `parts` equal ranges; one summary each. */
export function summarise(
  lines: ContainerTable,
  ring: PolicyIndex,
  from: number,
  to: number,
  parts: number,
): DigestSummary[] {
  assert(from >= 0 && from < to && to <= BUCKETS, 'a range of buckets');
  assert(parts >= 1 && (to - from) % parts === 0, 'equal parts');
  const width = (to - from) / parts;
  const sums: Part[] = Array.from({ length: parts }, () => ({ sum: zeroSum(), live: 0, total: 0 }));
  const end = to === BUCKETS ? undefined : firstHash(to);
  let next = firstHash(from);
  for (;;) {
    const page = lines.range(ring, next, end, PAGE);
    for (const line of page) {
      const part = sums[Math.floor((bucketOf(line.hash) - from) / width)]!;
      addTerm(part.sum, sumToBytes(line.digest));
      part.live += line.rows;
      part.total += line.total;
    }
    if (page.length < PAGE) break;
    next = Buffer.concat([page.at(-1)!.hash, Buffer.from([0])]);
  }
  return sums.map(({ sum, live, total }) => ({ sum: sumToBytes(sum), live, total }));
}

/** The top bits of a hash. */
export function bucketOf(hash: Buffer): number {
  return hash.readUInt32BE(0) >>> (32 - BUCKET_BITS);
}

/** The smallest hash of a bucket. */
export function firstHash(bucket: number): Buffer {
  const hash = Buffer.alloc(16);
  hash.writeUInt32BE((bucket << (32 - BUCKET_BITS)) >>> 0, 0);
  return hash;
}
