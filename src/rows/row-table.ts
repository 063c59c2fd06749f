/** The `row` table: its statements, and rows as they are stored. Every row that leaves is checked. */
import type { EntryState } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { Database, Statement } from '#env/env.ts';
import type { Columns } from './columns.ts';
import { decodeRowState, listingCheck } from './format.ts';
import type { Scan } from './listing.ts';
import type { ListedRow } from './query.ts';

/** A row as it is in the database. */
export interface StoredRow extends Columns {
  readonly name: string;
  readonly crc: number;
  readonly sequence: number;
  readonly partial: 0 | 1;
  readonly state: Buffer;
}

type RawRow = [
  name: string,
  micros: number,
  size: number,
  etag: string,
  type: string,
  count: number,
  crc: number,
  hidden: 0 | 1,
  expires: number | null,
  sequence: number,
  partial: 0 | 1,
  state: Buffer,
];
type RawListed = [string, number, number, string, string, number, crc?: number];

const LISTED = 'CAST(name AS TEXT), micros, size, etag, type, count, crc';
const ALL = `${LISTED}, hidden, expires, sequence, partial, state`;

export class RowTable {
  readonly #find: Statement<RawRow>;
  readonly #findListed: Statement<RawRow>;
  readonly #page: Statement<RawRow>;
  readonly #put: Statement<unknown>;
  readonly #remove: Statement<unknown>;
  readonly #forward: Statement<RawListed>;
  readonly #backward: Statement<RawListed>;
  readonly #since: Statement<RawRow>;
  readonly #due: Statement<[container: number, name: Buffer, size: number, count: number]>;
  readonly #hide: Statement<unknown>;
  readonly #nextExpiry: Statement<number | null>;

  constructor(db: Database) {
    this.#find = db
      .prepare<RawRow>(
        `SELECT ${ALL} FROM row WHERE container = ? AND hidden IN (0, 1) AND name = ?`,
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
      `INSERT OR REPLACE INTO row (container, hidden, name, micros, size, etag, type, count, crc, expires, sequence, partial, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
      .prepare<[number, Buffer, number, number]>(
        `SELECT container, name, size, count FROM row INDEXED BY row_by_expiry
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
  }

  find(container: number, name: Buffer): StoredRow | undefined {
    const raw = this.#find.get(container, name);
    return raw && parseRow(raw);
  }

  /** Where the container hides no rows, one look is enough. */
  findListed(container: number, name: Buffer): StoredRow | undefined {
    const raw = this.#findListed.get(container, name);
    return raw && parseRow(raw);
  }

  /** All rows in the order of the table, after the one given. */
  page(container: number, hidden: number, name: Buffer, limit: number): StoredRow[] {
    return this.#page.all(container, hidden, name, limit).map(parseRow);
  }

  put(container: number, name: Buffer, row: StoredRow, former: StoredRow | undefined): void {
    if (former !== undefined && former.hidden !== row.hidden)
      this.#remove.run(container, former.hidden, name);
    const { hidden, micros, size, etag, type, count, crc, expires, sequence, partial, state } = row;
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
      state,
    );
  }

  /** For `listRows`: the listed rows of a container that have not expired. */
  scan(container: number, nowSeconds: number): Scan {
    return (low, high, reverse, limit) => {
      const statement = reverse ? this.#backward : this.#forward;
      const rows = statement.all(container, low, high, nowSeconds, limit);
      for (const row of rows) checkListed(row);
      return rows as unknown as ListedRow[];
    };
  }

  /** In the order of their last change. */
  since(container: number, sequence: number, limit: number): StoredRow[] {
    return this.#since.all(container, sequence, limit).map(parseRow);
  }

  /** Listed rows whose delete-at has passed, the earliest first. */
  due(
    nowSeconds: number,
    limit: number,
  ): { container: number; name: Buffer; size: number; count: number }[] {
    return this.#due
      .all(nowSeconds, limit)
      .map(([container, name, size, count]) => ({ container, name, size, count }));
  }

  hide(container: number, name: Buffer): void {
    this.#hide.run(container, name);
  }

  nextExpiry(): number {
    return this.#nextExpiry.get() ?? Number.POSITIVE_INFINITY;
  }
}

/** Verifies the check and leaves the row in the form that listings have. */
function checkListed(row: RawListed): void {
  const crc = row.pop();
  if (listingCheck(row[0], row[1], row[2], row[3], row[4], row[5]) !== crc) throw damaged(row[0]);
}

function parseRow(raw: RawRow): StoredRow {
  const [name, micros, size, etag, type, count, crc, hidden, expires, sequence, partial, state] =
    raw;
  // After a flipped byte a column may be of any type.
  const isWhole = listingCheck(name, micros, size, etag, type, count) === crc;
  if (!isWhole || !Buffer.isBuffer(state)) throw damaged(String(name));
  return { name, micros, size, etag, type, count, crc, hidden, expires, sequence, partial, state };
}

/** @throws OperatingError `rows-damaged` */
export function stateOf(row: StoredRow): EntryState {
  return decodeRowState(row.state, row, row.crc + row.partial);
}

function damaged(name: string): OperatingError {
  return new OperatingError('rows-damaged', 'a row of the rows database fails its checksum', {
    name,
  });
}
