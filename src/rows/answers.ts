/** What the row store answers about containers and their rows. */
import type { EntryState } from '#base/entry.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { ContainerLine } from './container-table.ts';
import { sumToBytes } from './digest.ts';
import type { RowTotals } from './query.ts';
import type { DeadRow } from './row-table.ts';

/** `stored`: what was written is the newest. `superseded`: something newer is there. Joined and durable either way. */
export interface RowResult {
  readonly outcome: 'stored' | 'superseded';
  readonly newest: Timestamp;
}

export interface ContainerFacts {
  readonly hash: Buffer;
  readonly path: string;
  readonly sequence: number;
  readonly totals: RowTotals;
  /** All rows, deleted ones and the own state too. */
  readonly total: number;
  readonly newest: Timestamp;
  readonly digest: Buffer;
}

export interface OwnState {
  readonly hash: Buffer;
  readonly path: string;
  /** Undefined: rows came here before it. */
  readonly state: EntryState | undefined;
  /** Live ones. */
  readonly rows: number;
}

export interface Change {
  readonly name: string;
  readonly state: EntryState;
  readonly sequence: number;
}

/** A tombstone that may be forgotten, and of which container it is. */
export interface Tombstone {
  readonly place: DeadRow;
  readonly ring: PolicyIndex;
  readonly hash: Buffer;
  readonly name: string;
  readonly sequence: number;
}

export function factsOf(line: ContainerLine): ContainerFacts {
  const { hash, path, sequence, rows, bytes, objects, total, newest } = line;
  return {
    hash,
    path,
    sequence,
    totals: { rows, bytes, objects },
    total,
    newest,
    digest: sumToBytes(line.digest),
  };
}
