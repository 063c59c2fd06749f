/**
 * The object service's calls, as they are in msgpack. States travel as encodeState() bytes.
 * Every call names the ring version it was placed by; a device of a newer version refuses (`ring-old`).
 */
import type { PolicyIndex } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { RowOutcome } from '#container/calls.ts';
import type { DeviceFacts } from '#device/contract.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import type { MoveReport } from '#ring/move-progress.ts';
import type { AuditReport } from './auditor.ts';

/** A device and the node that serves it. */
export interface Target {
  readonly device: number;
  readonly node: string;
}

export interface EntryAddress {
  readonly device: number;
  readonly policy: PolicyIndex;
  readonly hash: Buffer;
  readonly ringVersion: number;
}

/** What a storage node needs to list the object: the container's replicas and what the writer assumed. */
export interface Listing {
  readonly containerHash: Buffer;
  readonly ringVersion: number;
  readonly targets: readonly Target[];
  readonly mode: ConsistencyMode;
  readonly policy: PolicyIndex;
  /** The policy that the container is leaving. */
  readonly from?: PolicyIndex;
  /** Of the settings that the writer knows. */
  readonly since?: Timestamp;
}

/**
 * object.write: a whole small object, a tombstone, or metadata. With `stage`: commits a staged body.
 * A body of up to 256 KiB comes in `body` or as the body of the call.
 * The node commits on the device, then sends the row to the listing target of its own site first,
 * then to the others in turn until one has it, and only then answers.
 */
export interface WriteArgs extends EntryAddress {
  readonly path: string;
  readonly state: Buffer;
  readonly body?: Buffer;
  readonly stage?: string;
  readonly listing?: Listing;
  readonly intent: 'write' | 'accept' | 'join';
  /** Of a `write`: see WriteRequest. */
  readonly afterRound?: boolean;
  readonly unlisted?: boolean;
  /**
   * With no body: replicas that have it. A `join` fetches it in the background; an `accept` before it
   * commits, and fails without it.
   */
  readonly sources?: readonly Target[];
  /** The device that hands over what it holds. */
  readonly from?: number;
}

/**
 * object.promise: opens a conditional round; object.accept (WriteArgs, intent `accept`) ends it. Both are
 * refused (`ring-old`) by a device that knows any newer ring: a round is bound to one version.
 */
export interface PromiseArgs extends EntryAddress {
  readonly path: string;
  readonly ballot: Timestamp;
}

export interface PromiseReply {
  readonly outcome: 'promised' | 'refused';
  /** The highest number known here. */
  readonly newest: Timestamp;
  /** As of the promise; null: nothing is known of the key. */
  readonly state: Buffer | null;
  readonly hasBody: boolean;
  readonly complete: boolean;
  /** Device.isCertain() of that state. */
  readonly certain: boolean;
}

export interface WriteReply {
  readonly outcome: 'stored' | 'superseded' | 'use-rounds';
  readonly newest: Timestamp;
  /** Only complete replicas count in a majority. */
  readonly complete: boolean;
  /** Complete container devices that hold the row durably by this node's doing. */
  readonly listedOn: readonly number[];
  /** Why a container replica refused the row, where one did. */
  readonly refused?: RowOutcome;
  /** Deletions only: what was here before, so that they know what they deleted without asking first. */
  readonly previous?: Previous;
}

export interface Previous {
  /** Of the data part: a replica may know newer metadata and have missed the data. */
  readonly data: Timestamp;
  readonly newest: Timestamp;
  readonly live: boolean;
}

/** object.stage (body stream): stages the bytes; the stage id lives as long as the process, or 10 minutes idle. */
export interface StageArgs extends EntryAddress {
  readonly path: string;
}

export interface StageReply {
  readonly stage: string;
  readonly length: number;
  readonly newest: Timestamp;
  readonly complete: boolean;
}

/**
 * object.retire: drops a name of a container that has left the policy (retirer.ts): the node asks the
 * container's replicas by itself first.
 */
export interface RetireArgs extends EntryAddress {
  readonly path: string;
}

export interface RetireReply {
  /** Nothing is here (any more). */
  readonly retired: boolean;
}

/** object.audited: when the last round of the listing auditor began in which nothing stayed in doubt. */
export interface AuditedArgs {
  readonly device: number;
}

export interface AuditedReply {
  /** Unix ms of the node's clock; 0: there was none. */
  readonly sinceMs: number;
}

/** object.abandon; object.staged, whose reply's body is what was staged: for another device that shall have it too. */
export interface StagedArgs {
  readonly device: number;
  readonly stage: string;
}

/** object.staged */
export interface StagedReply {
  readonly length: number;
}

/** object.stat */
export interface StatArgs extends EntryAddress {
  /** Only `version` is wanted: enough to confirm what another replica says. */
  readonly brief?: boolean;
}

export interface StatReply {
  /** Null: nothing is known of the key here (or `brief`). */
  readonly state: Buffer | null;
  /** versionKey() of the state, '' where nothing is known: equal keys are equal states. */
  readonly version: string;
  readonly complete: boolean;
  readonly hasBody: boolean;
  /** Device.isCertain() of the state. */
  readonly certain: boolean;
}

/**
 * object.read: state, and bytes. Bodies up to `inlineUpTo` come whole in the reply; else, with a
 * range, as the reply's body stream. `pin`: only exactly this body (bodyVersion), else `hasBody: false`.
 */
export interface ReadArgs extends EntryAddress {
  readonly inlineUpTo?: number;
  readonly range?: readonly [start: number, end: number];
  readonly pin?: Timestamp;
}

export interface ReadReply extends StatReply {
  readonly inline?: Buffer;
}

/** object.bodies: small bodies, many at once; the reply's body is those that are here, one after the other. */
export interface BodiesArgs {
  readonly device: number;
  readonly policy: PolicyIndex;
  readonly ringVersion: number;
  readonly wishes: readonly BodyWish[];
}

/** Exactly this body of a name: bodyVersion() of its data part. */
export interface BodyWish {
  readonly hash: Buffer;
  readonly pin: Timestamp;
}

export interface BodiesReply {
  /** In the order of the wishes: bytes of the body; -1: it is not here; -2: left for the next call. */
  readonly lengths: readonly number[];
}

/** object.digests: what this device holds in each range of hash buckets, to compare before exchanging. */
export interface DigestsArgs {
  readonly device: number;
  readonly policy: PolicyIndex;
  readonly ringVersion: number;
  /** [from, to) in buckets of BUCKET_BITS. */
  readonly ranges: readonly (readonly [from: number, to: number])[];
}

export interface DigestsReply {
  readonly incarnation: string;
  /** In the order of the ranges. */
  readonly ranges: readonly RangeDigest[];
}

export interface RangeDigest {
  readonly sum: Buffer;
  readonly total: number;
  readonly live: number;
  /** Complete for the whole of the range. */
  readonly complete: boolean;
  /** Or would be, if the end of its log were confirmed. Absent: as `complete`. */
  readonly claimed?: boolean;
  /** Older rings than this are refused somewhere in the range; 0: no fence. */
  readonly fence?: number;
}

/** object.states: the states of a range of hashes, in order, `limit` at a time. */
export interface StatesArgs {
  readonly device: number;
  readonly policy: PolicyIndex;
  readonly ringVersion: number;
  /** Inclusive. */
  readonly from: Buffer;
  /** Exclusive; null: to the end. */
  readonly to: Buffer | null;
  /** Only hashes in these ranges of buckets, which ascend: many small partitions in one page. */
  readonly ranges?: readonly (readonly [from: number, to: number])[];
  readonly limit: number;
}

export interface StatesReply {
  readonly entries: readonly StateItem[];
  /** Where to go on; null: that was all. */
  readonly next: Buffer | null;
}

export interface StateItem {
  readonly hash: Buffer;
  readonly path: string;
  readonly state: Buffer;
  readonly hasBody: boolean;
  readonly unlisted: boolean;
}

/** device.moves: how far the devices of a node are with the joint partitions (ring/move-progress.ts). */
export interface MovesReply {
  readonly reports: readonly MoveReport[];
}

/** device.status: what `anello status` shows of a node's devices. */
export interface DevicesReply {
  readonly devices: readonly DeviceReport[];
}

export interface DeviceReport {
  readonly id: number;
  readonly name: string;
  readonly path: string;
  readonly status: string;
  readonly incarnation: string;
  readonly facts: DeviceFacts;
  readonly audit: AuditReport;
  /** Share of its primary partitions that it is complete for, by ring number; 1: all. */
  readonly complete: Readonly<Record<string, number>>;
}
