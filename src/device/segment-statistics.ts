/**
 * How many bytes of each segment are still needed: the records that index rows refer to (`live`), and
 * records of rows and of forgetting (`rows`), of which must be asked whether they are needed.
 *
 * `live` is a function of the index's rows, changed in the same transaction; so a replay that meets a
 * record twice counts it once.
 */

import { pack, unpack } from '#base/codec.ts';
import type { Database, Statement } from '#env/env.ts';
import { sealed, unsealed } from './index-file.ts';
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
    this.#put = database.prepare('INSERT OR REPLACE INTO segments VALUES (?, ?)');
    this.#remove = database.prepare('DELETE FROM segments WHERE segment = ?');
    for (const [segment, statistic] of storedStatistics(database)) {
      this.#settled.set(segment, statistic);
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
      const after = pack([before.live + change.live, before.rows + change.rows]);
      this.#put.run(segment, sealed(after, String(segment)));
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

/** As the index has them. @throws OperatingError `damaged` */
export function storedStatistics(database: Database): Map<number, SegmentStatistic> {
  const sql = 'SELECT segment, bytes FROM segments';
  const found = database.prepare<[number, Buffer]>(sql).raw().all();
  return new Map(
    found.map(([segment, bytes]) => {
      const content = unsealed(bytes, 'statistics of a segment', String(segment));
      const [live, rows] = unpack(content) as [number, number];
      return [segment, { live, rows }];
    }),
  );
}

/** The records that an entry needs: its newest, and the one that holds or names its body. */
export function placesOf(entry: StoredEntry): RecordPlace[] {
  const { record, body } = entry;
  return body === undefined || samePlace(record, body.record) ? [record] : [record, body.record];
}

export function samePlace(a: RecordPlace, b: RecordPlace): boolean {
  return a.offset === b.offset && a.segment === b.segment;
}
