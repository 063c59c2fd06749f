/**
 * The object service's calls, as they are in msgpack. States travel as encodeState() bytes.
 * Every call names the ring version it was placed by; a device of a newer version refuses (`ring-old`).
 */
import type { PolicyIndex } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';

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
}

/**
 * object.write: a whole small object, a tombstone, or metadata. With `stage`: commits a staged body.
 * The node commits on the device, then sends the row to the listing target of its own site first,
 * then to the others in turn until one has it, and only then answers.
 */
export interface WriteArgs extends EntryAddress {
  readonly path: string;
  readonly state: Buffer;
  readonly body?: Buffer;
  readonly stage?: string;
  readonly listing?: Listing;
  readonly intent: 'write' | 'join';
  readonly unlisted?: boolean;
}

export interface WriteReply {
  readonly outcome: 'stored' | 'superseded' | 'use-rounds';
  readonly newest: Timestamp;
  /** Only complete replicas count in a majority. */
  readonly complete: boolean;
  /** Container devices that hold the row durably by this node's doing. */
  readonly listedOn: readonly number[];
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

/** object.abandon */
export interface AbandonArgs {
  readonly device: number;
  readonly stage: string;
}

/** object.stat, and object.read without a body wanted. */
export interface StatReply {
  /** Null: nothing is known of the key here. */
  readonly state: Buffer | null;
  readonly complete: boolean;
  readonly hasBody: boolean;
}

/**
 * object.read: state, and bytes. Bodies up to `inlineUpTo` come whole in the reply; else, with a
 * range, as the reply's body stream. `pin`: only exactly this version, else `hasBody: false`.
 */
export interface ReadArgs extends EntryAddress {
  readonly inlineUpTo?: number;
  readonly range?: readonly [start: number, end: number];
  readonly pin?: { readonly timestamp: Timestamp; readonly writeId: string };
}

export interface ReadReply extends StatReply {
  readonly inline?: Buffer;
}
