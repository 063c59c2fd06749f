/**
 * Digests of ranges of hash buckets, summed from the containers in them.
 *
 * Peers compare whole partitions again and again, so sums are kept in memory: read from the table when
 * first asked for, then changed with every commit. They are kept for groups of buckets (the top
 * GROUP_BITS of the hash) and for every larger aligned range that was asked for. Only a range finer
 * than a group reads the table again.
 *
 * Of the groups only those are kept that are not empty: a small store has thousands of empty ones, and
 * is read in one page.
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
const GROUPS = 2 ** GROUP_BITS;
const PAGE = 1000;

type Counted = Pick<ContainerLine, 'digest' | 'rows' | 'total'>;

/** Nearly all ranges of a small store are empty, and there are thousands: they share one sum. */
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

/** Of one ring. */
class Groups {
  /** By number of the group; what is known and is not here is empty. */
  readonly parts = new Map<number, Part>();
  /** 1 for a group that has been read. */
  readonly known = new Uint8Array(GROUPS);

  /** Undefined: not read yet. */
  toChange(group: number): Part | undefined {
    if (this.known[group] === 0) return undefined;
    let part = this.parts.get(group);
    if (part === undefined) this.parts.set(group, (part = new Part()));
    return part;
  }

  /** The first group from `from` on that has been read; GROUPS: none. */
  nextKnown(from: number): number {
    const next = this.known.indexOf(1, from);
    return next < 0 ? GROUPS : next;
  }

  sumInto(whole: Part, from: number, to: number): void {
    if (this.parts.size < to - from) {
      for (const [group, part] of this.parts) if (group >= from && group < to) whole.add(part);
      return;
    }
    for (let group = from; group < to; group++) {
      const part = this.parts.get(group);
      if (part !== undefined) whole.add(part);
    }
  }
}

export class Summaries {
  readonly #lines: ContainerTable;
  readonly #groups = new Map<PolicyIndex, Groups>();
  /** Of ranges larger than a group: by width (a power of two), then by ring and place. */
  readonly #sums = new Map<number, Map<number, Part>>();
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
    const bucket = bucketOf(after.hash);
    const change = (sum: Part | undefined): void => {
      if (before.id !== 0) sum?.subtract(before);
      sum?.add(after);
    };
    change(this.#groups.get(after.ring)?.toChange(Math.floor(bucket / GROUP_WIDTH)));
    for (const [width, sums] of this.#sums) change(sums.get(placeOf(after.ring, bucket, width)));
  }

  #range(ring: PolicyIndex, from: number, to: number): Part {
    const width = to - from;
    const isKept = width > GROUP_WIDTH && Number.isInteger(Math.log2(width)) && from % width === 0;
    if (!isKept) return this.#add(ring, from, to);
    const sums = this.#sums.get(width) ?? new Map<number, Part>();
    this.#sums.set(width, sums);
    const place = placeOf(ring, from, width);
    const sum = sums.get(place) ?? this.#add(ring, from, to);
    sums.set(place, sum);
    return sum;
  }

  /** From groups, and from the table where the ends lie inside of one. */
  #add(ring: PolicyIndex, from: number, to: number): Part {
    const first = Math.ceil(from / GROUP_WIDTH);
    const last = Math.floor(to / GROUP_WIDTH);
    if (first >= last) return this.#read(ring, from, to);
    const whole = this.#read(ring, from, first * GROUP_WIDTH);
    this.#known(ring, first, last).sumInto(whole, first, last);
    whole.add(this.#read(ring, last * GROUP_WIDTH, to));
    return whole;
  }

  /** The ring's groups, of which these have been read now. */
  #known(ring: PolicyIndex, from: number, to: number): Groups {
    const groups = this.#groups.get(ring) ?? new Groups();
    this.#groups.set(ring, groups);
    for (let group = from; group < to; ) {
      if (groups.known[group] === 1) group++;
      else group = this.#load(ring, groups, group);
    }
    return groups;
  }

  /** Reads as many groups from `from` on as a page of lines tells of. @returns the first after them */
  #load(ring: PolicyIndex, groups: Groups, from: number): number {
    const parts = new Map<number, Part>();
    let next = firstHash(from * GROUP_WIDTH);
    let end = groups.nextKnown(from);
    for (let group = from; group === from && end > from; ) {
      const page = this.#lines.range(ring, next, hashAfter(end * GROUP_WIDTH), PAGE);
      for (const line of page) {
        group = Math.floor(bucketOf(line.hash) / GROUP_WIDTH);
        const part = parts.get(group) ?? new Part();
        parts.set(group, part);
        part.add(line);
      }
      if (page.length < PAGE) break;
      next = Buffer.concat([page.at(-1)!.hash, Buffer.from([0])]);
      // The last group of a full page may go on behind it.
      if (group > from) end = group;
    }
    groups.known.fill(1, from, end);
    for (const [group, part] of parts) if (group < end) groups.parts.set(group, part);
    return end;
  }

  #read(ring: PolicyIndex, from: number, to: number): Part {
    const part = new Part();
    const end = hashAfter(to);
    for (let next = firstHash(from); from < to; ) {
      const page = this.#lines.range(ring, next, end, PAGE);
      for (const line of page) part.add(line);
      if (page.length < PAGE) break;
      next = Buffer.concat([page.at(-1)!.hash, Buffer.from([0])]);
    }
    return part;
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

/** The smallest hash behind the buckets before `to`; undefined: there is none. */
function hashAfter(to: number): Buffer | undefined {
  return to === BUCKETS ? undefined : firstHash(to);
}

/** The next hash; undefined: there is none. */
export function nextHash(hash: Buffer): Buffer | undefined {
  const next = Buffer.from(hash);
  for (let i = next.length - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) return next;
  }
  return undefined;
}
