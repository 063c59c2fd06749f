/** The `row` table: its statements, and rows as they are stored. Every row that leaves is checked. */
import type { EntryState } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { Database, Statement } from '#env/env.ts';
import type { Columns } from './columns.ts';
import type { ContainerState } from './container-state.ts';
import { decodeRowState, listingCheck, stateCheck } from './format.ts';
import type { Scan } from './listing.ts';
import { type ListedRow, ROLES } from './query.ts';

/** A row as it is in the database. */
export interface StoredRow extends Columns {
  readonly name: string;
  readonly crc: number;
  readonly sequence: number;
  readonly partial: 0 | 1;
  /** Wall milliseconds since when it is a tombstone here; null: it is none. */
  readonly died: number | null;
  /** The oldest segment that may hold a record of it. */
  readonly since: number;
  /** Of a mark: the last segment that may hold what was forgotten. */
  readonly until: number | null;
  readonly state: Buffer;
}

/** A tombstone, and where the walk over them goes on. */
export interface DeadRow {
  readonly container: number;
  readonly died: number;
  readonly name: string;
  readonly sequence: number;
}

type RawRow = [
  name: string,
  micros: number,
  size: number,
  etag: string,
  type: string,
  count: number,
  crc: number,
  hidden: 0 | 1 | 2,
  expires: number | null,
  sequence: number,
  partial: 0 | 1,
  died: number | null,
  since: number,
  until: number | null,
  state: Buffer,
];
type RawListed = [string, number, number, string, string, number, crc?: number];

/** Where `count` is in a listed row. */
const EXTRA = 5;
const LISTED = 'CAST(name AS TEXT), micros, size, etag, type, count, crc';
const ALL = `${LISTED}, hidden, expires, sequence, partial, died, since, until, state`;

export class RowTable {
  readonly #find: Statement<RawRow>;
  readonly #findListed: Statement<RawRow>;
  readonly #page: Statement<RawRow>;
  readonly #put: Statement<unknown>;
  readonly #remove: Statement<unknown>;
  readonly #forward: Statement<RawListed>;
  readonly #backward: Statement<RawListed>;
  readonly #since: Statement<RawRow>;
  readonly #due: Statement<[...RawRow, container: number]>;
  readonly #hide: Statement<unknown>;
  readonly #nextExpiry: Statement<number | null>;
  readonly #dead: Statement<[container: number, died: number, name: string, sequence: number]>;
  readonly #marks: Statement<[container: number, name: Buffer]>;

  constructor(db: Database) {
    this.#find = db
      .prepare<RawRow>(
        `SELECT ${ALL} FROM row WHERE container = ? AND hidden IN (0, 1, 2) AND name = ?`,
      )
      .raw();
    this.#findListed = db
      .prepare<RawRow>(`SELECT ${ALL} FROM row WHERE container = ? AND hidden = 0 AND name = ?`)
      .raw();
    this.#page = db
      .prepare<RawRow>(
        `SELECT ${ALL} FROM row WHERE container = ? AND (hidden, name) > (?, ?) ORDER BY hidden, name LIMIT ?`,
      )
      .raw();
    this.#put = db.prepare(
      `INSERT OR REPLACE INTO row (container, hidden, name, micros, size, etag, type, count, crc, expires, sequence, partial, died, since, until, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#remove = db.prepare('DELETE FROM row WHERE container = ? AND hidden = ? AND name = ?');
    const listed = `SELECT ${LISTED} FROM row WHERE container = ? AND hidden = 0 AND name >= ? AND name < ?
                    AND (expires IS NULL OR expires > ?)`;
    this.#forward = db.prepare<RawListed>(`${listed} ORDER BY name LIMIT ?`).raw();
    this.#backward = db.prepare<RawListed>(`${listed} ORDER BY name DESC LIMIT ?`).raw();
    this.#since = db
      .prepare<RawRow>(
        `SELECT ${ALL} FROM row INDEXED BY row_by_sequence WHERE container = ? AND sequence > ? ORDER BY sequence LIMIT ?`,
      )
      .raw();
    this.#due = db
      .prepare<[...RawRow, number]>(
        `SELECT ${ALL}, container FROM row INDEXED BY row_by_expiry
         WHERE hidden = 0 AND expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?`,
      )
      .raw();
    this.#hide = db.prepare(
      'UPDATE row SET hidden = 1 WHERE container = ? AND hidden = 0 AND name = ?',
    );
    this.#nextExpiry = db
      .prepare<number | null>(
        'SELECT MIN(expires) FROM row INDEXED BY row_by_expiry WHERE hidden = 0 AND expires IS NOT NULL',
      )
      .pluck();
    this.#dead = db
      .prepare<[number, number, string, number]>(
        `SELECT container, died, CAST(name AS TEXT), sequence FROM row INDEXED BY row_by_death
         WHERE died IS NOT NULL AND (died, container, hidden, name) > (?, ?, 1, ?) AND died < ?
         ORDER BY died, container, hidden, name LIMIT ?`,
      )
      .raw();
    this.#marks = db
      .prepare<[number, Buffer]>(
        `SELECT container, name FROM row INDEXED BY row_by_mark
         WHERE until IS NOT NULL AND until > ? AND until < ? AND since > ? LIMIT ?`,
      )
      .raw();
  }

  /** Also where only the mark is left that it was forgotten. */
  find(container: number, name: Buffer): StoredRow | undefined {
    return rowNamed(this.#find.get(container, name), name);
  }

  /** The same of a container in memory: where it hides no rows, one look is enough. */
  findIn({ line, own }: Pick<ContainerState, 'line' | 'own'>, name: string): StoredRow | undefined {
    if (line.id === 0) return undefined;
    const bytes = Buffer.from(name);
    const hidden = line.total - line.rows;
    // In a container without deleted rows, all that can be hidden is its own state.
    const isBare = line.marks === 0 && (hidden === 0 || (hidden === 1 && own));
    if (name === '' || !isBare) return this.find(line.id, bytes);
    return rowNamed(this.#findListed.get(line.id, bytes), bytes);
  }

  /** All rows in the order of the table, after the one given. */
  page(container: number, hidden: number, name: Buffer, limit: number): StoredRow[] {
    return this.#page.all(container, hidden, name, limit).map(parseRow);
  }

  put(container: number, name: Buffer, row: StoredRow, former: StoredRow | undefined): void {
    if (former !== undefined && former.hidden !== row.hidden)
      this.#remove.run(container, former.hidden, name);
    const { hidden, micros, size, etag, type, count, crc, expires, sequence, partial } = row;
    const { died, since, until, state } = row;
    this.#put.run(
      container,
      hidden,
      name,
      micros,
      size,
      etag,
      type,
      count,
      crc,
      expires,
      sequence,
      partial,
      died,
      since,
      until,
      state,
    );
  }

  remove(container: number, hidden: number, name: Buffer): void {
    this.#remove.run(container, hidden, name);
  }

  /** For `listRows`: the listed rows of a container that have not expired. `roles`: of their extra, nothing else. */
  scan(container: number, nowSeconds: number, roles: boolean): Scan {
    return (low, high, reverse, limit) => {
      const statement = reverse ? this.#backward : this.#forward;
      const rows = statement.all(container, low, high, nowSeconds, limit);
      for (const row of rows) checkListed(row);
      // Who does not know of checksums would take a link for an ordinary object.
      if (roles) for (const row of rows) row[EXTRA] %= ROLES;
      return rows as unknown as ListedRow[];
    };
  }

  /** In the order of their last change. */
  since(container: number, sequence: number, limit: number): StoredRow[] {
    return this.#since.all(container, sequence, limit).map(parseRow);
  }

  /** Listed rows whose delete-at has passed, the earliest first. */
  due(nowSeconds: number, limit: number): { container: number; row: StoredRow }[] {
    return this.#due.all(nowSeconds, limit).map((raw) => {
      return { container: raw.pop() as number, row: parseRow(raw as unknown as RawRow) };
    });
  }

  hide(container: number, name: Buffer): void {
    this.#hide.run(container, name);
  }

  /** Tombstones that died before then, the oldest first, after the one given. */
  dead(after: DeadRow | undefined, beforeMs: number, limit: number): DeadRow[] {
    const { died = -1, container = 0, name = '' } = after ?? {};
    return this.#dead
      .all(died, container, Buffer.from(name), beforeMs, limit)
      .map(([id, at, text, sequence]) => ({ container: id, died: at, name: text, sequence }));
  }

  /** Marks of what was only in segments between these two. */
  marks(after: number, before: number, limit: number): { container: number; name: Buffer }[] {
    const last = Math.min(before, Number.MAX_SAFE_INTEGER);
    return this.#marks
      .all(after, last, after, limit)
      .map(([container, name]) => ({ container, name }));
  }

  nextExpiry(): number {
    return this.#nextExpiry.get() ?? Number.POSITIVE_INFINITY;
  }
}

/** Verifies the check and leaves the row in the form that listings have. */
function checkListed(row: RawListed): void {
  const crc = row.pop() as number;
  const [name, micros, size, etag, type, count] = row;
  if (!isWhole(name, micros, size, etag, type, count, crc)) throw damaged(name);
}

/** After a flipped byte a column may be of any type: a BLOB has the same check as a TEXT of its bytes. */
function isWhole(
  name: string,
  micros: number,
  size: number,
  etag: unknown,
  type: unknown,
  count: number,
  crc: number | undefined,
): boolean {
  if (typeof etag !== 'string' || typeof type !== 'string') return false;
  return listingCheck(name, micros, size, etag, type, count) === crc;
}

/**
 * A flipped byte in the tree may lead from one name to the row of another, which is whole by its own check.
 * @throws OperatingError `rows-damaged`
 */
function rowNamed(raw: RawRow | undefined, name: Buffer): StoredRow | undefined {
  const row = raw && parseRow(raw);
  if (row !== undefined && row.name !== name.toString()) throw damaged(row.name);
  return row;
}

function parseRow(raw: RawRow): StoredRow {
  const [name, micros, size, etag, type, count, crc, hidden, expires, sequence, partial] = raw;
  const [died, since, until, state] = raw.slice(11) as [RawRow[11], RawRow[12], RawRow[13], Buffer];
  const isGood = isWhole(name, micros, size, etag, type, count, crc) && Buffer.isBuffer(state);
  if (!isGood) throw damaged(String(name));
  const listed = { name, micros, size, etag, type, count, crc, hidden, expires, sequence, partial };
  return { ...listed, died, since, until, state };
}

/** @throws OperatingError `rows-damaged` */
export function stateOf(row: StoredRow): EntryState {
  return decodeRowState(row.state, row, stateCheck(row));
}

/** By the column that a checksum covers. */
export function isMark({ until }: Pick<StoredRow, 'until'>): boolean {
  return until !== null;
}

/** What is known of a row; undefined: nothing, or not any more. @throws OperatingError `rows-damaged` */
export function knownState(row: StoredRow | undefined): EntryState | undefined {
  if (row === undefined) return undefined;
  const state = stateOf(row); // a flipped byte must not make a mark of a row
  return isMark(row) ? undefined : state;
}

function damaged(name: string): OperatingError {
  return new OperatingError('rows-damaged', 'a row of the rows database fails its checksum', {
    name,
  });
}
