/**
 * Reads all rows again, some at a time, and checks that they are what their containers' lines say. Row
 * checksums find a row that was changed; this finds also a row that is gone, or listed though it is
 * not. A container that is written while its rows are read is left for the next round, but its rows'
 * checksums have been verified.
 *
 * It reads through a connection of its own, opened for each step: the one that writes answers from its
 * cache, and what is wrong on disk would stay unseen until the next start. And right after a checkpoint:
 * pages that are still in the WAL would be read from there instead of the file. A round begins with SQLite's
 * own check, which sees what no row does: pages, the trees beside the rows, the order of commits.
 */
import { codeOf, OperatingError } from '#base/errors.ts';
import { ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { LogPosition } from '#device/contract.ts';
import type { Database } from '#env/env.ts';
import { columnsOf, MARK } from './columns.ts';
import { type ContainerLine, ContainerTable } from './container-table.ts';
import { CursorTable } from './cursors.ts';
import { sumToBytes, termPrefix, zeroSum } from './digest.ts';
import { HolderTable, type Holding, type HoldingChanges, hold } from './holders.ts';
import { readPosition } from './position.ts';
import { isMark, RowTable, type StoredRow, stateOf } from './row-table.ts';
import { hasSchema, Meta, SCHEMA_VERSION } from './schema.ts';
import { readFloor } from './sequence-floor.ts';
import { type Tally, tally } from './tally.ts';

const META_KEYS = new Set(['schema', 'device', 'incarnation', 'floor', 'position']);

/** What is read through one connection. */
interface Tables {
  readonly rows: RowTable;
  readonly lines: ContainerTable;
  readonly holders: HolderTable;
  readonly cursors: CursorTable;
}

interface Reading {
  readonly line: ContainerLine;
  readonly prefix: Buffer;
  readonly found: Tally;
  readonly holdings: HoldingChanges;
  hidden: number;
  name: Buffer;
}

export interface RowAuditParts {
  /** Key of the digests. */
  readonly key: string;
  /** SQLite's own check. */
  verify(): Promise<string | undefined>;
  checkpoint(): Promise<unknown>;
  isThere(): boolean;
  /** A connection that reads what is on disk. */
  look(): Database;
  /** What the database must say. */
  applied(): LogPosition | undefined;
  incarnation(): string;
  readonly device: string;
}

export class RowAudit {
  readonly #parts: RowAuditParts;
  #reading: Reading | undefined;
  #afterId = 0;

  constructor(parts: RowAuditParts) {
    this.#parts = parts;
  }

  /**
   * Reads about `limit` rows from the container after id `after` on. `next`: where to go on; undefined:
   * that were all. @throws OperatingError `rows-damaged`
   */
  async step(
    after: number,
    limit: number,
  ): Promise<{ readonly rows: number; readonly next: number | undefined }> {
    try {
      return await this.#step(after, limit);
    } catch (error) {
      // A table or a column that is not there, though the connection that writes knows it.
      if (codeOf(error) !== 'SQLITE_ERROR') throw error;
      throw damaged('the rows database is not what it was');
    }
  }

  async #step(after: number, limit: number): Promise<{ rows: number; next: number | undefined }> {
    if (after !== this.#afterId) this.#reading = undefined;
    this.#afterId = after;
    if (!this.#parts.isThere()) throw damaged('the rows database is gone');
    await this.#parts.checkpoint();
    if (after === 0 && this.#reading === undefined) await this.#checkFile();
    const look = this.#parts.look();
    try {
      const tables = {
        rows: new RowTable(look),
        lines: new ContainerTable(look),
        holders: new HolderTable(look),
        cursors: new CursorTable(look),
      };
      return this.#read(tables, limit);
    } finally {
      look.close();
    }
  }

  async #checkFile(): Promise<void> {
    const problem = await this.#parts.verify();
    if (problem !== undefined) throw damaged(problem);
    const look = this.#parts.look();
    try {
      if (!hasSchema(look)) throw damaged('the tables are not what they were made as');
      this.#checkMeta(new Meta(look));
    } finally {
      look.close();
    }
  }

  #checkMeta(meta: Meta): void {
    const found = readPosition(meta);
    const known = this.#parts.applied();
    const isEqual = found?.segment === known?.segment && found?.offset === known?.offset;
    if (!isEqual) throw damaged('the position in the log is not what was written');
    const isNamed =
      meta.get('incarnation') === this.#parts.incarnation() &&
      meta.get('device') === this.#parts.device &&
      meta.get('schema') === String(SCHEMA_VERSION) &&
      readFloor(meta) !== undefined;
    const others = meta.keys().filter((key) => !META_KEYS.has(key));
    if (!isNamed || others.length > 0)
      throw damaged('what the database says of itself is not what was written');
  }

  #read(tables: Tables, limit: number): { rows: number; next: number | undefined } {
    const { rows, lines, holders } = tables;
    let left = limit;
    while (left > 0) {
      const reading = (this.#reading ??= this.#begin(tables));
      if (reading === undefined) {
        this.#afterId = 0;
        return { rows: limit - left, next: undefined };
      }
      const page = rows.page(reading.line.id, reading.hidden, reading.name, left);
      readPage(reading, page);
      if (page.length < left) {
        this.#finish(reading, lines.byId(reading.line.id), holders.all(reading.line.id));
      }
      // An empty container costs a look, too.
      left -= Math.max(1, page.length);
    }
    return { rows: limit - left, next: this.#afterId };
  }

  #begin({ lines, cursors }: Tables): Reading | undefined {
    const line = lines.next(this.#afterId);
    // One that nobody can use does no harm; but bytes that are not what was written are not left on the disk.
    const after = this.#afterId === 0 ? Number.NEGATIVE_INFINITY : this.#afterId;
    if (!cursors.areWhole(after, line?.id ?? Number.POSITIVE_INFINITY)) {
      throw damaged('a cursor is not what was written');
    }
    if (line === undefined) return undefined;
    const prefix = termPrefix(this.#parts.key, line.ring, line.hash);
    const found = { rows: 0, bytes: 0, objects: 0, total: 0, marks: 0, digest: zeroSum() };
    return { line, prefix, found, holdings: new Map(), hidden: -1, name: Buffer.alloc(0) };
  }

  #finish({ line, found, holdings }: Reading, now: ContainerLine, held: readonly Holding[]): void {
    this.#reading = undefined;
    this.#afterId = line.id;
    if (now.sequence !== line.sequence || now.rows !== line.rows) return;
    const isEqual =
      found.rows === line.rows &&
      found.bytes === line.bytes &&
      found.objects === line.objects &&
      found.total === line.total &&
      found.marks === line.marks &&
      sumToBytes(found.digest).equals(sumToBytes(line.digest)) &&
      areHeld(holdings, held);
    if (!isEqual) throw damaged(`the rows of ${line.path} are not what its line says`);
  }
}

function readPage(reading: Reading, page: readonly StoredRow[]): void {
  const { line, prefix, found, holdings } = reading;
  for (const row of page) {
    checkColumns(line, row);
    reading.hidden = row.hidden;
    reading.name = Buffer.from(row.name);
    tally(found, prefix, row, reading.name, 1);
    hold(holdings, line.ring, row, 1, { newest: ZERO_TIMESTAMP, sequence: 0 });
  }
}

function areHeld(found: HoldingChanges, held: readonly Holding[]): boolean {
  return (
    [...found.keys()].every((owner) => held.some((one) => one.owner === owner)) &&
    held.every(({ owner, rows, bytes }) => {
      const { rows: ownRows, bytes: ownBytes } = found.get(owner) ?? { rows: 0, bytes: 0 };
      return ownRows === rows && ownBytes === bytes;
    })
  );
}

/** What no checksum covers follows from the state, or is bounded by the line. */
function checkColumns(line: ContainerLine, row: StoredRow): void {
  const { expires } = columnsOf(line.ring, row.name, stateOf(row), 0);
  const isListed = row.hidden === 0;
  const isGood =
    (isMark(row) ? row.hidden === MARK : row.hidden === 0 || row.hidden === 1) &&
    (row.expires === expires || (!isListed && row.expires === null)) &&
    (row.sequence > 0 || isMark(row));
  if (!isGood) throw damaged(`a row of ${line.path} is not what its state says`);
}

function damaged(why: string): OperatingError {
  return new OperatingError('rows-damaged', why);
}
