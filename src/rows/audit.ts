/**
 * Reads all rows again, some at a time, and checks that they are what their containers' lines say. Row
 * checksums find a row that was changed; this finds also a row that is gone, or listed though it is
 * not. A container that is written while its rows are read is left for the next round, but its rows'
 * checksums have been verified.
 */
import { OperatingError } from '#base/errors.ts';
import type { ContainerLine, ContainerTable } from './container-table.ts';
import { sumToBytes, termPrefix, zeroSum } from './digest.ts';
import { type RowTable, stateOf } from './row-table.ts';
import { type Tally, tally } from './tally.ts';

interface Reading {
  readonly line: ContainerLine;
  readonly prefix: Buffer;
  readonly found: Tally;
  hidden: number;
  name: Buffer;
}

export class RowAudit {
  readonly #key: string;
  readonly #rows: RowTable;
  readonly #lines: ContainerTable;
  #reading: Reading | undefined;
  #afterId = 0;

  constructor(key: string, rows: RowTable, lines: ContainerTable) {
    this.#key = key;
    this.#rows = rows;
    this.#lines = lines;
  }

  /** Reads about `limit` rows; false: the round is complete. @throws OperatingError `rows-damaged` */
  step(limit: number): boolean {
    for (let left = limit; left > 0; ) {
      const reading = (this.#reading ??= this.#begin());
      if (reading === undefined) {
        this.#afterId = 0;
        return false;
      }
      left -= this.#read(reading, left);
    }
    return true;
  }

  #begin(): Reading | undefined {
    const line = this.#lines.next(this.#afterId);
    if (line === undefined) return undefined;
    const prefix = termPrefix(this.#key, line.ring, line.hash);
    const found = { rows: 0, bytes: 0, objects: 0, total: 0, digest: zeroSum() };
    return { line, prefix, found, hidden: -1, name: Buffer.alloc(0) };
  }

  /** How many rows were read, at least one: an empty container costs a look, too. */
  #read(reading: Reading, limit: number): number {
    const { line, prefix, found } = reading;
    const page = this.#rows.page(line.id, reading.hidden, reading.name, limit);
    for (const row of page) {
      stateOf(row);
      reading.hidden = row.hidden;
      reading.name = Buffer.from(row.name);
      tally(found, prefix, row, reading.name, 1);
    }
    if (page.length < limit) this.#finish(reading);
    return Math.max(1, page.length);
  }

  #finish({ line, found }: Reading): void {
    this.#reading = undefined;
    this.#afterId = line.id;
    const now = this.#lines.byId(line.id);
    if (now.sequence !== line.sequence || now.rows !== line.rows) return;
    const isEqual =
      found.rows === line.rows &&
      found.bytes === line.bytes &&
      found.objects === line.objects &&
      found.total === line.total &&
      sumToBytes(found.digest).equals(sumToBytes(line.digest));
    if (isEqual) return;
    const { path } = line;
    throw new OperatingError('rows-damaged', 'rows are not what their container says', { path });
  }
}
