/**
 * Digests of ranges of hash buckets, summed from the containers in them.
 *
 * Peers compare whole partitions again and again, so sums are kept in memory: read from the table when
 * first asked for, then changed with every commit. They are kept for groups of buckets (the top
 * GROUP_BITS of the hash) and for every larger aligned range that was asked for. Only a range finer
 * than a group reads the table again.
 */
import { assert } from '#base/assert.ts';
import { BUCKET_BITS } from '#base/hash.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { DigestSummary } from '#device/contract.ts';
import type { ContainerLine, ContainerTable } from './container-table.ts';
import { addTerm, type Sum, subtractTerm, sumToBytes, zeroSum } from './digest.ts';

export { BUCKET_BITS } from '#base/hash.ts';

const BUCKETS = 2 ** BUCKET_BITS;
const GROUP_BITS = 12;
const GROUP_WIDTH = 2 ** (BUCKET_BITS - GROUP_BITS);
/** Buckets of which the groups are read at once. */
const LOAD_WIDTH = GROUP_WIDTH * 64;
const PAGE = 1000;

type Counted = Pick<ContainerLine, 'digest' | 'rows' | 'total'>;

/** Nearly all parts of a small store are empty, and there are thousands: they share one sum. */
const NOTHING = zeroSum();

class Part implements Counted {
  digest: Sum = NOTHING;
  rows = 0;
  total = 0;

  add({ digest, rows, total }: Counted): void {
    if (total === 0) return;
    if (this.digest === NOTHING) this.digest = zeroSum();
    addTerm(this.digest, sumToBytes(digest));
    this.rows += rows;
    this.total += total;
  }

  subtract({ digest, rows, total }: Counted): void {
    if (this.digest === NOTHING) this.digest = zeroSum();
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
  /** By width of the ranges (a power of two, the groups' at least), then by ring and place. */
  readonly #sums = new Map<number, Map<number, Part>>([[GROUP_WIDTH, new Map()]]);
  #changes = 0;

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

  /** Another number whenever a sum may be another. */
  get changes(): number {
    return this.#changes;
  }

  /** A line changed from one state to another, durably. */
  changed(before: ContainerLine, after: ContainerLine): void {
    this.#changes++;
    for (const [width, sums] of this.#sums) {
      const sum = sums.get(placeOf(after.ring, bucketOf(after.hash), width));
      if (sum === undefined) continue;
      if (before.id !== 0) sum.subtract(before);
      sum.add(after);
    }
  }

  #range(ring: PolicyIndex, from: number, to: number): Part {
    const width = to - from;
    const isKept = width >= GROUP_WIDTH && Number.isInteger(Math.log2(width)) && from % width === 0;
    if (!isKept) return this.#add(ring, from, to);
    const sums = this.#sums.get(width) ?? new Map<number, Part>();
    this.#sums.set(width, sums);
    const place = placeOf(ring, from, width);
    if (width === GROUP_WIDTH && !sums.has(place)) this.#load(ring, from - (from % LOAD_WIDTH));
    const sum = sums.get(place) ?? this.#add(ring, from, to);
    sums.set(place, sum);
    return sum;
  }

  /** From groups, and from the table where the ends lie inside of one. */
  #add(ring: PolicyIndex, from: number, to: number): Part {
    const whole = new Part();
    for (let bucket = from; bucket < to; ) {
      const isGroup = bucket % GROUP_WIDTH === 0 && bucket + GROUP_WIDTH <= to;
      const nextGroup = bucket - (bucket % GROUP_WIDTH) + GROUP_WIDTH;
      const end = isGroup ? nextGroup : Math.min(to, nextGroup);
      whole.add(isGroup ? this.#range(ring, bucket, end) : this.#read(ring, bucket, end));
      bucket = end;
    }
    return whole;
  }

  /** Many groups in one pass: most are empty, and each would cost a look of its own. */
  #load(ring: PolicyIndex, from: number): void {
    const loaded: Part[] = [];
    for (let bucket = from; bucket < from + LOAD_WIDTH; bucket += GROUP_WIDTH)
      loaded.push(new Part());
    this.#each(ring, from, from + LOAD_WIDTH, (line) => {
      loaded[Math.floor((bucketOf(line.hash) - from) / GROUP_WIDTH)]!.add(line);
    });
    const groups = this.#sums.get(GROUP_WIDTH)!;
    for (const [i, part] of loaded.entries()) {
      const place = placeOf(ring, from + i * GROUP_WIDTH, GROUP_WIDTH);
      if (!groups.has(place)) groups.set(place, part);
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

function placeOf(ring: PolicyIndex, bucket: number, width: number): number {
  return ring * BUCKETS + Math.floor(bucket / width);
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
