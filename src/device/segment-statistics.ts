/**
 * How many bytes of each segment are still needed: the records that index rows refer to (`live`), and
 * records of rows and of forgetting (`rows`), of which must be asked whether they are needed.
 *
 * `live` is a function of the index's rows, changed in the same transaction; so a replay that meets a
 * record twice counts it once.
 */
import type { Database, Statement } from '#env/env.ts';
import type { RecordPlace, StoredEntry } from './stored-entry.ts';

export interface SegmentStatistic {
  readonly live: number;
  readonly rows: number;
}

/** Segments count from 1; under 0 stand the bytes of all blobs in use. */
export const BLOBS = 0;

const NONE: SegmentStatistic = { live: 0, rows: 0 };

export class SegmentStatistics {
  readonly #settled = new Map<number, SegmentStatistic>();
  /** Changes of the transaction under way. */
  readonly #changes = new Map<number, { live: number; rows: number }>();
  /** Row bytes since the last transaction. */
  readonly #rows = new Map<number, number>();
  readonly #put: Statement<unknown>;
  readonly #remove: Statement<unknown>;

  constructor(database: Database) {
    this.#put = database.prepare('INSERT OR REPLACE INTO segments VALUES (?, ?, ?)');
    this.#remove = database.prepare('DELETE FROM segments WHERE segment = ?');
    const rows = database
      .prepare<[number, number, number]>('SELECT segment, live, rows FROM segments')
      .raw();
    for (const [segment, live, bytes] of rows.iterate()) {
      this.#settled.set(segment, { live, rows: bytes });
    }
  }

  get(segment: number): SegmentStatistic {
    return this.#settled.get(segment) ?? NONE;
  }

  /** Of records and blobs. */
  liveBytes(): number {
    let total = 0;
    for (const { live } of this.#settled.values()) total += live;
    return total;
  }

  /** Records of rows, or of forgetting, were committed. */
  addRows(segment: number, bytes: number): void {
    this.#rows.set(segment, (this.#rows.get(segment) ?? 0) + bytes);
  }

  /** It was asked: so many bytes of these are needed. */
  setRows(segment: number, bytes: number): void {
    this.#settled.set(segment, { live: this.get(segment).live, rows: bytes });
  }

  /** Inside an index transaction: a row changes. */
  note(before: StoredEntry | undefined, after: StoredEntry | undefined): void {
    if (before !== undefined) this.#count(before, -1);
    if (after !== undefined) this.#count(after, 1);
  }

  persist(): void {
    for (const [segment, bytes] of this.#rows) this.#change(segment).rows += bytes;
    for (const [segment, change] of this.#changes) {
      const before = this.get(segment);
      this.#put.run(segment, before.live + change.live, before.rows + change.rows);
    }
  }

  settle(): void {
    for (const [segment, change] of this.#changes) {
      const before = this.get(segment);
      this.#settled.set(segment, {
        live: before.live + change.live,
        rows: before.rows + change.rows,
      });
    }
    this.#changes.clear();
    this.#rows.clear();
  }

  discard(): void {
    this.#changes.clear();
  }

  /** The segment is gone. */
  remove(segment: number): void {
    this.#settled.delete(segment);
    this.#remove.run(segment);
  }

  #count(entry: StoredEntry, sign: 1 | -1): void {
    for (const place of placesOf(entry)) this.#change(place.segment).live += sign * place.length;
    if (entry.body?.kind === 'blob') this.#change(BLOBS).live += sign * entry.body.length;
  }

  #change(segment: number): { live: number; rows: number } {
    let change = this.#changes.get(segment);
    if (change === undefined) this.#changes.set(segment, (change = { live: 0, rows: 0 }));
    return change;
  }
}

/** The records that an entry needs: its newest, and the one that holds or names its body. */
export function placesOf(entry: StoredEntry): RecordPlace[] {
  const { record, body } = entry;
  return body === undefined || samePlace(record, body.record) ? [record] : [record, body.record];
}

export function samePlace(a: RecordPlace, b: RecordPlace): boolean {
  return a.offset === b.offset && a.segment === b.segment;
}
