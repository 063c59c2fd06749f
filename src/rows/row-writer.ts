/**
 * Decides what a row's new record holds, in call order, and sends it to the log. Until it is durable and
 * applied it stands as pending beside what the database has, so that the next one joins into it.
 */
import { assert } from '#base/assert.ts';
import { EMPTY_STATE, join } from '#base/entry.ts';
import type { RowLog, RowRecord } from '#device/contract.ts';
import type { RowResult } from './answers.ts';
import type { Applier } from './applier.ts';
import {
  type ContainerCache,
  type ContainerState,
  type PendingRow,
  settle,
} from './container-state.ts';
import { rowTimestamp } from './row-state.ts';
import { isMark, knownState, type RowTable, type StoredRow, stateOf } from './row-table.ts';
import { isSame } from './same.ts';

export class RowWriter {
  readonly #rows: RowTable;
  readonly #containers: ContainerCache;
  readonly #lines: Pick<Applier, 'newLine'>;
  #log: RowLog | undefined;

  constructor(rows: RowTable, containers: ContainerCache, lines: Pick<Applier, 'newLine'>) {
    this.#rows = rows;
    this.#containers = containers;
    this.#lines = lines;
  }

  bind(log: RowLog): void {
    this.#log = log;
  }

  /** What is durable in the log is in the database then. */
  settleLog(): void {
    this.#log?.apply();
  }

  /** Decides at once, in call order; the pending row is what to wait for, if anything. */
  enter(row: RowRecord): { readonly result: RowResult; readonly pending: PendingRow | undefined } {
    const { policy, hash } = row.key;
    const container = this.#containers.findOrMake(policy, hash, () =>
      this.#lines.newLine(policy, hash, row.path),
    );
    const former = container.pending.get(row.name);
    const stored = former === undefined ? this.#rows.findIn(container, row.name) : former.stored;
    const before = former === undefined ? knownState(stored) : former.state;
    // What was forgotten may be in the log still, so that the new record must make up for it.
    const base = before ?? (stored && stateOf(stored));
    const state = base === undefined ? row.state : join(base, row.state);
    const newest = rowTimestamp(state);
    const outcome = rowTimestamp(row.state) >= newest ? 'stored' : 'superseded';
    const result = { outcome, newest } as const;
    if (before !== undefined && isSame(before, state)) return { result, pending: former };
    return { result, pending: this.#append(container, { ...row, state }, stored) };
  }

  /** Undefined: it is not as it was, or its time has not come. */
  enterForget(
    container: ContainerState,
    { name, sequence }: { readonly name: string; readonly sequence: number },
  ): PendingRow | undefined {
    const { line, pending } = container;
    if (pending.has(name)) return undefined;
    if (name === '' && (line.total > 1 || pending.size > 0)) return undefined;
    const stored = this.#rows.findIn(container, name);
    if (stored === undefined || isMark(stored) || stored.sequence !== sequence) return undefined;
    const row = { name, path: line.path, state: EMPTY_STATE, forgets: 0 };
    return this.#append(container, row, stored);
  }

  #append(
    container: ContainerState,
    { name, path, state, forgets }: Pick<RowRecord, 'name' | 'path' | 'state' | 'forgets'>,
    stored: StoredRow | undefined,
  ): PendingRow {
    assert(this.#log !== undefined, 'the row store is bound to a log before rows are written');
    const { ring, hash } = container.line;
    const decided = forgets === undefined ? state : undefined;
    const earlier = container.pending.get(name);
    const pending: PendingRow = { state: decided, stored, done: Promise.resolve(), earlier };
    container.pending.set(name, pending);
    const common = { key: { policy: ring, hash }, path, name, state };
    const appended = this.#log.append({
      ...common,
      ...(stored !== undefined && { since: stored.since }),
      ...(forgets !== undefined && { forgets }),
    });
    pending.done = appended.catch((error: unknown) => {
      settle(container, name, (row) => row === pending);
      throw error;
    });
    return pending;
  }
}
