/**
 * index.db: the state of every key as of one position of the log. A cache: whatever is lost or damaged
 * in it is rebuilt from the log.
 *
 * Invariants: rows, segment statistics, digests, completeness and the position change in one
 * transaction. What is in the rows alone determines the statistics and the digests. Every value has a
 * checksum, which starts from its key, or is checked against one that has (index-bits.test.ts).
 */
import { crc32 } from 'node:zlib';
import { pack, unpack } from '#base/codec.ts';
import { expirySeconds } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { Database, Statement } from '#env/env.ts';
import { hasTables, saysFileDamage } from '#env/tables.ts';
import type { EntryKey, LogPosition } from './contract.ts';
import { BUCKETS } from './digest-table.ts';
import { damaged } from './errors.ts';
import { decodeIndexRow, encodeIndexRow } from './index-row.ts';
import { deleteAtOf, type StoredEntry } from './stored-entry.ts';

/** Another version is rebuilt, not converted: the index is a cache. */
export const INDEX_VERSION = 6;

/**
 * Entries are a heap with an index beside it, not WITHOUT ROWID: new rows then fill pages one after the
 * other, and only the small index pages are written at random (7 us a row instead of 14).
 *
 * STRICT: a flipped bit makes a BLOB of a TEXT with the same bytes, and SQLite's check tells it of these only.
 */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS entries (
  policy INTEGER NOT NULL, hash BLOB NOT NULL, slot INTEGER NOT NULL,
  unlisted INTEGER, delete_at INTEGER, entry BLOB NOT NULL,
  PRIMARY KEY (policy, hash, slot)) STRICT;
CREATE INDEX IF NOT EXISTS entries_unlisted ON entries (unlisted) WHERE unlisted IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_delete_at ON entries (delete_at) WHERE delete_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS segments (segment INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS promises (
  policy INTEGER NOT NULL, hash BLOB NOT NULL, promise BLOB NOT NULL,
  PRIMARY KEY (policy, hash)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS digest_pages (
  policy INTEGER NOT NULL, page INTEGER NOT NULL, sequence INTEGER NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY (policy, page)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS digest_changes (sequence INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
`;

/** Whether the tables of an index are as they were made. */
export function hasIndexTables(database: Database): boolean {
  return hasTables(database, SCHEMA);
}

/**
 * Which version made the tables of an index, also if they are not this one's; undefined: they don't tell.
 * @throws OperatingError `damaged`
 */
export function indexVersion(database: Database): number | undefined {
  const isThere = "SELECT 1 FROM sqlite_schema WHERE name = 'meta'";
  if (database.prepare(isThere).get() === undefined) return undefined;
  const sql = "SELECT value FROM meta WHERE name = 'format'";
  const bytes = database.prepare<Buffer>(sql).pluck().get();
  const format = bytes === undefined ? undefined : metaValue('format', bytes);
  return Array.isArray(format) ? (format as [number])[0] : undefined;
}

type KeyedRow = [policy: number, hash: Buffer, entry: Buffer];

export class IndexFile {
  readonly database: Database;
  readonly #get: Statement<Buffer>;
  readonly #insert: Statement<unknown>;
  readonly #update: Statement<unknown>;
  readonly #delete: Statement<unknown>;
  readonly #range: Statement<KeyedRow>;
  readonly #unlisted: Statement<KeyedRow>;
  readonly #expiring: Statement<KeyedRow>;
  readonly #getMeta: Statement<Buffer>;
  readonly #putMeta: Statement<unknown>;

  constructor(database: Database) {
    this.database = database;
    database.exec(SCHEMA);
    const prepare = <Row>(sql: string): Statement<Row> => database.prepare<Row>(sql);
    const scan = 'SELECT policy, hash, entry FROM entries';
    this.#get = prepare<Buffer>(
      'SELECT entry FROM entries WHERE policy = ? AND hash = ? AND slot = 0',
    ).pluck();
    this.#insert = prepare('INSERT INTO entries VALUES (?, ?, 0, ?, ?, ?)');
    this.#update = prepare(
      'UPDATE entries SET unlisted = ?, delete_at = ?, entry = ? WHERE policy = ? AND hash = ? AND slot = 0',
    );
    this.#delete = prepare('DELETE FROM entries WHERE policy = ? AND hash = ? AND slot = 0');
    this.#range = prepare<KeyedRow>(
      `${scan} WHERE policy = ? AND hash >= ? AND hash < ? ORDER BY hash LIMIT ?`,
    ).raw();
    this.#unlisted = prepare<KeyedRow>(
      `${scan} WHERE unlisted IS NOT NULL AND (unlisted <= ? OR unlisted > ?) ORDER BY unlisted LIMIT ? OFFSET ?`,
    ).raw();
    this.#expiring = prepare<KeyedRow>(
      `${scan} WHERE delete_at IS NOT NULL AND delete_at <= ? ORDER BY delete_at LIMIT ? OFFSET ?`,
    ).raw();
    this.#getMeta = prepare<Buffer>('SELECT value FROM meta WHERE name = ?').pluck();
    this.#putMeta = prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)');
  }

  /** @throws OperatingError `damaged` */
  get(key: EntryKey): StoredEntry | undefined {
    const row = this.#get.get(key.policy, key.hash);
    return row === undefined ? undefined : decodeIndexRow(key, row);
  }

  /** `isNew`: there is no row of this key. */
  put(entry: StoredEntry, isNew: boolean): void {
    const { policy, hash } = entry.key;
    const expires = expiryColumn(entry);
    const unlisted = entry.unlistedSinceMs === 0 ? null : entry.unlistedSinceMs;
    const row = encodeIndexRow(entry);
    if (isNew) this.#insert.run(policy, hash, unlisted, expires, row);
    else if (this.#update.run(unlisted, expires, row, policy, hash).changes !== 1) {
      throw damaged('a row of the index is missing', { policy, hash: hash.toString('hex') });
    }
  }

  remove(key: EntryKey): void {
    this.#delete.run(key.policy, key.hash);
  }

  /**
   * Whether a bucket of the index has exactly `rows` rows, all good, and none of them is the key's: a
   * flipped byte in a database page can hide a row from a look-up, but not from all of this.
   */
  provesAbsent(key: EntryKey, bucket: number, rows: number): boolean {
    const found = this.range(key.policy, bucketStart(bucket), bucketStart(bucket + 1), rows + 1);
    return found.length === rows && !found.some((entry) => entry.key.hash.equals(key.hash));
  }

  range(policy: number, from: Buffer, to: Buffer | undefined, limit: number): StoredEntry[] {
    return this.#range.all(policy, from, to ?? AFTER_ALL, limit).map(decodeKeyed);
  }

  /** Marked up to a moment; or after `nowMs`: the wall clock was set back since, and nobody knows when. */
  unlisted(upToMs: number, nowMs: number, limit: number, skip: number): StoredEntry[] {
    return this.#unlisted.all(upToMs, nowMs, limit, skip).map(decodeKeyed);
  }

  expiring(nowSeconds: number, limit: number, skip: number): StoredEntry[] {
    return this.#expiring.all(Math.floor(nowSeconds), limit, skip).map(decodeKeyed);
  }

  countUnlisted(): number {
    const sql = 'SELECT count(*) FROM entries WHERE unlisted IS NOT NULL';
    return this.database.prepare<number>(sql).pluck().get() ?? 0;
  }

  policies(): number[] {
    const policies: number[] = [];
    const next = this.database
      .prepare<number>('SELECT policy FROM entries WHERE policy > ? ORDER BY policy LIMIT 1')
      .pluck();
    for (let policy = next.get(-1); policy !== undefined; policy = next.get(policy)) {
      policies.push(policy);
    }
    return policies;
  }

  /** A value of the meta table, with its checksum verified. @throws OperatingError `damaged` */
  meta(name: string): unknown {
    const bytes = this.#getMeta.get(name);
    return bytes === undefined ? undefined : metaValue(name, bytes);
  }

  setMeta(name: string, value: unknown): void {
    this.#putMeta.run(name, sealed(pack([name, value]), ''));
  }

  position(): LogPosition | undefined {
    const value = this.meta('position');
    if (!Array.isArray(value)) return undefined;
    const [segment, offset] = value as number[];
    return { segment: segment!, offset: offset! };
  }

  setPosition(position: LogPosition): void {
    this.setMeta('position', [position.segment, position.offset]);
  }
}

/** Above every hash: blobs compare by bytes, then by length. */
const AFTER_ALL = Buffer.alloc(17, 0xff);

export function bucketStart(bucket: number): Buffer {
  if (bucket >= BUCKETS) return AFTER_ALL;
  const start = Buffer.alloc(16);
  start.writeUInt32BE((bucket << 12) >>> 0, 0);
  return start;
}

/**
 * A value says its name: a flipped bit in a page may lead to another row, which is as good as when it was written (seed
 * 1038). Every version reads it so, for the format is among them.
 * @throws OperatingError `damaged`
 */
export function metaValue(name: string, bytes: Buffer): unknown {
  const value = unpack(unsealed(bytes, `meta ${name}`, '')) as [string, unknown];
  if (!Array.isArray(value) || value[0] !== name) {
    throw damaged('a value of the index is another one', { name });
  }
  return value[1];
}

export function expiryColumn(entry: StoredEntry): number | null {
  return expirySeconds(deleteAtOf(entry.state));
}

function decodeKeyed([policy, hash, entry]: KeyedRow): StoredEntry {
  return decodeIndexRow({ policy, hash }, entry);
}

/**
 * Bytes with a CRC-32 in front, for everything in the database that is not an entry. It starts from the
 * columns beside them (`key`), so bytes beside wrong ones don't pass.
 */
export function sealed(bytes: Buffer, key: string): Buffer {
  const out = Buffer.allocUnsafe(4 + bytes.length);
  out.writeUInt32BE(crc32(bytes, crc32(key)), 0);
  out.set(bytes, 4);
  return out;
}

/** @throws OperatingError `damaged` */
export function unsealed(bytes: Buffer, what: string, key: string): Buffer {
  if (!Buffer.isBuffer(bytes)) throw damaged(`the index is damaged: ${what}`);
  const content = bytes.subarray(4);
  if (bytes.length < 4 || bytes.readUInt32BE(0) !== crc32(content, crc32(key))) {
    throw damaged(`the index is damaged: ${what}`, { key });
  }
  return content;
}

/** Whether an error means that index.db itself is bad, so that it must be rebuilt. */
export function isIndexDamage(error: unknown): boolean {
  const code = error instanceof OperatingError ? error.code : (error as { code?: string })?.code;
  return (
    code === 'damaged' ||
    code === 'malformed' ||
    saysFileDamage(code) ||
    // A row that was believed to be absent: the index has hidden it.
    code?.startsWith('SQLITE_CONSTRAINT') === true
  );
}
