/**
 * Digests of ranges of hash buckets, summed from the containers in them.
 *
 * Peers compare whole partitions again and again, so the sums of groups of buckets (the top
 * GROUP_BITS of the hash) are kept in memory: read from the table when first asked for, then changed
 * with every commit. Only a range finer than a group reads the table again.
 */
import { assert } from '#base/assert.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { DigestSummary } from '#device/contract.ts';
import type { ContainerLine, ContainerTable } from './container-table.ts';
import { addTerm, type Sum, subtractTerm, sumToBytes, zeroSum } from './digest.ts';

/** As device/contract.ts has it, which only gives types to its neighbours; the test compares. */
export const BUCKET_BITS = 20;
const BUCKETS = 2 ** BUCKET_BITS;
const GROUP_BITS = 12;
const GROUP_WIDTH = 2 ** (BUCKET_BITS - GROUP_BITS);
/** Buckets of which the groups are read at once. */
const LOAD_WIDTH = GROUP_WIDTH * 64;
const PAGE = 1000;

type Counted = Pick<ContainerLine, 'digest' | 'rows' | 'total'>;

class Part implements Counted {
  readonly digest: Sum = zeroSum();
  rows = 0;
  total = 0;

  add({ digest, rows, total }: Counted): void {
    if (total === 0) return;
    addTerm(this.digest, sumToBytes(digest));
    this.rows += rows;
    this.total += total;
  }

  subtract({ digest, rows, total }: Counted): void {
    subtractTerm(this.digest, sumToBytes(digest));
    this.rows -= rows;
    this.total -= total;
  }

  summary(): DigestSummary {
    return { sum: sumToBytes(this.digest), live: this.rows, total: this.total };
  }
}

export class Summaries {
  readonly #lines: ContainerTable;
  readonly #groups = new Map<number, Part>();

  constructor(lines: ContainerTable) {
    this.#lines = lines;
  }

  /** Splits the buckets [from, to) into `parts` equal ranges; one summary each. */
  summarise(ring: PolicyIndex, from: number, to: number, parts: number): DigestSummary[] {
    assert(from >= 0 && from < to && to <= BUCKETS, 'a range of buckets');
    assert(parts >= 1 && (to - from) % parts === 0, 'equal parts');
    const width = (to - from) / parts;
    return Array.from({ length: parts }, (_, i) => {
      return this.#range(ring, from + i * width, from + (i + 1) * width).summary();
    });
  }

  /** A line changed from one state to another, durably. */
  changed(before: ContainerLine, after: ContainerLine): void {
    const group = this.#groups.get(groupKey(after.ring, bucketOf(after.hash)));
    if (group === undefined) return;
    if (before.id !== 0) group.subtract(before);
    group.add(after);
  }

  #range(ring: PolicyIndex, from: number, to: number): Part {
    const whole = new Part();
    for (let bucket = from; bucket < to; ) {
      const isGroup = bucket % GROUP_WIDTH === 0 && bucket + GROUP_WIDTH <= to;
      const nextGroup = bucket - (bucket % GROUP_WIDTH) + GROUP_WIDTH;
      const end = isGroup ? bucket + GROUP_WIDTH : Math.min(to, nextGroup);
      const part = isGroup ? this.#group(ring, bucket) : this.#read(ring, bucket, end);
      whole.add(part);
      bucket = end;
    }
    return whole;
  }

  #group(ring: PolicyIndex, bucket: number): Part {
    const known = this.#groups.get(groupKey(ring, bucket));
    if (known !== undefined) return known;
    this.#load(ring, bucket - (bucket % LOAD_WIDTH));
    return this.#groups.get(groupKey(ring, bucket))!;
  }

  /** Many groups in one pass: most are empty, and each would cost a look of its own. */
  #load(ring: PolicyIndex, from: number): void {
    const loaded: Part[] = [];
    for (let bucket = from; bucket < from + LOAD_WIDTH; bucket += GROUP_WIDTH)
      loaded.push(new Part());
    this.#each(ring, from, from + LOAD_WIDTH, (line) => {
      loaded[Math.floor((bucketOf(line.hash) - from) / GROUP_WIDTH)]!.add(line);
    });
    for (const [i, part] of loaded.entries()) {
      const key = groupKey(ring, from + i * GROUP_WIDTH);
      if (!this.#groups.has(key)) this.#groups.set(key, part);
    }
  }

  #read(ring: PolicyIndex, from: number, to: number): Part {
    const part = new Part();
    this.#each(ring, from, to, (line) => part.add(line));
    return part;
  }

  #each(ring: PolicyIndex, from: number, to: number, visit: (line: ContainerLine) => void): void {
    const end = to === BUCKETS ? undefined : firstHash(to);
    let next = firstHash(from);
    for (;;) {
      const page = this.#lines.range(ring, next, end, PAGE);
      for (const line of page) visit(line);
      if (page.length < PAGE) return;
      next = Buffer.concat([page.at(-1)!.hash, Buffer.from([0])]);
    }
  }
}

function groupKey(ring: PolicyIndex, bucket: number): number {
  return ring * 2 ** GROUP_BITS + Math.floor(bucket / GROUP_WIDTH);
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
