/**
 * A container as the store holds it in memory: its line as it is in the database, and the rows that are
 * on their way there through the log. The next write of a row joins with the pending state, so the log's
 * order is the order of decisions and its last record of a row is the row's whole joined state.
 */
import type { EntryState } from '#base/entry.ts';
import type { RowRecord } from '#device/contract.ts';
import type { ContainerLine } from './container-table.ts';
import { termPrefix } from './digest.ts';
import type { StoredRow } from './row-table.ts';

export interface PendingRow {
  /** Undefined: the row is being forgotten. */
  readonly state: EntryState | undefined;
  /** What the database has of the row at the moment; undefined: nothing. */
  stored: StoredRow | undefined;
  /** Resolves when the state is durable. */
  done: Promise<void>;
  /** What this one was decided over, if that is still on its way too. */
  earlier: PendingRow | undefined;
}

/** The database has it, or never will: what was decided later stays pending, what earlier is over or back. */
export function settle(
  { pending }: Pick<ContainerState, 'pending'>,
  name: string,
  isIt: (row: PendingRow) => boolean,
): void {
  let later: PendingRow | undefined;
  let row = pending.get(name);
  while (row !== undefined && !isIt(row)) {
    later = row;
    row = row.earlier;
  }
  if (row === undefined) return;
  if (later !== undefined) later.earlier = row.earlier;
  else if (row.earlier === undefined) pending.delete(name);
  else pending.set(name, Object.assign(row.earlier, { stored: row.stored }));
}

/** A record of the log that was made for this pending row: both have the very same state. */
export function isRecordOf({ state, forgets }: RowRecord, pending: PendingRow): boolean {
  return forgets === undefined ? pending.state === state : pending.state === undefined;
}

export interface ContainerState {
  line: ContainerLine;
  readonly pending: Map<string, PendingRow>;
  readonly digestPrefix: Buffer;
  /** The container's own state as committed; null: not read yet. */
  own: EntryState | undefined | null;
}

/** Containers kept in memory at most; those with pending rows are never dropped. */
const MAX_CACHED_CONTAINERS = 4096;

export class ContainerCache {
  readonly #key: string;
  readonly #load: (ring: number, hash: Buffer) => ContainerLine | undefined;
  readonly #states = new Map<string, ContainerState>();

  /** @param key of the digests; @param load reads a line from the database */
  constructor(key: string, load: (ring: number, hash: Buffer) => ContainerLine | undefined) {
    this.#key = key;
    this.#load = load;
  }

  /** Undefined: the store has nothing of this container. */
  find(ring: number, hash: Buffer): ContainerState | undefined {
    const key = keyOf(ring, hash);
    const cached = this.#states.get(key);
    if (cached !== undefined) return cached;
    const line = this.#load(ring, hash);
    return line && this.#keep(key, line);
  }

  /** Makes one from `line` where there is none. */
  findOrMake(ring: number, hash: Buffer, make: () => ContainerLine): ContainerState {
    return this.find(ring, hash) ?? this.#keep(keyOf(ring, hash), make());
  }

  /** The store has nothing of it any more. */
  drop(ring: number, hash: Buffer): void {
    this.#states.delete(keyOf(ring, hash));
  }

  recent(ring: number, rows: number): ContainerState[] {
    return [...this.#states.values()].filter(
      ({ line }) => line.ring === ring && line.total >= rows,
    );
  }

  #keep(key: string, line: ContainerLine): ContainerState {
    if (this.#states.size >= MAX_CACHED_CONTAINERS) this.#evict();
    const digestPrefix = termPrefix(this.#key, line.ring, line.hash);
    const state: ContainerState = { line, pending: new Map(), digestPrefix, own: null };
    this.#states.set(key, state);
    return state;
  }

  /** Drops the oldest quarter, except what has rows under way. */
  #evict(): void {
    let left = MAX_CACHED_CONTAINERS / 4;
    for (const [key, state] of this.#states) {
      if (left-- <= 0) break;
      if (state.pending.size === 0) this.#states.delete(key);
    }
  }
}

function keyOf(ring: number, hash: Buffer): string {
  return ring + hash.toString('latin1');
}
