/**
 * A log for tests of the row store: keeps the records in memory in order and applies them in groups,
 * as a device does, with an end of its own for each group; `lazy` ones only when somebody looks.
 */
import type { LoggedRow, RowLog, RowRecord, RowSink } from '#device/contract.ts';

export class MemoryLog implements RowLog {
  readonly records: LoggedRow[] = [];
  readonly #sink: RowSink;
  #waiting: { row: RowRecord; settle: PromiseWithResolvers<void> }[] = [];
  /** Groups so far. */
  groups = 0;
  /** While true, appended rows wait and nothing is applied. */
  held = false;
  /** The next group fails with this. */
  failure: Error | undefined;
  /** The next group is durable, and the sink can't take it: it gets the rows with the group after. */
  sinkFailure: Error | undefined;
  /** Rows are durable, and wait for a look. */
  lazy = false;
  #unapplied: LoggedRow[] = [];
  /** Where records go: a test of marks begins a new segment now and then. */
  segment = 1;
  /** When they are written. */
  wallMs = 0;

  constructor(sink: RowSink) {
    this.#sink = sink;
  }

  append(row: RowRecord): Promise<void> {
    const settle = Promise.withResolvers<void>();
    this.#waiting.push({ row, settle });
    if (this.#waiting.length === 1 && !this.held) setImmediate(() => this.flush());
    return settle.promise;
  }

  flush(): void {
    if (this.held || this.#waiting.length === 0) return;
    const group = this.#waiting;
    this.#waiting = [];
    this.groups++;
    try {
      if (this.failure !== undefined) throw this.failure;
      const { segment, wallMs } = this;
      const items = group.map(({ row }, i): LoggedRow => {
        const { since = segment, forgets } = row;
        const logged = { ...row, since, ...(forgets === 0 && { forgets: segment }) };
        const offset = this.records.length + i;
        return { row: logged, position: { segment, offset }, writtenMs: wallMs };
      });
      this.records.push(...items);
      this.#unapplied.push(...items);
      if (!this.lazy) this.apply();
      for (const { settle } of group) settle.resolve();
    } catch (error) {
      this.failure = undefined;
      this.sinkFailure = undefined;
      for (const { settle } of group) settle.reject(error);
    }
  }

  apply(): void {
    if (this.#unapplied.length === 0) return;
    if (this.sinkFailure !== undefined) throw this.sinkFailure;
    this.#sink.apply(this.#unapplied, { segment: this.segment, offset: this.records.length });
    this.#unapplied = [];
  }

  release(): void {
    this.held = false;
    this.flush();
  }

  /** What a device does when it opens: everything after the applied position, again, in pieces. */
  replayInto(sink: RowSink, pieces = 3): void {
    const from = sink.applied()?.offset ?? 0; // offsets go on over all segments
    const rest = this.records.filter(({ position }) => position.offset >= from);
    const size = Math.max(1, Math.ceil(rest.length / pieces));
    for (let i = 0; i < rest.length; i += size) {
      const piece = rest.slice(i, i + size);
      const { segment, offset } = piece.at(-1)!.position;
      sink.apply(piece, { segment, offset: offset + 1 });
    }
  }
}
