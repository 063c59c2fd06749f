/**
 * The SQLite form of State. One file, opened by several processes of one machine.
 *
 *   setting  format (1), revision (the store's), compacted (history up to it is gone)
 *   pair     the present: one row per key
 *   history  every change of the last HISTORY_REVISIONS revisions; value NULL means deleted
 *   lease    deadline in microseconds of the wall clock, which all processes of a machine share
 *
 * Keys are BLOBs of UTF-8, so that SQLite's order is memcmp. SQLite's pages carry no checksum: the
 * values that matter carry their own (record.ts).
 */
import { OperatingError } from '#base/errors.ts';
import type { Database } from '#env/env.ts';
import type { KeyValue } from './state.ts';

const SQLITE_STATE_FORMAT = 1;
/** A watch that is further behind than this starts again from a snapshot. */
export const HISTORY_REVISIONS = 10_000;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pair (
  key BLOB PRIMARY KEY, value BLOB NOT NULL, create_revision INTEGER NOT NULL,
  mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pair_lease ON pair (lease) WHERE lease IS NOT NULL;
CREATE TABLE IF NOT EXISTS history (
  mod_revision INTEGER NOT NULL, position INTEGER NOT NULL, key BLOB NOT NULL, value BLOB,
  create_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease TEXT,
  PRIMARY KEY (mod_revision, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (
  id TEXT PRIMARY KEY, ttl_micros INTEGER NOT NULL, deadline_micros INTEGER NOT NULL
) WITHOUT ROWID;
INSERT OR IGNORE INTO setting VALUES ('format', ${SQLITE_STATE_FORMAT}), ('revision', 1), ('compacted', 0);
`;

export interface PairRow {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly create_revision: number;
  readonly mod_revision: number;
  readonly version: number;
  readonly lease: string | null;
}

export interface HistoryRow extends Omit<PairRow, 'value'> {
  readonly value: Buffer | null;
}

/** @throws OperatingError `newer-format` */
export function createSchema(db: Database): void {
  const format = db.transaction(() => {
    db.exec(SCHEMA);
    return db.prepare<{ value: number }>("SELECT value FROM setting WHERE name = 'format'").get();
  });
  if (format === undefined || format.value > SQLITE_STATE_FORMAT) {
    throw new OperatingError('newer-format', 'state written by a newer version', {
      format: format?.value,
    });
  }
}

export function pairOf(row: PairRow): KeyValue {
  return {
    key: row.key.toString(),
    value: row.value,
    createRevision: row.create_revision,
    modRevision: row.mod_revision,
    version: row.version,
    ...(row.lease !== null && { lease: row.lease }),
  };
}

const COLUMNS = 'key, value, create_revision, mod_revision, version, lease';

/** Every statement, prepared once. */
export function prepareStatements(db: Database) {
  const selectRange = (order: string) =>
    db.prepare<PairRow>(
      `SELECT ${COLUMNS} FROM pair WHERE key >= ? AND (? IS NULL OR key < ?) ORDER BY key ${order} LIMIT ?`,
    );
  return {
    setting: db.prepare<number>('SELECT value FROM setting WHERE name = ?').pluck(),
    setSetting: db.prepare('UPDATE setting SET value = ? WHERE name = ?'),
    get: db.prepare<PairRow>(`SELECT ${COLUMNS} FROM pair WHERE key = ?`),
    rangeUp: selectRange('ASC'),
    rangeDown: selectRange('DESC'),
    put: db.prepare(`INSERT OR REPLACE INTO pair (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)`),
    remove: db.prepare('DELETE FROM pair WHERE key = ?'),
    log: db.prepare(`INSERT INTO history (${COLUMNS}, position) VALUES (?, ?, ?, ?, ?, ?, ?)`),
    changes: db.prepare<HistoryRow>(
      `SELECT ${COLUMNS} FROM history WHERE mod_revision BETWEEN ? AND ? ORDER BY mod_revision, position`,
    ),
    forget: db.prepare('DELETE FROM history WHERE mod_revision < ?'),
    leaseKeys: db.prepare<PairRow>(`SELECT ${COLUMNS} FROM pair WHERE lease = ?`),
    addLease: db.prepare('INSERT INTO lease VALUES (?, ?, ?)'),
    keepLease: db.prepare('UPDATE lease SET deadline_micros = ttl_micros + ? WHERE id = ?'),
    hasLease: db
      .prepare<number>('SELECT 1 FROM lease WHERE id = ? AND deadline_micros > ?')
      .pluck(),
    dropLease: db.prepare('DELETE FROM lease WHERE id = ?'),
    overdue: db.prepare<string>('SELECT id FROM lease WHERE deadline_micros <= ?').pluck(),
  };
}

export type Statements = ReturnType<typeof prepareStatements>;
