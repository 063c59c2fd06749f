/**
 * The calls of the container service. The account service has the same with `account.` in front and
 * ACCOUNT_RING: there the "container" is the account and the rows are its containers.
 */
import type { PolicyIndex } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import type { Target } from '#object/calls.ts';

export interface RowAddress {
  readonly device: number;
  /** Hash of the container (or account). */
  readonly hash: Buffer;
  readonly path: string;
  readonly ringVersion: number;
}

/** One row on its way to a replica. */
export interface RowItem {
  readonly hash: Buffer;
  readonly path: string;
  readonly name: string;
  /** encodeState() of the row's state. */
  readonly state: Buffer;
  /** What the writer took the container for; another policy or mode is refused (`container-mismatch`). */
  readonly policy?: PolicyIndex;
  readonly mode?: ConsistencyMode;
}

/** container.rows: many rows in one message. Outcomes are in the order of the rows. */
export interface RowsArgs {
  readonly device: number;
  readonly ringVersion: number;
  readonly rows: readonly RowItem[];
  /** `write`: rows of a client's write under way; `repair`: updater and replication, taken also by sealed or deleted containers. */
  readonly intent: 'write' | 'repair';
}

export const ROW_OUTCOMES = ['stored', 'superseded', 'no-container', 'sealed', 'container-mismatch'] as const;
export type RowOutcome = (typeof ROW_OUTCOMES)[number];

export interface RowsReply {
  readonly outcomes: readonly RowOutcome[];
  readonly complete: boolean;
}

/** container.write: the container's own state: creation, metadata. The replica lists it in the account as object.write lists objects. */
export interface OwnStateArgs extends RowAddress {
  readonly state: Buffer;
  readonly intent: 'write' | 'repair';
  readonly listing?: { readonly accountHash: Buffer; readonly accountPath: string; readonly ringVersion: number; readonly targets: readonly Target[] };
}

export interface OwnStateReply {
  readonly outcome: 'stored' | 'superseded' | 'sealed';
  readonly newest: Timestamp;
  readonly complete: boolean;
  readonly listedOn: readonly number[];
}

/** container.list: up to date from R complete replicas when it answers. `limit` 0: only the container's own facts. */
export interface ListArgs extends RowAddress {
  readonly query: ListQuery;
  /** `nearest`: without the pull. */
  readonly read: 'quorum' | 'nearest';
}

/** Names compare by UTF-8 bytes. All fields optional but limit. */
export interface ListQuery {
  readonly limit: number;
  readonly prefix?: string;
  readonly delimiter?: string;
  /** Names after this one (exclusive); with reverse: before. */
  readonly marker?: string;
  /** Names before this one (exclusive); with reverse: after. */
  readonly endMarker?: string;
  readonly reverse?: boolean;
}

export interface ListReply {
  /** The container's own state; null: this replica knows nothing of it. */
  readonly state: Buffer | null;
  readonly complete: boolean;
  readonly totals: RowTotals;
  /** In order: a row, or a common prefix (delimiter) as a bare string. */
  readonly items: readonly (ListedRow | string)[];
  readonly truncated: boolean;
}

/** Array form, for the sake of pages of 10,000: [name, clientMicros, size, etag, contentType, extra]. */
export type ListedRow = readonly [
  name: string,
  clientMicros: number,
  size: number,
  etag: string,
  contentType: string,
  /** Of a container in an account listing: object count. */
  count: number,
];

export interface RowTotals {
  readonly rows: number;
  readonly bytes: number;
  /** Account only: sum over its containers. */
  readonly objects: number;
}

/** container.seal / container.unseal / container.remove: the three steps of DELETE (consistency.md, Rows). */
export interface SealArgs extends RowAddress {
  readonly seal: string;
  readonly deadlineMs: number;
}

export interface SealReply {
  readonly outcome: 'sealed' | 'not-empty' | 'missing';
  readonly newest: Timestamp;
  readonly complete: boolean;
}

/** container.pull: rows committed on this device since a sequence number of the same incarnation. */
export interface PullArgs extends RowAddress {
  readonly incarnation: string | null;
  readonly since: number;
  readonly limit: number;
  /** The puller's own digest of the container: equal means nothing to send. */
  readonly digest: Buffer;
}

export interface PullReply {
  readonly incarnation: string;
  readonly sequence: number;
  readonly complete: boolean;
  readonly equal: boolean;
  readonly more: boolean;
  readonly rows: readonly { readonly name: string; readonly state: Buffer }[];
}
