/**
 * Applies row records to the database: one transaction per batch, with the log position. Lines in
 * memory change only after the commit, so a transaction that fails leaves no trace.
 */
import { type EntryState, isDead, join } from '#base/entry.ts';
import type { PolicyIndex } from '#base/names.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { LoggedRow, LogPosition, RowRecord } from '#device/contract.ts';
import { columnsOf, MARK } from './columns.ts';
import { type ContainerCache, type ContainerState, isRecordOf, settle } from './container-state.ts';
import { type ContainerLine, type ContainerTable, copyLine, emptyLine } from './container-table.ts';
import type { CursorTable } from './cursors.ts';
import type { OpenedDatabase } from './database-file.ts';
import { encodeRowState, listingCheck, stateCheck, statePayload } from './format.ts';
import { type HolderTable, type HoldingChanges, hold } from './holders.ts';
import { readPosition, writePosition } from './position.ts';
import { rowTimestamp } from './row-state.ts';
import { type RowTable, type StoredRow, stateOf } from './row-table.ts';
import { isSame } from './same.ts';
import { readFloor, writeFloor } from './sequence-floor.ts';
import { tally } from './tally.ts';

/** One container's part of the batch under way. */
interface Work {
  readonly container: ContainerState;
  readonly line: ContainerLine;
  readonly written: Map<string, StoredRow>;
  readonly holdings: HoldingChanges;
  own: EntryState | undefined | null;
}

/** One container's part of the rows that expire. */
interface Expiring {
  readonly before: ContainerLine;
  readonly after: ContainerLine;
  readonly holdings: HoldingChanges;
}

export interface ApplierTables {
  readonly rows: RowTable;
  readonly lines: ContainerTable;
  readonly cursors: CursorTable;
  readonly holders: HolderTable;
}

type LineChange = (before: ContainerLine, after: ContainerLine) => void;

export class Applier {
  readonly #opened: OpenedDatabase;
  readonly #rows: RowTable;
  readonly #lines: ContainerTable;
  readonly #cursors: CursorTable;
  readonly #holders: HolderTable;
  readonly #changed: LineChange;
  readonly #containers: ContainerCache;
  #position: LogPosition | undefined;
  #floor: number;
  /** Unix seconds of the earliest delete-at of a listed row. */
  nextExpiry: number;

  /** @param changed told of every line that a commit changed */
  constructor(
    opened: OpenedDatabase,
    tables: ApplierTables,
    containers: ContainerCache,
    changed: LineChange,
  ) {
    this.#opened = opened;
    this.#rows = tables.rows;
    this.#lines = tables.lines;
    this.#cursors = tables.cursors;
    this.#holders = tables.holders;
    this.#floor = readFloor(opened.meta) ?? 0;
    this.#changed = changed;
    this.#containers = containers;
    this.#position = readPosition(opened.meta);
    this.nextExpiry = tables.rows.nextExpiry();
  }

  position(): LogPosition | undefined {
    return this.#position;
  }

  /** Of a container of which there is nothing yet. */
  newLine(ring: PolicyIndex, hash: Buffer, path: string): ContainerLine {
    return { ...emptyLine(ring, hash, path), sequence: this.#floor };
  }

  apply(rows: readonly LoggedRow[], upTo: LogPosition, nowSeconds: number): void {
    const batch = new Map<ContainerState, Work>();
    this.#opened.db.transaction(() => {
      for (const logged of rows) {
        const work = this.#workOf(batch, logged.row);
        if (logged.row.forgets === undefined) this.#applyRow(work, logged, nowSeconds);
        else this.#forget(work, logged.row, logged.row.forgets);
      }
      for (const work of batch.values()) if (work.written.size > 0) this.#save(work);
      writePosition(this.#opened.meta, upTo);
    });
    for (const work of batch.values()) {
      this.#changed(work.container.line, work.line);
      commitWork(work);
    }
    for (const { row } of rows) {
      const container = this.#containers.find(row.key.policy, row.key.hash);
      if (container !== undefined) settle(container, row.name, (own) => isRecordOf(row, own));
    }
    this.#position = upTo;
  }

  #save({ line, holdings }: Work): void {
    this.#lines.save(line);
    this.#holders.change(line.id, holdings);
  }

  #workOf(batch: Map<ContainerState, Work>, row: RowRecord): Work {
    const { policy, hash } = row.key;
    const container = this.#containers.findOrMake(policy, hash, () =>
      this.newLine(policy, hash, row.path),
    );
    let work = batch.get(container);
    if (work === undefined) {
      const line = copyLine(container.line);
      work = { container, line, written: new Map(), holdings: new Map(), own: container.own };
      batch.set(container, work);
      if (work.line.id === 0) this.#lines.save(work.line);
    }
    return work;
  }

  #applyRow(work: Work, { row, writtenMs }: LoggedRow, nowSeconds: number): void {
    const { line } = work;
    // A pull that was under way while it was handed over may have left one behind.
    if (line.total === 0) this.#cursors.remove(line.id);
    const name = Buffer.from(row.name);
    const former = this.#former(work, row.name, name);
    const state = former === undefined ? row.state : join(stateOf(former), row.state);
    const columns = columnsOf(line.ring, row.name, state, nowSeconds);
    const { micros, size, etag, type, count } = columns;
    const crc = listingCheck(row.name, micros, size, etag, type, count);
    const partial = isWhole(row.state, state) ? 0 : 1;
    const died = columns.hidden === 1 && isDead(state) ? writtenMs : null;
    const since = Math.min(former?.since ?? row.since, row.since);
    const checked = { crc, partial, died, since, until: null } as const;
    const bytes = encodeRowState(line.ring, row.name, state, stateCheck(checked));
    const isEqual = former?.crc === crc && statePayload(former.state).equals(statePayload(bytes));
    if (isEqual && former.until === null) return;
    const sequence = ++line.sequence;
    const newest = rowTimestamp(state);
    const stored = { ...columns, ...checked, name: row.name, sequence, state: bytes };
    this.#put(work, stored, former, newest);
    line.newest = maxTimestamp(line.newest, newest);
    if (row.name === '') work.own = state;
    if (columns.expires !== null && columns.hidden === 0) this.#expiresAt(columns.expires);
  }

  #put(work: Work, row: StoredRow, former: StoredRow | undefined, newest: Timestamp): void {
    const { line, container, written, holdings } = work;
    const name = Buffer.from(row.name);
    this.#rows.put(line.id, name, row, former);
    const { digestPrefix } = container;
    if (former !== undefined) tally(line, digestPrefix, former, name, -1);
    tally(line, digestPrefix, row, name, 1);
    const moment = { newest, sequence: line.sequence };
    if (former !== undefined) hold(holdings, line.ring, former, -1, moment);
    hold(holdings, line.ring, row, 1, moment);
    written.set(row.name, row);
  }

  /**
   * The mark stands for the forget record as long as that is needed, and keeps what was forgotten: who
   * writes the row again joins it, for its records may still be in the log. Where nothing is known of the row,
   * nothing is left in the log that could bring it back. The sequence stays: nobody needs to be told.
   */
  #forget(work: Work, { name, since }: LoggedRow['row'], until: number): void {
    const { line } = work;
    const former = this.#former(work, name, Buffer.from(name));
    if (former === undefined || former.until === until) return;
    // What is not dead is handed over: should it be wanted here again, a pull must begin anew (seed 52310).
    if (former.died === null) this.#cursors.remove(line.id);
    const checked = {
      crc: former.crc,
      partial: former.partial,
      died: null,
      since: Math.min(former.since, since),
      until,
    };
    const state = encodeRowState(line.ring, name, stateOf(former), stateCheck(checked));
    this.#put(
      work,
      { ...former, ...checked, hidden: MARK, expires: null, sequence: 0, state },
      former,
      ZERO_TIMESTAMP,
    );
    if (name === '') work.own = undefined;
  }

  /** A row that is on its way was looked up when it was decided: it need not be again. */
  #former(work: Work, name: string, bytes: Buffer): StoredRow | undefined {
    const written = work.written.get(name);
    if (written !== undefined) return written;
    const pending = work.container.pending.get(name);
    return pending === undefined ? this.#rows.find(work.line.id, bytes) : pending.stored;
  }

  #expiresAt(seconds: number): void {
    if (seconds < this.nextExpiry) this.nextExpiry = seconds;
  }

  /**
   * Takes rows whose delete-at has passed out of the listing and the totals. Their states, the digest
   * and the sequence stay: replicas do this each on its own, and replay does it again.
   */
  expire(nowSeconds: number, limit: number): void {
    const due = this.#rows.due(nowSeconds, limit);
    const lines = new Map<number, Expiring>();
    this.#opened.db.transaction(() => {
      for (const { container, row } of due) {
        this.#rows.hide(container, Buffer.from(row.name));
        const known = lines.get(container);
        const before = known?.before ?? this.#lines.byId(container);
        const { after, holdings } = known ?? { after: copyLine(before), holdings: new Map() };
        lines.set(container, { before, after, holdings });
        after.rows--;
        after.bytes -= row.size;
        after.objects -= row.count;
        // It is told with the next change of the container, as the totals are.
        const moment = { newest: ZERO_TIMESTAMP, sequence: after.sequence + 1 };
        hold(holdings, after.ring, row, -1, moment);
      }
      for (const { after, holdings } of lines.values()) {
        this.#lines.save(after);
        this.#holders.change(after.id, holdings);
      }
    });
    for (const { before, after } of lines.values()) {
      this.#changed(before, after);
      this.#replaceLine(after);
    }
    this.nextExpiry = this.#rows.nextExpiry();
  }

  /**
   * Drops marks of what was only in segments between these two; with the last one, a container without
   * rows. Gives how many, at most `limit`.
   */
  dropMarks(after: number, before: number, limit: number): number {
    const marks = this.#rows.marks(after, before, limit);
    const lines = new Map<number, ContainerLine>();
    let floor = this.#floor;
    this.#opened.db.transaction(() => {
      for (const { container, name } of marks) {
        this.#rows.remove(container, MARK, name);
        const line = lines.get(container) ?? copyLine(this.#lines.byId(container));
        lines.set(container, line);
        line.marks--;
      }
      for (const line of lines.values()) {
        if (this.#isNeeded(line)) this.#lines.save(line);
        else {
          floor = Math.max(floor, line.sequence);
          this.#lines.remove(line.id);
          this.#cursors.remove(line.id);
          this.#holders.remove(line.id);
        }
      }
      if (floor !== this.#floor) writeFloor(this.#opened.meta, floor);
    });
    this.#floor = floor;
    for (const line of lines.values()) this.#droppedMarks(line);
    return marks.length;
  }

  #isNeeded({ ring, hash, total, marks }: ContainerLine): boolean {
    if (total > 0 || marks > 0) return true;
    return (this.#containers.find(ring, hash)?.pending.size ?? 0) > 0;
  }

  #droppedMarks(line: ContainerLine): void {
    if (this.#isNeeded(line)) this.#replaceLine(line);
    else this.#containers.drop(line.ring, line.hash);
  }

  #replaceLine(line: ContainerLine): void {
    const container = this.#containers.findOrMake(line.ring, line.hash, () => line);
    container.line = line;
    for (const row of container.pending.values()) {
      if (row.stored === undefined) continue;
      row.stored = this.#rows.find(line.id, Buffer.from(row.stored.name));
    }
  }
}

function commitWork({ container, line, written, own }: Work): void {
  container.line = line;
  container.own = own;
  for (const [name, stored] of written) {
    const pending = container.pending.get(name);
    if (pending !== undefined) pending.stored = stored;
  }
}

/** Whether the record alone gives the state that it was joined to. */
function isWhole(record: EntryState, state: EntryState): boolean {
  return record === state || isSame(record, join(record, state));
}
