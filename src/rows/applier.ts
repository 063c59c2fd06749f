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
import { encodeRowState, listingCheck, statePayload } from './format.ts';
import { readPosition, writePosition } from './position.ts';
import { rowTimestamp } from './row-state.ts';
import { type RowTable, type StoredRow, stateOf } from './row-table.ts';
import { isSame } from './same.ts';
import { tally } from './tally.ts';

/** One container's part of the batch under way. */
interface Work {
  readonly container: ContainerState;
  readonly line: ContainerLine;
  readonly written: Map<string, StoredRow>;
  own: EntryState | undefined | null;
}

type LineChange = (before: ContainerLine, after: ContainerLine) => void;

export class Applier {
  readonly #opened: OpenedDatabase;
  readonly #rows: RowTable;
  readonly #lines: ContainerTable;
  readonly #changed: LineChange;
  readonly #containers: ContainerCache;
  #position: LogPosition | undefined;
  /** Unix seconds of the earliest delete-at of a listed row. */
  nextExpiry: number;

  /** @param changed told of every line that a commit changed */
  constructor(
    opened: OpenedDatabase,
    tables: { readonly rows: RowTable; readonly lines: ContainerTable },
    containers: ContainerCache,
    changed: LineChange,
  ) {
    this.#opened = opened;
    this.#rows = tables.rows;
    this.#lines = tables.lines;
    this.#changed = changed;
    this.#containers = containers;
    this.#position = readPosition(opened.meta);
    this.nextExpiry = tables.rows.nextExpiry();
  }

  position(): LogPosition | undefined {
    return this.#position;
  }

  apply(rows: readonly RowRecord[], upTo: LogPosition, nowSeconds: number): void {
    const batch = new Map<ContainerState, Work>();
    this.#opened.db.transaction(() => {
      for (const row of rows) this.#applyRow(this.#workOf(batch, row), row, nowSeconds);
      for (const work of batch.values()) if (work.written.size > 0) this.#lines.save(work.line);
      writePosition(this.#opened.meta, upTo);
    });
    for (const work of batch.values()) {
      this.#changed(work.container.line, work.line);
      commitWork(work);
    }
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
    const partial = isWhole(row.state, state) ? 0 : 1;
    const bytes = encodeRowState(line.ring, row.name, state, crc + partial);
    if (former?.crc === crc && statePayload(former.state).equals(statePayload(bytes))) return;
    const stored = {
      ...columns,
      name: row.name,
      crc,
      sequence: line.sequence + 1,
      partial,
      state: bytes,
    } as const;
    this.#rows.put(line.id, name, stored, former);
    const { digestPrefix } = work.container;
    if (former !== undefined) tally(line, digestPrefix, former, name, -1);
    tally(line, digestPrefix, stored, name, 1);
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
    const lines = new Map<
      number,
      { readonly before: ContainerLine; readonly after: ContainerLine }
    >();
    this.#opened.db.transaction(() => {
      for (const { container, name, size, count } of due) {
        this.#rows.hide(container, name);
        const before = lines.get(container)?.before ?? this.#lines.byId(container);
        const after = lines.get(container)?.after ?? copyLine(before);
        lines.set(container, { before, after });
        after.rows--;
        after.bytes -= size;
        after.objects -= count;
      }
      for (const { after } of lines.values()) this.#lines.save(after);
    });
    for (const { before, after } of lines.values()) {
      this.#changed(before, after);
      this.#expired(after);
    }
    this.nextExpiry = this.#rows.nextExpiry();
  }

  #expired(line: ContainerLine): void {
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
