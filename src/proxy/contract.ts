/**
 * What the HTTP dialects use of the proxy: protocol-neutral operations. Placement, quorums, handoffs
 * and caches are behind it; who may do what is decided before it (auth), how it looks after it (api).
 *
 * Expected outcomes are values. What could not be done is an OperatingError:
 *   unavailable      no majority could be reached in time; the outcome of a write is undecided
 *   undecided        others write the same key: whether this write took effect can't be told (S3: 409)
 *   not-strict       a condition that only a `strict` container can keep
 *   client-gone      the signal was aborted or the body broke off: nothing was stored
 *   etag-mismatch, length-mismatch, body-too-large   the body was not what was declared: nothing was stored
 *   quota-exceeded   the container, account or user would hold more than its quota: nothing was stored
 *   container-mismatch   the container changed policy or mode meanwhile
 *   customer-key-needed, customer-key-wrong, customer-key-unwanted   of an encrypted object's reader
 *   no-such-key, no-object-keys   a write wants to be encrypted with a key that is not there
 *   object-key-lost, sealed-damaged   an encrypted object can't be opened
 */
import type { BodyPieces, EntryState } from '#base/entry.ts';
import type { ContainerName, ObjectName, PolicyIndex } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { ListQuery } from '#container/calls.ts';
import type { ConsistencyMode, StoragePolicy } from '#ring/cluster.ts';
import type { Condition } from './condition.ts';
import type { EncryptionFacts, WantedEncryption } from './encryption/encryption.ts';

export interface Operation {
  readonly txn: string;
  readonly signal: AbortSignal;
  readonly read: 'quorum' | 'newest' | 'nearest';
  /**
   * Of a `newest` read in a strict container: what there is is written anew first. So no write that was sent before and is not
   * there takes effect any more; the read alone may be answered by replicas that such a write has not reached.
   */
  readonly decides?: true;
  /** For whom, for those who are told of it (notifications). */
  readonly by?: { readonly principal: string; readonly address: string };
  /** The user by whose leave it is done: what it writes is theirs, and counts against their quota. */
  readonly user?: string | undefined;
  /** Opens objects that their owner encrypted with a key of his own. Only ever in memory. */
  readonly customerKey?: Uint8Array;
  /** Bodies as they are stored, also where they are encrypted: to keep them in another place. */
  readonly asStored?: true;
}

/** Set or cleared (null) headers, lower case; each is its own last-writer-wins group. */
export type HeaderChanges = Readonly<Record<string, string | null>>;

export interface AccountInfo {
  readonly exists: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly containers: number;
  readonly objects: number;
  readonly bytes: number;
  readonly clientMicros: number;
}

export interface ContainerInfo {
  readonly name: ContainerName;
  readonly policy: StoragePolicy;
  /** The policy that it is leaving: its objects are in both (policy-move/README.md). */
  readonly former?: StoragePolicy;
  /** Objects that the move has left in this policy are being removed. */
  readonly left?: StoragePolicy;
  /** All that it has left and not gone back to. */
  readonly was?: readonly PolicyIndex[];
  readonly mode: ConsistencyMode;
  /** Of the settings: policy and mode. */
  readonly since: Timestamp;
  /** x-container-meta-*, x-container-read, x-container-write, ... */
  readonly headers: Readonly<Record<string, string>>;
  readonly objects: number;
  readonly bytes: number;
  readonly clientMicros: number;
}

export interface ListedObject {
  readonly name: string;
  readonly clientMicros: number;
  readonly bytes: number;
  readonly etag: string;
  readonly contentType: string;
  /** By algorithm, without values: `-` for a composite one (rows/row-checksum.ts). Old rows tell none. */
  readonly checksums?: Readonly<Record<string, string>>;
  /** `link`: stands for a version that is kept elsewhere (versions/README.md). */
  readonly role?: 'link' | 'marker';
}

/** An object, or one of its versions; without `version` the current one. */
export interface VersionedName extends ObjectName {
  readonly version?: string;
}

export interface ListedContainer {
  readonly name: string;
  readonly clientMicros: number;
  readonly objects: number;
  readonly bytes: number;
}

export interface Page<Item> {
  /** In listing order; `{ prefix }` where a delimiter rolled names up. */
  readonly items: readonly (Item | { readonly prefix: string })[];
  readonly truncated: boolean;
}

export interface PutRequest {
  readonly body: AsyncIterable<Uint8Array>;
  /** Undefined for chunked uploads. */
  readonly length: number | undefined;
  readonly maxLength: number;
  readonly contentType: string;
  readonly deleteAt?: number;
  /** Checked against the MD5 of the body, which is what the object's etag becomes. */
  readonly expectedEtag?: string;
  /** User metadata with full header names, lower case. */
  readonly user: Readonly<Record<string, string>>;
  /** content-encoding, content-disposition, x-object-manifest, ... */
  readonly system: Readonly<Record<string, string>>;
  /** Only while this holds (`precondition-failed`); evaluated after the body has been read. */
  readonly condition?: Condition;
  /** Called once the write can start (for `100 Continue`); the body is read only after it. */
  readonly onReady?: () => void;
  /** A manifest: `body` is the manifest's own bytes; etag and size as shown to clients. */
  readonly manifest?: {
    readonly kind: 'static' | 'multipart';
    readonly etag: string;
    readonly size: number;
    /** How its parts are encrypted, where the manifest itself must say so. */
    readonly encryption?: EncryptionFacts;
  };
  /** Keeps this client time (copies that preserve it); else now. */
  readonly clientMicros?: number;
  /** Further metadata groups, by name: tags, acl, retention, hold. */
  readonly groups?: MetadataGroups;
  /** Chosen by the caller where later writes must know this one again (multipart uploads). */
  readonly writeId?: string;
  /** The user whose it is; else the operation's. */
  readonly owner?: string;
  /** Else as the container's default says. */
  readonly encryption?: WantedEncryption;
  /** The entry is a delete marker, or stands for the version `id` (versions/README.md). */
  readonly version?: { readonly id?: string; readonly deleteMarker?: true };
  /** Of a version, or a part of an upload, that the store keeps in a place of its own: whose quotas count. */
  readonly bucket?: ContainerName;
  /** The body is the stored bytes of another object, read `asStored`: they are kept as they are. */
  readonly stored?: { readonly transform: BodyPieces['transform'] };
  /** What notifications call it, where it is no plain PUT. */
  readonly cause?: 'Copy' | 'Post';
  /** Asked once, when the body has been read to its end: what is known of it only then. */
  readonly finish?: () => BodyFacts;
}

export type MetadataGroups = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface BodyFacts {
  readonly checksums?: Readonly<Record<string, string>>;
  /** As shown to clients, where the stored bytes are other ones than the client sent. */
  readonly etag?: string;
  readonly size?: number;
  readonly contentType?: string;
}

export interface PutResult {
  readonly kind: 'stored' | 'precondition-failed' | 'no-container';
  readonly etag: string;
  readonly size: number;
  readonly clientMicros: number;
  /** `handoff`, `unlisted` or `local`: the X-Anello-Ack header; undefined: a full write. */
  readonly ack?: 'handoff' | 'unlisted' | 'local';
  /** How it was encrypted. */
  readonly encryption?: EncryptionFacts;
  /** In a container that keeps versions. */
  readonly versionId?: string;
}

/** What a HEAD tells. */
export interface ObjectStat extends EntryState {
  /** An `available` container answered with the best version found. */
  readonly degraded?: true;
}

/** An object's newest version, with as much of its body as is asked for. */
export interface ObjectReader {
  readonly state: EntryState;
  /** Bytes of the body, opened where it is encrypted: a manifest's own, not what it stands for. */
  readonly length: number;
  /** `degraded`: an `available` container answered with the best version found. */
  readonly degraded: boolean;
  /** Bytes [start, end) of this one version, from whichever replica has it, moving on when one dies. */
  read(start: number, end: number): AsyncIterable<Buffer>;
  /** The whole body where it came along with the state (small objects). */
  readonly inline?: Buffer;
}

/** `not-found` carries what is known, e.g. the tombstone's time for X-Backend-ish headers. */
export type Found<Value> = Value | undefined;

/** What a tombstone stands for, in a container that keeps versions. */
export interface DeleteMarker {
  readonly id: string;
  /** Called with the tombstone's time, once it is there. */
  readonly onMade?: (clientMicros: number) => void;
}

export interface Store {
  accountInfo(operation: Operation, account: string): Promise<AccountInfo>;
  updateAccount(operation: Operation, account: string, changes: HeaderChanges): Promise<void>;
  listContainers(
    operation: Operation,
    account: string,
    query: ListQuery,
  ): Promise<Found<Page<ListedContainer> & { info: AccountInfo }>>;

  createContainer(
    operation: Operation,
    name: ContainerName,
    options: {
      readonly policy?: PolicyIndex;
      readonly mode?: ConsistencyMode;
      readonly changes: HeaderChanges;
      /** `changes` are only for one that is made now (S3); without it an existing one takes them (Swift). */
      readonly leaveExisting?: boolean;
    },
  ): Promise<'created' | 'exists' | 'policy-conflict'>;
  /** `fresh`: from a majority; else a cached answer of at most two seconds ago will do. */
  containerInfo(
    operation: Operation,
    name: ContainerName,
    fresh: boolean,
  ): Promise<Found<ContainerInfo>>;
  updateContainer(
    operation: Operation,
    name: ContainerName,
    changes: HeaderChanges,
  ): Promise<'updated' | 'no-container'>;
  deleteContainer(
    operation: Operation,
    name: ContainerName,
  ): Promise<'deleted' | 'not-empty' | 'no-container'>;
  listObjects(
    operation: Operation,
    name: ContainerName,
    query: ListQuery,
  ): Promise<Found<Page<ListedObject> & { info: ContainerInfo }>>;

  putObject(operation: Operation, name: ObjectName, request: PutRequest): Promise<PutResult>;
  /** State and, for small objects, the body. Undefined: 404, honestly. */
  openObject(operation: Operation, name: VersionedName): Promise<Found<ObjectReader>>;
  statObject(operation: Operation, name: VersionedName): Promise<Found<ObjectStat>>;
  /** What is known of the name whatever it is, a tombstone too. */
  peekObject(operation: Operation, name: ObjectName): Promise<Found<EntryState>>;
  /** Replaces user metadata and the system values given (POST). */
  updateObject(
    operation: Operation,
    name: ObjectName,
    change: {
      readonly user: Readonly<Record<string, string>>;
      readonly system: Readonly<Record<string, string>>;
      /** Unix seconds; null: no expiry any more. */
      readonly deleteAt: number | null;
    },
    condition?: Condition,
  ): Promise<'updated' | 'not-found' | 'precondition-failed'>;
  /** Replaces these groups of an object's metadata (tags, acl, ...) and leaves all else. */
  updateGroups(
    operation: Operation,
    name: VersionedName,
    groups: MetadataGroups,
    condition?: Condition,
  ): Promise<'updated' | 'not-found' | 'precondition-failed'>;
  /** Writes its tombstone also when it answers `not-found` (not when a condition has failed). */
  deleteObject(
    operation: Operation,
    name: ObjectName,
    condition?: Condition,
    marker?: DeleteMarker,
  ): Promise<'deleted' | 'not-found' | 'no-container' | 'precondition-failed'>;

  policies(): readonly StoragePolicy[];
}
