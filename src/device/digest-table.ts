/**
 * The sums of one ring's buckets, in memory. 2^20 buckets would be 28 MiB as one array, most of it
 * zeros on a small device, so buckets are kept in pages of 1,024: a sorted array of the bucket numbers
 * in use and their words beside it. A page also keeps its own total, so that a summary over a wide
 * range adds pages, not buckets.
 */
import { assert } from '#base/assert.ts';
import { BUCKET_BITS, type DigestSummary } from './contract.ts';

/** Four words of the sum (least first), entries live, entries in all, live entries without a good body. */
export const WORDS = 7;
export const PAGE_BITS = 10;
const PAGE_BUCKETS = 1 << PAGE_BITS;
export const PAGES = 1 << (BUCKET_BITS - PAGE_BITS);
export const BUCKETS = 1 << BUCKET_BITS;

export function bucketOf(hash: Buffer): number {
  return hash.readUInt32BE(0) >>> (32 - BUCKET_BITS);
}

/** A change of one bucket: what an entry adds (or, by `sign` -1, takes away). */
export interface Weight {
  readonly contribution: Buffer;
  readonly live: boolean;
  readonly bodiless: boolean;
}

class Page {
  buckets = new Uint16Array(4);
  words = new Uint32Array(4 * WORDS);
  used = 0;
  readonly total = new Uint32Array(WORDS);

  /** Index of the first word of a bucket; it is made when it is not there. */
  place(bucket: number): number {
    const at = this.find(bucket);
    if (at < this.used && this.buckets[at] === bucket) return at * WORDS;
    if (this.used === this.buckets.length) this.#grow();
    this.buckets.copyWithin(at + 1, at, this.used);
    this.words.copyWithin((at + 1) * WORDS, at * WORDS, this.used * WORDS);
    this.buckets[at] = bucket;
    this.words.fill(0, at * WORDS, (at + 1) * WORDS);
    this.used++;
    return at * WORDS;
  }

  /** Index of the first bucket that is not below `bucket`. */
  find(bucket: number): number {
    let low = 0;
    let high = this.used;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.buckets[middle]! < bucket) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #grow(): void {
    const capacity = Math.min(2 * this.buckets.length, PAGE_BUCKETS);
    const buckets = new Uint16Array(capacity);
    buckets.set(this.buckets);
    const words = new Uint32Array(capacity * WORDS);
    words.set(this.words);
    this.buckets = buckets;
    this.words = words;
  }
}

export class DigestTable {
  readonly #pages = new Array<Page | undefined>(PAGES).fill(undefined);

  change(bucket: number, weight: Weight, sign: 1 | -1): void {
    const page = (this.#pages[bucket >>> PAGE_BITS] ??= new Page());
    const place = page.place(bucket & (PAGE_BUCKETS - 1)); // may move the words
    addWeight(page.words, place, weight, sign);
    addWeight(page.total, 0, weight, sign);
  }

  /** How many entries a bucket has. */
  entries(bucket: number): number {
    const page = this.#pages[bucket >>> PAGE_BITS];
    if (page === undefined) return 0;
    const low = bucket & (PAGE_BUCKETS - 1);
    const at = page.find(low);
    return at < page.used && page.buckets[at] === low ? page.words[at * WORDS + 5]! : 0;
  }

  summarise(from: number, to: number, parts: number): DigestSummary[] {
    assert(from >= 0 && from <= to && to <= BUCKETS, 'bucket range');
    assert(Number.isInteger(parts) && parts > 0 && parts <= BUCKETS, 'parts');
    const summaries: DigestSummary[] = [];
    for (let part = 0; part < parts; part++) {
      const start = from + Math.floor(((to - from) * part) / parts);
      const end = from + Math.floor(((to - from) * (part + 1)) / parts);
      summaries.push(this.#summary(start, end));
    }
    return summaries;
  }

  #summary(from: number, to: number): DigestSummary {
    const sum = new Uint32Array(WORDS);
    for (let at = from; at < to; ) {
      const page = this.#pages[at >>> PAGE_BITS];
      const pageStart = at & ~(PAGE_BUCKETS - 1);
      const end = Math.min(to, pageStart + PAGE_BUCKETS);
      if (page !== undefined) addRange(sum, page, at - pageStart, end - pageStart);
      at = end;
    }
    return describeSum(sum);
  }

  /** The bytes of a page for the index; undefined where it is empty. */
  exportPage(number: number): Buffer | undefined {
    const page = this.#pages[number];
    if (page === undefined) return undefined;
    const bytes = Buffer.alloc(page.used * (2 + 4 * WORDS));
    let at = 0;
    for (let i = 0; i < page.used; i++) {
      at = bytes.writeUInt16BE(page.buckets[i]!, at);
      for (let w = 0; w < WORDS; w++) at = bytes.writeUInt32BE(page.words[i * WORDS + w]!, at);
    }
    return bytes;
  }

  importPage(number: number, bytes: Buffer): void {
    const page = (this.#pages[number] = new Page());
    for (let at = 0; at + 2 + 4 * WORDS <= bytes.length; at += 2 + 4 * WORDS) {
      const place = page.place(bytes.readUInt16BE(at) & (PAGE_BUCKETS - 1));
      for (let w = 0; w < WORDS; w++) page.words[place + w] = bytes.readUInt32BE(at + 2 + 4 * w);
      addWords(page.total, 0, page.words, place);
    }
  }
}

function addRange(sum: Uint32Array, page: Page, from: number, to: number): void {
  if (from === 0 && to === PAGE_BUCKETS) {
    addWords(sum, 0, page.total, 0);
    return;
  }
  for (let i = page.find(from); i < page.used && page.buckets[i]! < to; i++) {
    addWords(sum, 0, page.words, i * WORDS);
  }
}

function addWords(to: Uint32Array, toAt: number, from: Uint32Array, fromAt: number): void {
  let carry = 0;
  for (let i = 0; i < 4; i++) {
    const value = to[toAt + i]! + from[fromAt + i]! + carry;
    to[toAt + i] = value;
    carry = value > 0xffffffff ? 1 : 0;
  }
  for (let i = 4; i < WORDS; i++) to[toAt + i] = to[toAt + i]! + from[fromAt + i]!;
}

function addWeight(words: Uint32Array, at: number, weight: Weight, sign: 1 | -1): void {
  let carry = 0;
  for (let i = 0; i < 4; i++) {
    const value = words[at + i]! + sign * (weight.contribution.readUInt32LE(4 * i) + carry);
    words[at + i] = value;
    carry = value > 0xffffffff || value < 0 ? 1 : 0;
  }
  if (weight.live) words[at + 4] = words[at + 4]! + sign;
  words[at + 5] = words[at + 5]! + sign;
  if (weight.bodiless) words[at + 6] = words[at + 6]! + sign;
}

function describeSum(sum: Uint32Array): DigestSummary {
  const bytes = Buffer.alloc(16);
  for (let i = 0; i < 4; i++) bytes.writeUInt32LE(sum[i]!, 4 * i);
  return { sum: bytes, live: sum[4]!, total: sum[5]!, bodiless: sum[6]! };
}
