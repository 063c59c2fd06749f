/**
 * rows.db: one per device, applied from the device's log, rebuilt from it when lost.
 *
 * - `container`: one line per container or account: commit sequence, exact totals, digest. (ring,
 *   hash) is a key, so a partition is a range.
 * - `row`: the rows of all containers. The first column after the container is `hidden`, so the rows
 *   that are listed are one dense range in name order, and deleted ones are outside of it.
 *   `partial` is 1 where no single record of the log holds the whole state: compaction must then keep
 *   every record that still says something. `died`: since when (wall milliseconds, here) the row is a
 *   tombstone, or of a version that expired; null: it is neither. `since`: the oldest segment that may hold a record of it.
 *   `hidden` 2 is no row but the mark that one was forgotten, kept as long as the log may hold records of
 *   it (segments `since` to `until`): they are dead, and a database rebuilt from them must forget again.
 *   Marks count in nothing but their container's `marks`.
 * - `row_by_death` finds tombstones by age, `row_by_mark` marks that nothing needs any more.
 * - `row_by_sequence` answers a peer's "what was committed since"; `row_by_expiry` finds rows whose
 *   delete-at has passed without looking at others.
 * - `holder`: what each user has written of a container (holders.ts).
 * - `cursor`: how far this device has taken in each peer's commits (see service/freshness.ts).
 *
 * `row` has no rowid: the key is the tree, a page of a listing is read in one pass.
 *
 * STRICT: one flipped bit makes a BLOB of a TEXT with the same bytes. SQLite's own check tells of a value of another type in such a
 * table only.
 */
import type { Database } from '#env/env.ts';
import { hasTables } from '#env/tables.ts';

/** Raise with every change of the tables; the database is then rebuilt from the log. */
export const SCHEMA_VERSION = 7;

export const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS container (
  id INTEGER PRIMARY KEY,
  ring INTEGER NOT NULL,
  hash BLOB NOT NULL,
  path TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  objects INTEGER NOT NULL,
  total INTEGER NOT NULL,
  marks INTEGER NOT NULL,
  newest BLOB NOT NULL,
  digest BLOB NOT NULL,
  crc INTEGER NOT NULL,
  reported INTEGER NOT NULL,
  reported_crc INTEGER NOT NULL,
  UNIQUE (ring, hash)
) STRICT;
CREATE INDEX IF NOT EXISTS container_unreported ON container (ring, id) WHERE sequence > reported;
CREATE TABLE IF NOT EXISTS row (
  container INTEGER NOT NULL,
  hidden INTEGER NOT NULL,
  name BLOB NOT NULL,
  micros INTEGER NOT NULL,
  size INTEGER NOT NULL,
  etag TEXT NOT NULL,
  type TEXT NOT NULL,
  count INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  expires INTEGER,
  sequence INTEGER NOT NULL,
  partial INTEGER NOT NULL,
  died INTEGER,
  since INTEGER NOT NULL,
  until INTEGER,
  state BLOB NOT NULL,
  PRIMARY KEY (container, hidden, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS row_by_sequence ON row (container, sequence);
CREATE INDEX IF NOT EXISTS row_by_expiry ON row (expires) WHERE hidden = 0 AND expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS row_by_death ON row (died) WHERE died IS NOT NULL;
CREATE INDEX IF NOT EXISTS row_by_mark ON row (until) WHERE until IS NOT NULL;
CREATE TABLE IF NOT EXISTS holder (
  container INTEGER NOT NULL,
  owner TEXT NOT NULL,
  rows INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  newest TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (container, owner)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursor (
  container INTEGER NOT NULL,
  device INTEGER NOT NULL,
  incarnation TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (container, device)
) STRICT, WITHOUT ROWID;
`;

export function hasSchema(db: Database): boolean {
  return hasTables(db, SCHEMA);
}

/** The `meta` table: a few named values. */
export class Meta {
  readonly #get;
  readonly #set;
  readonly #keys;

  constructor(db: Database) {
    this.#get = db.prepare<string>('SELECT value FROM meta WHERE key = ?').pluck();
    this.#set = db.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
    this.#keys = db.prepare<string>('SELECT key FROM meta').pluck();
  }

  /** After a flipped byte a value may be of any type: that is none. */
  get(key: string): string | undefined {
    const value: unknown = this.#get.get(key);
    return typeof value === 'string' ? value : undefined;
  }

  set(key: string, value: string): void {
    this.#set.run(key, value);
  }

  keys(): string[] {
    return this.#keys.all();
  }
}
