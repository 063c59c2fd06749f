/**
 * Applies row records to the database: one transaction per batch, with the log position. Lines in
 * memory change only after the commit, so a transaction that fails leaves no trace.
 */
import { type EntryState, join } from '#base/entry.ts';
import { maxTimestamp } from '#base/timestamp.ts';
import type { LogPosition, RowRecord } from '#device/contract.ts';
import { columnsOf } from './columns.ts';
import type { ContainerCache, ContainerState } from './container-state.ts';
import { type ContainerLine, type ContainerTable, copyLine, emptyLine } from './container-table.ts';
import type { OpenedDatabase } from './database-file.ts';
import { addTerm, subtractTerm, term } from './digest.ts';
import { encodeRowState, listingCheck, statePayload } from './format.ts';
import { rowTimestamp } from './row-state.ts';
import { type RowTable, type StoredRow, stateOf } from './row-table.ts';

/** One container's part of the batch under way. */
interface Work {
  readonly container: ContainerState;
  readonly line: ContainerLine;
  readonly written: Map<string, StoredRow>;
  own: EntryState | undefined | null;
}

export class Applier {
  readonly #opened: OpenedDatabase;
  readonly #rows: RowTable;
  readonly #lines: ContainerTable;
  readonly #containers: ContainerCache;
  #position: LogPosition | undefined;
  /** Unix seconds of the earliest delete-at of a listed row. */
  nextExpiry: number;

  constructor(
    opened: OpenedDatabase,
    rows: RowTable,
    lines: ContainerTable,
    containers: ContainerCache,
  ) {
    this.#opened = opened;
    this.#rows = rows;
    this.#lines = lines;
    this.#containers = containers;
    this.#position = readPosition(opened);
    this.nextExpiry = rows.nextExpiry();
  }

  position(): LogPosition | undefined {
    return this.#position;
  }

  apply(rows: readonly RowRecord[], upTo: LogPosition, nowSeconds: number): void {
    const batch = new Map<ContainerState, Work>();
    this.#opened.db.transaction(() => {
      for (const row of rows) this.#applyRow(this.#workOf(batch, row), row, nowSeconds);
      for (const work of batch.values()) if (work.written.size > 0) this.#lines.save(work.line);
      this.#opened.meta.set('segment', upTo.segment);
      this.#opened.meta.set('offset', upTo.offset);
    });
    for (const work of batch.values()) commitWork(work);
    this.#position = upTo;
  }

  #workOf(batch: Map<ContainerState, Work>, row: RowRecord): Work {
    const { policy, hash } = row.key;
    const container = this.#containers.findOrMake(policy, hash, () =>
      emptyLine(policy, hash, row.path),
    );
    let work = batch.get(container);
    if (work === undefined) {
      work = { container, line: copyLine(container.line), written: new Map(), own: container.own };
      batch.set(container, work);
      if (work.line.id === 0) this.#lines.save(work.line);
    }
    return work;
  }

  #applyRow(work: Work, row: RowRecord, nowSeconds: number): void {
    const { line } = work;
    const name = Buffer.from(row.name);
    const former = this.#former(work, row.name, name);
    const state = former === undefined ? row.state : join(stateOf(former), row.state);
    const columns = columnsOf(line.ring, row.name, state, nowSeconds);
    const { micros, size, etag, type, count } = columns;
    const crc = listingCheck(row.name, micros, size, etag, type, count);
    const bytes = encodeRowState(line.ring, row.name, state, crc);
    if (former !== undefined && former.crc === crc && former.state.equals(bytes)) return;
    const stored = { ...columns, name: row.name, crc, sequence: line.sequence + 1, state: bytes };
    this.#rows.put(line.id, name, stored, former);
    if (former !== undefined) account(work, former, name, -1);
    account(work, stored, name, 1);
    line.sequence++;
    line.newest = maxTimestamp(line.newest, rowTimestamp(state));
    work.written.set(row.name, stored);
    if (row.name === '') work.own = state;
    if (columns.expires !== null && columns.hidden === 0) this.#expiresAt(columns.expires);
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
    const lines = new Map<number, ContainerLine>();
    this.#opened.db.transaction(() => {
      for (const { container, name, size, count } of due) {
        this.#rows.hide(container, name);
        const line = lines.get(container) ?? this.#lines.byId(container);
        lines.set(container, line);
        line.rows--;
        line.bytes -= size;
        line.objects -= count;
      }
      for (const line of lines.values()) this.#lines.save(line);
    });
    for (const line of lines.values()) this.#expired(line);
    this.nextExpiry = this.#rows.nextExpiry();
  }

  #expired(line: ContainerLine): void {
    const container = this.#containers.findOrMake(line.ring, line.hash, () => line);
    container.line = line;
    for (const row of container.pending.values()) {
      if (row.stored !== undefined)
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

/** Adds a row to (or takes it from) the totals and the digest of its container. */
function account({ container, line }: Work, row: StoredRow, name: Buffer, sign: 1 | -1): void {
  const { micros, size, etag, type, count } = row;
  const listed = `${micros}\0${size}\0${etag}\0${type}\0${count}`;
  const bytes = term(container.digestPrefix, name, listed, statePayload(row.state));
  if (sign === 1) addTerm(line.digest, bytes);
  else subtractTerm(line.digest, bytes);
  line.total += sign;
  if (row.hidden === 1) return;
  line.rows += sign;
  line.bytes += sign * row.size;
  line.objects += sign * row.count;
}

function readPosition({ meta }: OpenedDatabase): LogPosition | undefined {
  const segment = meta.get('segment');
  const offset = meta.get('offset');
  if (typeof segment !== 'number' || typeof offset !== 'number') return undefined;
  return { segment, offset };
}
