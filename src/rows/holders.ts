/**
 * What each user has written of a container: the listed rows whose owner they are, and their bytes. It
 * changes in the transaction of the rows, as the container's totals do, so a row that somebody else
 * deletes or overwrites is given back to its owner without a look at who that was. Only rows of objects
 * have owners, and those since owners are recorded.
 *
 * `newest` is the newest of the rows that came to the user or left them, by which replicas that know more
 * are told from those that know less: the container's own also rises by what others write.
 * `sequence` is that of the container when it last changed, so the totals reporter finds what its
 * users' accounts don't know yet by the container's own `reported`.
 */
import { crc32 } from 'node:zlib';
import { OperatingError } from '#base/errors.ts';
import { CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { Database, Statement } from '#env/env.ts';
import { ownerIn } from './format.ts';
import { isMark, type StoredRow, stateOf } from './row-table.ts';

export interface Holding {
  readonly owner: string;
  readonly rows: number;
  readonly bytes: number;
  readonly newest: Timestamp;
  readonly sequence: number;
}

interface Change {
  rows: number;
  bytes: number;
  newest: Timestamp;
  sequence: number;
}

/** By owner. */
export type HoldingChanges = Map<string, Change>;

/** When a change of rows became known: the timestamp of its cause, and the container's sequence. */
type Moment = Pick<Holding, 'newest' | 'sequence'>;

/** Takes a row into (or out of) what its owner holds. */
export function hold(
  changes: HoldingChanges,
  ring: PolicyIndex,
  row: StoredRow,
  sign: 1 | -1,
  moment: Moment,
): void {
  if (ring !== CONTAINER_RING || row.hidden !== 0 || isMark(row)) return;
  const owner = ownerIn(row.state) ?? stateOf(row).data?.owner ?? '';
  if (owner !== '') change(changes, owner, sign, sign * row.size, moment);
}

function change(
  changes: HoldingChanges,
  owner: string,
  rows: number,
  bytes: number,
  { newest, sequence }: Moment,
): void {
  const known = changes.get(owner);
  if (known === undefined) {
    changes.set(owner, { rows, bytes, newest, sequence });
    return;
  }
  known.rows += rows;
  known.bytes += bytes;
  known.newest = maxTimestamp(known.newest, newest);
  known.sequence = sequence;
}

interface StoredHolding extends Holding {
  readonly crc: number;
}

export class HolderTable {
  readonly #put: Statement<unknown>;
  readonly #all: Statement<StoredHolding>;
  readonly #of: Statement<StoredHolding>;
  readonly #unreported: Statement<StoredHolding>;
  readonly #remove: Statement<unknown>;
  readonly #removeEmpty: Statement<unknown>;

  constructor(db: Database) {
    const from = 'SELECT owner, rows, bytes, newest, sequence, crc FROM holder WHERE container = ?';
    this.#put = db.prepare(
      'INSERT OR REPLACE INTO holder (container, owner, rows, bytes, newest, sequence, crc) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.#all = db.prepare<StoredHolding>(`${from} ORDER BY owner`);
    this.#of = db.prepare<StoredHolding>(`${from} AND owner = ?`);
    this.#unreported = db.prepare<StoredHolding>(
      `${from} AND sequence > (SELECT reported FROM container WHERE id = ?)
       ORDER BY sequence LIMIT ?`,
    );
    this.#remove = db.prepare('DELETE FROM holder WHERE container = ?');
    this.#removeEmpty = db.prepare(
      'DELETE FROM holder WHERE container = ? AND rows = 0 AND sequence <= ?',
    );
  }

  /** @throws OperatingError `rows-damaged` */
  change(container: number, changes: HoldingChanges): void {
    for (const [owner, change] of changes) {
      const known = this.of(container, owner) ?? NOTHING;
      const rows = known.rows + change.rows;
      const bytes = known.bytes + change.bytes;
      const newest = maxTimestamp(known.newest, change.newest);
      const { sequence } = change;
      const crc = check(container, { owner, rows, bytes, newest, sequence });
      this.#put.run(container, owner, rows, bytes, newest, sequence, crc);
    }
  }

  /** Also of users who hold nothing any more. @throws OperatingError `rows-damaged` */
  all(container: number): Holding[] {
    return this.#all.all(container).map((stored) => parse(container, stored));
  }

  /** @throws OperatingError `rows-damaged` */
  of(container: number, owner: string): Holding | undefined {
    const stored = this.#of.get(container, owner);
    return stored && parse(container, stored);
  }

  /** What changed since the container was reported, also to nothing; in the order of changes. @throws OperatingError `rows-damaged` */
  unreported(container: number, limit: number): Holding[] {
    const stored = this.#unreported.all(container, container, limit);
    return stored.map((one) => parse(container, one));
  }

  /** Nobody needs to be told any more of who holds nothing. */
  reported(container: number, sequence: number): void {
    this.#removeEmpty.run(container, sequence);
  }

  remove(container: number): void {
    this.#remove.run(container);
  }
}

const NOTHING = { rows: 0, bytes: 0, newest: ZERO_TIMESTAMP };

function check(container: number, { owner, rows, bytes, newest, sequence }: Holding): number {
  return crc32(`${container} ${owner} ${rows} ${bytes} ${newest} ${sequence}`);
}

function parse(container: number, { crc, ...holding }: StoredHolding): Holding {
  if (crc === check(container, holding)) return holding;
  throw new OperatingError('rows-damaged', 'what a user holds fails its checksum', { container });
}
