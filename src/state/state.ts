/**
 * State: the small key-value store for what must agree everywhere (identity, ring builders, the
 * cluster document, certificates, bucket names). Its model is etcd's, so that etcd serves it at
 * three sites and one SQLite file serves it on one machine; state.contract.ts runs on both.
 *
 * Invariants every driver keeps:
 * - One revision for the whole store. Each transaction that changes something raises it by one, and
 *   every key it writes carries that number as modRevision.
 * - Transactions and reads are linearizable: a read sees every transaction acknowledged before it.
 * - Keys are ordered by their UTF-8 bytes. Values are bytes.
 * - A watch reports every change after its start exactly once, in order, one transaction never split
 *   over two calls. When the history it needs is gone it says `compacted` and ends; it never skips.
 */
export type Revision = number;
export type LeaseId = string;

export const MAX_KEY_BYTES = 1024;
export const MAX_VALUE_BYTES = 1024 * 1024;
/** Comparisons and operations of one transaction (etcd's default limit is 128 of each). */
export const MAX_TXN_ITEMS = 128;
export const MAX_RANGE_LIMIT = 10_000;

export interface KeyValue {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: Revision;
  readonly modRevision: Revision;
  /** 1 for a key that was just created, one more with every put. */
  readonly version: number;
  readonly lease?: LeaseId;
}

/** Keys with `start <= key < end`; without `end` all from `start`. `prefix` is short for both. */
export type KeyRange =
  | { readonly prefix: string }
  | { readonly start: string; readonly end?: string };

export interface RangeOptions {
  /** At most MAX_RANGE_LIMIT, which is also the default. */
  readonly limit?: number;
  readonly reverse?: boolean;
  /** Not from a cache in this process (cached-state.ts); drivers never cache. */
  readonly fresh?: boolean;
}

export interface RangeResult {
  readonly items: readonly KeyValue[];
  /** True when `limit` cut the answer off. */
  readonly more: boolean;
  /** The store's revision that this answer shows; watch from the one after it. */
  readonly revision: Revision;
}

export type Compare =
  | { readonly key: string; readonly exists: boolean }
  /** 0: the key does not exist. */
  | { readonly key: string; readonly modRevision: Revision }
  | { readonly key: string; readonly createRevision: Revision }
  | { readonly key: string; readonly value: Uint8Array };

export type Operation =
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly value: Uint8Array;
      readonly lease?: LeaseId;
    }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'deleteRange'; readonly range: KeyRange }
  | { readonly kind: 'range'; readonly range: KeyRange; readonly options?: RangeOptions };

export interface Transaction {
  readonly compare?: readonly Compare[];
  /** Done when all comparisons hold. One key may be put only once. */
  readonly success: readonly Operation[];
  /** Done otherwise. */
  readonly failure?: readonly Operation[];
}

export type OperationResult =
  | { readonly kind: 'put' }
  | { readonly kind: 'delete'; readonly deleted: number }
  | { readonly kind: 'range'; readonly items: readonly KeyValue[]; readonly more: boolean };

export interface TransactionResult {
  /** Whether the comparisons held, that is, which branch was done. */
  readonly succeeded: boolean;
  readonly revision: Revision;
  /** One per operation of the branch that was done. */
  readonly results: readonly OperationResult[];
}

export type WatchEvent =
  | { readonly kind: 'put'; readonly item: KeyValue }
  | { readonly kind: 'delete'; readonly key: string; readonly modRevision: Revision };

export interface WatchListener {
  /** Changes up to and including `revision`, oldest first. */
  onEvents(events: readonly WatchEvent[], revision: Revision): void;
  /** History before `oldest` is gone. The watch has ended: read the range again and watch anew. */
  onCompacted(oldest: Revision): void;
  /** The store cannot be reached now; the watch goes on by itself and loses nothing. */
  onTrouble?(error: Error): void;
}

export interface Watch {
  /** Monotonic milliseconds at which the store was last heard from: how stale this watch can be. */
  heardAtMs(): number;
  close(): void;
}

/**
 * Errors are OperatingErrors: `state-unavailable` (try again; the outcome of a transaction is then
 * unknown), `state-limit` (a key, value or transaction is too large), `no-lease`.
 */
export interface State {
  get(key: string): Promise<KeyValue | undefined>;
  range(range: KeyRange, options?: RangeOptions): Promise<RangeResult>;
  txn(transaction: Transaction): Promise<TransactionResult>;
  /** Changes to keys in `range` from `fromRevision` on (inclusive). */
  watch(range: KeyRange, fromRevision: Revision, listener: WatchListener): Watch;
  /** Keys put with the lease vanish when it is not kept alive for `ttlSeconds`. */
  grantLease(ttlSeconds: number): Promise<LeaseId>;
  /** Starts the time anew. False: the lease is gone, with its keys. */
  keepAlive(lease: LeaseId): Promise<boolean>;
  revokeLease(lease: LeaseId): Promise<void>;
  /** Forgets history before `revision`: a watch from below it reports `compacted`. */
  compact(revision: Revision): Promise<void>;
  close(): Promise<void>;
}
