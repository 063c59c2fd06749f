/**
 * The calls of the row services, as they are in msgpack: `container.*` and `account.*` are the same
 * with another ring. States travel as encodeState() bytes; `undefined` fields arrive as null.
 * Every call names the ring version it was placed by; a device of a newer version refuses (`ring-old`).
 */
import type { PolicyIndex } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import type { ListedRow, ListQuery, RowTotals } from '../query.ts';

/** A device and the node that serves it. */
export interface RowTarget {
  readonly device: number;
  readonly node: string;
}

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
  /** The policy that the writer took the container to be leaving, and of when the settings are that it knows. */
  readonly from?: PolicyIndex;
  readonly since?: Timestamp;
  /** Instead, of an entry that a device holds: its policy. */
  readonly keptIn?: PolicyIndex;
}

/** container.rows: many rows in one message. Outcomes are in the order of the rows. */
export interface RowsArgs {
  readonly device: number;
  readonly ringVersion: number;
  readonly rows: readonly RowItem[];
  /** `write`: rows of a client's write under way; `repair`: updater and replication, taken also by sealed or deleted containers. */
  readonly intent: 'write' | 'repair';
  /** The device that sends by itself what it holds. */
  readonly from?: number;
}

/**
 * `stored` and `superseded`: the row is joined and durable here; with `superseded` something newer is
 * here too, or (repair only) that it is a deletion which is reclaimed by now, or is kept in a policy that is not the container's. All others: nothing was stored. `unavailable`: whether the container exists could not be
 * found out (the replica missed its creation, or there is none, and no peer answers).
 */
export const ROW_OUTCOMES = [
  'stored',
  'superseded',
  'no-container',
  'sealed',
  'container-mismatch',
  'unavailable',
] as const;
export type RowOutcome = (typeof ROW_OUTCOMES)[number];

export interface RowsReply {
  readonly outcomes: readonly RowOutcome[];
  /** The replica is complete for all containers named: only then do the outcomes count. */
  readonly complete: boolean;
}

/**
 * container.write: the container's own state: creation, metadata. The replica lists it in the account
 * as object.write lists objects. A state that creates a container has a live data part and the group
 * of `settingsGroup` (rows/row-state.ts).
 */
export interface OwnStateArgs extends RowAddress {
  readonly state: Buffer;
  readonly intent: 'write' | 'repair';
  readonly listing?: OwnListing;
  /** The device that sends by itself what it holds. */
  readonly from?: number;
}

export interface OwnListing {
  readonly accountHash: Buffer;
  readonly accountPath: string;
  readonly ringVersion: number;
  readonly targets: readonly RowTarget[];
}

/**
 * `conflict`: the container lives with another policy or mode. `no-container`: metadata for a
 * container that does not exist. `unavailable`: as for rows. Nothing was stored then.
 */
export const OWN_OUTCOMES = [
  'stored',
  'superseded',
  'sealed',
  'conflict',
  'no-container',
  'unavailable',
] as const;
export type OwnOutcome = (typeof OWN_OUTCOMES)[number];

export interface OwnStateReply {
  readonly outcome: OwnOutcome;
  readonly newest: Timestamp;
  readonly complete: boolean;
  /** Account devices that hold the row durably by this node's doing, and are complete. */
  readonly listedOn: readonly number[];
}

/** container.list: up to date from R complete replicas when it answers. `limit` 0: only the container's own facts. */
export interface ListArgs extends RowAddress {
  readonly query: ListQuery;
  /** `nearest`: without the pull. */
  readonly read: 'quorum' | 'nearest';
}

export interface ListReply {
  /** The container's own state; null: this replica knows nothing of it. */
  readonly state: Buffer | null;
  /** The container exists: it was created and not deleted, or rows live in it whatever its tombstone says. */
  readonly live: boolean;
  readonly complete: boolean;
  readonly totals: RowTotals;
  /** In order: a row, or a common prefix (delimiter) as a bare string. */
  readonly items: readonly (ListedRow | string)[];
  readonly truncated: boolean;
}

/** container.holdings: what containers hold, or users of them (src/container/slot-auditor.ts). */
export interface HoldingsArgs {
  readonly device: number;
  readonly ringVersion: number;
  readonly holdings: readonly HoldingAsked[];
}

export interface HoldingAsked {
  /** Of the container. */
  readonly path: string;
  /** A user; absent: all that is in the container. */
  readonly owner?: string;
  /** What the replica told last: the answer's moment is above it. */
  readonly above: Timestamp;
}

export interface HoldingsReply {
  /** The replica's slots, in order; null: it does not know all of the container. */
  readonly slots: readonly (Buffer | null)[];
}

/**
 * container.seal / container.unseal / container.remove: the three steps of DELETE (consistency.md,
 * Rows). The seal is a name that the proxy chose; it lapses after `deadlineMs`.
 */
export interface SealArgs extends RowAddress {
  readonly seal: string;
  readonly deadlineMs: number;
}

export interface SealReply {
  /** `busy`: another deletion has sealed it, or the seal lapsed meanwhile. `missing`: there is no such container. */
  readonly outcome: 'sealed' | 'not-empty' | 'missing' | 'busy';
  /** Newest timestamp of the container: the tombstone must be above all of them. */
  readonly newest: Timestamp;
  readonly complete: boolean;
}

/** container.unseal. `unsealed` also where there was no such seal any more. */
export interface UnsealReply {
  readonly outcome: 'unsealed';
}

/** container.remove: where the seal still holds. Other replicas learn the tombstone by `container.write`, intent `repair`. */
export interface RemoveArgs extends SealArgs {
  /** The tombstone: a data part of kind `deleted`. The replica keeps the container's settings in it. */
  readonly state: Buffer;
  readonly listing?: OwnListing;
}

export interface RemoveReply {
  /** `stored`, `superseded`: the tombstone is here. `not-sealed`: the seal lapsed, or never was. */
  readonly outcome: 'stored' | 'superseded' | 'not-empty' | 'not-sealed';
  readonly newest: Timestamp;
  readonly complete: boolean;
  readonly listedOn: readonly number[];
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
  /** Up to where the rows of this reply reach. */
  readonly sequence: number;
  /** Up to where there is something at the moment. */
  readonly upTo: number;
  readonly complete: boolean;
  readonly equal: boolean;
  readonly more: boolean;
  readonly rows: readonly PulledRow[];
}

export interface PulledRow {
  readonly name: string;
  readonly state: Buffer;
}

/** container.state: what one replica alone knows of the container's existence. */
export interface StateReply {
  readonly state: Buffer | null;
  readonly live: boolean;
  /** Rows live in it, whatever its own state says. */
  readonly rows: boolean;
  readonly complete: boolean;
}

/** container.digests: sums over ranges of hash buckets, to find what differs. */
export interface RowDigestsArgs {
  readonly device: number;
  readonly ringVersion: number;
  readonly ranges: readonly (readonly [from: number, to: number])[];
}

export interface RowDigestsReply {
  readonly ranges: readonly {
    readonly sum: Buffer;
    readonly total: number;
    readonly complete: boolean;
    /** Or would be, if the end of its log were confirmed. */
    readonly claimed: boolean;
    /** Older rings than this are refused somewhere in the range; 0: no fence. */
    readonly fence?: number | undefined;
  }[];
}

/** container.containers: what a device has rows of, in hash order. */
export interface ContainersArgs {
  readonly device: number;
  readonly ringVersion: number;
  readonly from: Buffer;
  /** Exclusive; null: to the end. */
  readonly to: Buffer | null;
  readonly limit: number;
}

export interface ContainersReply {
  readonly containers: readonly {
    readonly hash: Buffer;
    readonly path: string;
    readonly digest: Buffer;
    /** The device is complete for this container. */
    readonly complete: boolean;
  }[];
  readonly more: boolean;
}
