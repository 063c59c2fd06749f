/**
 * For which parts of the hash space this device provably knows everything it ever acknowledged.
 *
 * Ranges of buckets per ring, changed by synced log records that carry all ranges of the ring, so the
 * last record is the truth. After a bad last batch was cut off, nothing is complete until
 * `confirmTail`: the batch may have been synced and acknowledged, and have gone bad afterwards.
 *
 * With what a device lost went its promises (floors.ts). So what becomes complete again gets the clock's
 * reading as its floor: the clock has seen every ballot that this process promised, and, in the frames of
 * the peers that were joined, every one that they know.
 */
import { assert } from '#base/assert.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Completeness, EntryKey } from './contract.ts';
import { BUCKETS, bucketOf } from './digest-table.ts';
import { type Floor, Floors, slotsOf } from './floors.ts';
import type { CompletenessExtra, PartitionExtra } from './record-extra.ts';

/**
 * More separate places than this give up the whole ring, rather than grow without bound. A device is
 * a primary of thousands of partitions of a large ring, few of them neighbours.
 */
export const MAX_RANGES = 32_768;

/** Appends a partition record and resolves when it is synced. */
export type AppendPartition = (policy: number, extra: PartitionExtra) => Promise<void>;

export interface CompletenessOptions {
  readonly now: () => Timestamp;
  /** Made with the cluster: what it is complete for at first, it never promised anything of. */
  readonly genesis: boolean;
  readonly countsFromMs: number;
  /** Resolves before anything is complete, once. */
  readonly beforeCounting?: () => Promise<void>;
}

interface BucketRange {
  readonly from: number;
  readonly to: number;
}

interface Mark {
  readonly from: number;
  readonly to: number;
  readonly complete: boolean;
}

export class CompletenessMap implements Completeness {
  /** What counts now. */
  readonly #ranges = new Map<number, readonly number[]>();
  /** What the log says. */
  readonly #recorded = new Map<number, readonly number[]>();
  /** By bounds, which are never changed: whoever asks gets the same list until it is another. */
  readonly #pairs = new WeakMap<readonly number[], readonly BucketRange[]>();
  readonly #none: readonly BucketRange[] = [];
  /** Marks that wait for their record. */
  readonly #marks = new Map<number, { list: Mark[]; done: Promise<void> }>();
  #tailCut = false;
  #isAnnounced = false;
  readonly #append: AppendPartition;
  readonly #options: CompletenessOptions;
  readonly #floors = new Floors();
  #queue: Promise<void> = Promise.resolve();

  constructor(append: AppendPartition, options: CompletenessOptions) {
    this.#append = append;
    this.#options = options;
  }

  get countsFromMs(): number {
    return this.#options.countsFromMs;
  }

  /** A bad last batch was cut off and not yet made up for by a digest exchange. */
  get tailUnconfirmed(): boolean {
    return this.#tailCut;
  }

  isComplete(policy: number, hash: Buffer): boolean {
    if (this.#tailCut) return false;
    const ranges = this.#ranges.get(policy);
    if (ranges === undefined) return false;
    const bucket = bucketOf(hash);
    // The bounds ascend: an odd number of them at or below the bucket means inside a range.
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ranges[middle]! <= bucket) low = middle + 1;
      else high = middle;
    }
    return low % 2 === 1;
  }

  ranges(policy: number): readonly BucketRange[] {
    return this.#tailCut ? this.#none : this.claimed(policy);
  }

  claimed(policy: number): readonly BucketRange[] {
    const bounds = this.#ranges.get(policy);
    if (bounds === undefined) return this.#none;
    const known = this.#pairs.get(bounds);
    if (known !== undefined) return known;
    const ranges = pairs(bounds);
    this.#pairs.set(bounds, ranges);
    return ranges;
  }

  mark(policy: number, fromBucket: number, toBucket: number, complete: boolean): Promise<void> {
    assert(fromBucket >= 0 && fromBucket < toBucket && toBucket <= BUCKETS, 'bucket range');
    const mark = { from: fromBucket, to: toBucket, complete };
    // What is no longer complete stops counting at once; what became complete counts when synced.
    if (!complete) this.#ranges.set(policy, applyMarks(this.#ranges.get(policy) ?? [], [mark]));
    const waiting = this.#marks.get(policy);
    if (waiting !== undefined) {
      waiting.list.push(mark);
      return waiting.done;
    }
    const list = [mark];
    const done = this.#change(() => this.#record(policy, list));
    this.#marks.set(policy, { list, done });
    return done;
  }

  /** Up to which ballot a promise may have been made here that is not known any more. */
  floor(key: EntryKey): Timestamp {
    return this.#floors.at(key.policy, key.hash);
  }

  /** Durable when it resolves, in force at once. */
  async raiseFloors(policy: number, floors: readonly Floor[]): Promise<void> {
    for (const floor of floors) this.#floors.raise(policy, floor);
    await this.#append(policy, { what: 'floor', floors });
  }

  /** All marks of a ring that came until now, in one record: a first start makes hundreds. */
  async #record(policy: number, list: readonly Mark[]): Promise<void> {
    this.#marks.delete(policy);
    const before = this.#recorded.get(policy) ?? [];
    const after = applyMarks(before, list);
    if (after.length !== before.length || after.some((bound, i) => bound !== before[i])) {
      const isFirst = this.#options.genesis && !this.#recorded.has(policy);
      const gained = isFirst ? [] : list.filter(({ complete }) => complete);
      if (gained.length > 0) await this.raiseFloors(policy, this.#floorsOf(gained));
      if (after.length > 0) await this.#beforeCounting();
      await this.#append(policy, { what: 'complete', ranges: after });
    }
    this.#recorded.set(policy, after);
    // Losses that came meanwhile hold already, and will be recorded next.
    const losses = this.#marks.get(policy)?.list.filter(({ complete }) => !complete) ?? [];
    this.#ranges.set(policy, applyMarks(after, losses));
  }

  /** After a start: says that it counts, where it does. */
  async announce(): Promise<void> {
    if ([...this.#ranges.values()].some(({ length }) => length > 0)) await this.#beforeCounting();
  }

  async #beforeCounting(): Promise<void> {
    if (this.#isAnnounced) return;
    await this.#options.beforeCounting?.();
    this.#isAnnounced = true;
  }

  #floorsOf(marks: readonly Mark[]): Floor[] {
    const timestamp = this.#options.now();
    return marks.map(({ from, to }) => ({ ...slotsOf(from, to), timestamp }));
  }

  /** The digest exchange after a cut tail has been done: the ranges count again. */
  confirmTail(): Promise<void> {
    return this.#change(async () => {
      if (!this.#tailCut) return;
      // The batch that was cut may have held promises too.
      const everything = [{ from: 0, to: BUCKETS, complete: true }];
      for (const policy of this.#recorded.keys()) {
        await this.raiseFloors(policy, this.#floorsOf(everything));
      }
      await this.#append(0, { what: 'tail', cut: false });
      this.#tailCut = false;
    });
  }

  /** Notes that the tail was cut; durable when it resolves, in force at once. */
  cutTail(): Promise<void> {
    this.#tailCut = true;
    return this.#change(() => this.#append(0, { what: 'tail', cut: true }));
  }

  /** Where a record was damaged: its key's bucket, or everything when the key is unknown. */
  async lose(key: EntryKey | undefined): Promise<void> {
    if (key !== undefined) {
      const bucket = bucketOf(key.hash);
      return this.mark(key.policy, bucket, bucket + 1, false);
    }
    await this.#loseAll([...this.#recorded.keys()]);
  }

  /** Row records were damaged: of which container or account is unknown. */
  async loseRows(): Promise<void> {
    await this.#loseAll([CONTAINER_RING, ACCOUNT_RING].filter((ring) => this.#recorded.has(ring)));
  }

  /** All of it in the turn of the call, before the first record is synced. */
  async #loseAll(policies: readonly number[]): Promise<void> {
    await Promise.all(policies.map((policy) => this.mark(policy, 0, BUCKETS, false)));
  }

  /** From the log, during replay. */
  replay(policy: number, extra: CompletenessExtra): void {
    switch (extra.what) {
      case 'tail':
        this.#tailCut = extra.cut;
        break;
      case 'floor':
        for (const floor of extra.floors) this.#floors.raise(policy, floor);
        break;
      case 'complete':
        this.#set(policy, extra.ranges);
    }
  }

  #set(policy: number, ranges: readonly number[]): void {
    this.#ranges.set(policy, ranges);
    this.#recorded.set(policy, ranges);
  }

  /** Says everything again at the end of the log, before a segment with older records goes. */
  rewrite(): Promise<void> {
    return this.#change(async () => {
      await this.#append(0, { what: 'tail', cut: this.#tailCut });
      for (const [policy, ranges] of this.#recorded) {
        await this.#append(policy, { what: 'complete', ranges });
      }
      for (const { policy, floors } of this.#floors.all()) {
        await this.#append(policy, { what: 'floor', floors });
      }
    });
  }

  /** What counts, for the index: [tail cut, [policy, bounds] ...]. A loss that is not recorded yet is in it. */
  export(tailCut = this.#tailCut): unknown {
    return [tailCut, ...this.#ranges];
  }

  /** The same, where nothing counts. */
  exportNothing(): unknown {
    return [false, ...[...this.#recorded.keys()].map((policy) => [policy, []])];
  }

  /** Whether anything was ever put on record of the ring, if only that it is lost. */
  hasRecord(policy: number): boolean {
    return this.#recorded.has(policy);
  }

  /** For the index: [[policy, [from, to, timestamp] ...] ...]. */
  exportFloors(): unknown {
    return [...this.#floors.all()].map(({ policy, floors }) => [
      policy,
      floors.map(({ from, to, timestamp }) => [from, to, timestamp]),
    ]);
  }

  importFloors(value: unknown): void {
    if (!Array.isArray(value)) return;
    for (const [policy, floors] of value as [number, [number, number, Timestamp][]][]) {
      for (const [from, to, timestamp] of floors) {
        this.#floors.raise(policy, { from, to, timestamp });
      }
    }
  }

  import(value: unknown): void {
    if (!Array.isArray(value)) return;
    const [tailCut, ...ranges] = value as [boolean, ...[number, number[]][]];
    this.#tailCut = tailCut;
    for (const [policy, bounds] of ranges) this.#set(policy, bounds);
  }

  /** One change at a time: each record carries all ranges, so none may be computed from an old set. */
  #change(step: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(step);
    this.#queue = done.catch(() => undefined); // the caller has the error
    return done;
  }
}

function applyMarks(bounds: readonly number[], marks: readonly Mark[]): readonly number[] {
  return marks.reduce<readonly number[]>(
    (ranges, { from, to, complete }) => changeRanges(ranges, from, to, complete),
    bounds,
  );
}

/** Adds or removes [from, to); `bounds` is [start, end, start, end ...], ascending, never touching. */
export function changeRanges(
  bounds: readonly number[],
  from: number,
  to: number,
  complete: boolean,
): number[] {
  const kept: { from: number; to: number }[] = [];
  let start = from;
  let end = to;
  for (const range of pairs(bounds)) {
    if (complete && range.to >= from && range.from <= to) {
      start = Math.min(start, range.from);
      end = Math.max(end, range.to);
    } else if (!complete && range.to > from && range.from < to) {
      if (range.from < from) kept.push({ from: range.from, to: from });
      if (range.to > to) kept.push({ from: to, to: range.to });
    } else {
      kept.push(range);
    }
  }
  if (complete) kept.push({ from: start, to: end });
  kept.sort((a, b) => a.from - b.from);
  if (kept.length > MAX_RANGES) return [];
  return kept.flatMap((range) => [range.from, range.to]);
}

function pairs(bounds: readonly number[]): { from: number; to: number }[] {
  const ranges: { from: number; to: number }[] = [];
  for (let i = 0; i < bounds.length; i += 2) ranges.push({ from: bounds[i]!, to: bounds[i + 1]! });
  return ranges;
}
