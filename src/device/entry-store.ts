/**
 * All entries of the device as of the newest commit: the index, an overlay of what was committed but
 * is not in the index yet, and the entries of the commit that is being written (`pending`), which only
 * the next writes see.
 *
 * Invariants: readers see exactly what is synced. Digests in memory agree with that view, digests in
 * index.db with the index's rows. Segment statistics are a function of the rows.
 */
import type { EntryKey, LogPosition } from './contract.ts';
import type { DigestStore } from './digest-store.ts';
import { BUCKETS, bucketOf } from './digest-table.ts';
import { EntryCache } from './entry-cache.ts';
import { damaged } from './errors.ts';
import type { IndexFile } from './index-file.ts';
import { PromiseTable, type StandingPromise } from './promise-table.ts';
import { SegmentStatistics } from './segment-statistics.ts';
import { keyText, type StoredEntry } from './stored-entry.ts';

/**
 * Committed entries that wait for the index; then they are written in one transaction. The more there
 * are, the more of them share a database page, and the longer the event loop stands still: 2,048 cost a
 * twentieth less CPU, but the 700 of a quarter of a second of a refill held it, and one core, for 40 ms.
 */
export const MAX_OVERLAY = 256;
const MAX_ABSENT = 4096;

interface Dirty {
  /** What the index's row says. Undefined: no row. */
  readonly indexed: StoredEntry | undefined;
  /** What was committed. Undefined: forgotten. */
  readonly current: StoredEntry | undefined;
  readonly key: EntryKey;
}

type Pending = { readonly key: EntryKey; readonly entry: StoredEntry | undefined };

export class EntryStore {
  readonly index: IndexFile;
  readonly digests: DigestStore;
  readonly statistics: SegmentStatistics;
  readonly promises: PromiseTable;
  readonly #overlay = new Map<string, Dirty>();
  /** By bucket: rows that the overlay will add to the index, less those that it will remove. */
  readonly #added = new Map<number, number>();
  readonly #pending = new Map<string, Pending>();
  readonly #cache: EntryCache;
  /** Keys that were looked up in vain since the last commit: a write asks twice. */
  readonly #absent = new Set<string>();
  #position: LogPosition;
  #applied: LogPosition;
  /** Called inside each index transaction, for what others keep there. */
  onFlush: () => void = () => undefined;
  entries = 0;
  unlistedEntries = 0;

  constructor(index: IndexFile, digests: DigestStore, position: LogPosition, cacheEntries: number) {
    this.index = index;
    this.digests = digests;
    this.statistics = new SegmentStatistics(index.database);
    this.promises = new PromiseTable(index.database);
    this.#cache = new EntryCache(cacheEntries);
    this.#position = position;
    this.#applied = position;
    this.unlistedEntries = index.countUnlisted();
  }

  /** Up to where the log is in this view. */
  get position(): LogPosition {
    return this.#position;
  }

  /** Up to where the log is in the index. */
  get applied(): LogPosition {
    return this.#applied;
  }

  get waiting(): number {
    return this.#overlay.size;
  }

  /** The newest committed entry. @throws OperatingError `damaged`: the index is damaged */
  get(key: EntryKey): StoredEntry | undefined {
    const text = keyText(key);
    const dirty = this.#overlay.get(text);
    if (dirty !== undefined) return dirty.current;
    const cached = this.#cache.get(text);
    if (cached !== undefined) return cached;
    if (this.#absent.has(text)) return undefined;
    const found = this.#look(key);
    if (found !== undefined) this.#cache.set(text, found);
    else if (this.#absent.size < MAX_ABSENT) this.#absent.add(text);
    return found;
  }

  /** The newest entry, including the commit that is being written. */
  latest(key: EntryKey): StoredEntry | undefined {
    const pending = this.#pending.size === 0 ? undefined : this.#pending.get(keyText(key));
    return pending === undefined ? this.get(key) : pending.entry;
  }

  /** An entry of the commit that is being written; undefined forgets the key. */
  put(key: EntryKey, entry: StoredEntry | undefined): void {
    this.#pending.set(keyText(key), { key, entry });
  }

  /** The commit was synced: its entries are what readers see. */
  commit(
    position: LogPosition,
    replaced: (before: StoredEntry, after: StoredEntry | undefined) => void,
  ): void {
    for (const [text, { key, entry }] of this.#pending) {
      const dirty = this.#overlay.get(text);
      const before = dirty === undefined ? this.get(key) : dirty.current;
      this.digests.change(before, entry);
      this.unlistedEntries += Number(entry?.unlisted ?? false) - Number(before?.unlisted ?? false);
      const indexed = dirty === undefined ? before : dirty.indexed;
      this.#setOverlay(text, { indexed, current: entry, key });
      if (before !== undefined) replaced(before, entry);
    }
    this.#pending.clear();
    this.#absent.clear();
    this.promises.commit();
    this.#position = position;
  }

  rollBack(): void {
    this.#pending.clear();
    this.promises.rollBack();
  }

  /** A mark that needs no record: the log says the same, conservatively. */
  remark(key: EntryKey, entry: StoredEntry): void {
    const text = keyText(key);
    const dirty = this.#overlay.get(text);
    const before = dirty === undefined ? this.get(key) : dirty.current;
    if (before === undefined) return;
    this.digests.change(before, entry);
    this.unlistedEntries += Number(entry.unlisted) - Number(before.unlisted);
    this.#setOverlay(text, {
      indexed: dirty === undefined ? before : dirty.indexed,
      current: entry,
      key,
    });
  }

  /** Brings the index up to the newest commit, in one transaction. */
  flush(): void {
    const { segment, offset } = this.#applied;
    const moved = segment !== this.#position.segment || offset !== this.#position.offset;
    if (!moved && this.#overlay.size === 0) return;
    const texts = [...this.#overlay.keys()].sort();
    try {
      this.index.database.transaction(() => this.#apply(texts));
    } catch (error) {
      this.digests.discard();
      this.statistics.discard();
      throw error;
    }
    this.statistics.settle();
    this.promises.settle();
    for (const [text, { current }] of this.#overlay) {
      if (current !== undefined) this.#cache.set(text, current);
      else this.#cache.delete(text);
    }
    this.#overlay.clear();
    this.#added.clear();
    this.#applied = this.#position;
  }

  #apply(texts: readonly string[]): void {
    for (const text of texts) {
      const { indexed, current, key } = this.#overlay.get(text)!;
      if (indexed === current) continue;
      if (current === undefined) this.index.remove(key);
      else this.index.put(current, indexed === undefined);
      this.digests.note(indexed, current);
      this.statistics.note(indexed, current);
    }
    this.statistics.persist();
    this.promises.persist();
    this.digests.persist();
    this.index.setPosition(this.#position);
    this.onFlush();
  }

  promisedFor(key: EntryKey): StandingPromise | undefined {
    return this.promises.get(key);
  }

  /** That the index does not find a key is believed only when its bucket agrees with the digest. */
  #look(key: EntryKey): StoredEntry | undefined {
    const bucket = bucketOf(key.hash);
    const counted = this.digests.entriesIn(key.policy, bucket);
    if (counted === 0) return undefined;
    const own = { policy: key.policy, hash: Buffer.from(key.hash) };
    const found = this.index.get(own);
    if (found !== undefined) return found;
    const waiting = this.#added.get(bucketNumber(key.policy, bucket)) ?? 0;
    if (this.index.provesAbsent(own, bucket, counted - waiting)) return undefined;
    throw damaged('the index lacks a row', { policy: key.policy, bucket });
  }

  #setOverlay(text: string, dirty: Dirty): void {
    const before = this.#overlay.get(text);
    this.#overlay.set(text, dirty);
    const change = addedBy(dirty) - (before === undefined ? 0 : addedBy(before));
    if (change === 0) return;
    const bucket = bucketNumber(dirty.key.policy, bucketOf(dirty.key.hash));
    this.#added.set(bucket, (this.#added.get(bucket) ?? 0) + change);
  }
}

/** By how many rows the index will have more when this is in it. */
function addedBy({ indexed, current }: Dirty): number {
  return (current === undefined ? 0 : 1) - (indexed === undefined ? 0 : 1);
}

function bucketNumber(policy: number, bucket: number): number {
  return policy * BUCKETS + bucket;
}
