/**
 * What the storage services use of a device. The engine behind it is described in README.md.
 *
 * A device is owned by exactly one process, so nothing here locks; calls that change it are joined
 * into commit groups: append, one fdatasync for all that wait, index, acknowledge.
 */
import type { EntryState } from '#base/entry.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';

/**
 * Bodies up to this many bytes are records of the log; larger ones are files under blobs/. A file costs a
 * directory entry and a sync of its own, a record its way through the page cache: they cost the same at
 * 256 KiB; at 1 MiB a file takes half of the CPU and gives 1.7 times the rate (README, "What the profile showed").
 */
export const DEFAULT_INLINE_LIMIT = 256 * 1024;

export interface EntryKey {
  readonly policy: PolicyIndex;
  /** 16 bytes. */
  readonly hash: Buffer;
}

/** What the index knows of a key: the joined state and what this device holds of it. */
export interface Entry {
  readonly key: EntryKey;
  /** `/account/container/object`. */
  readonly path: string;
  readonly state: EntryState;
  /** This device has the body of exactly `state.data`, not known to be damaged (true for an empty or absent body). */
  readonly hasBody: boolean;
  /** The container row of this state has not been acknowledged yet. */
  readonly unlisted: boolean;
  /** Wall milliseconds when this device stored the state, whenever it was written. */
  readonly storedMs: number;
}

export type DeviceStatus =
  | 'ok' // reads and writes
  | 'full' // reads; writes fail with `device-full`
  | 'read-only' // reads; the file system refuses writes
  | 'failed' // an I/O error of a sync or of the log: out of service until the process restarts
  | 'missing'; // the folder is not the one that was opened: wiped, unmounted or replaced

/** It gives what it has, and takes what makes room. */
export function isServing(status: DeviceStatus): boolean {
  return status === 'ok' || status === 'full';
}

export interface WriteRequest {
  readonly key: EntryKey;
  readonly path: string;
  readonly state: EntryState;
  /**
   * The body of `state.data`: small bytes, or what `stage` returned. Absent for tombstones, metadata
   * updates, empty bodies, state-only witnesses and replicas that learn a state without its body.
   */
  readonly body?: Buffer | StagedBody;
  /** Marks the entry until `markListed`; replication and handoffs carry the mark along. */
  readonly unlisted: boolean;
  /**
   * `write`: a client's write, stored only when it is acknowledged by the rule below.
   * `accept`: the record of a conditional round, stored only where the promise of its ballot (its newest
   * timestamp, which all of its parts have) still stands.
   * `join`: replication, handoff, repair: joined whatever is there; never an acknowledgement.
   */
  readonly intent: 'write' | 'accept' | 'join';
  /**
   * Of a `write`: W replicas have told their newest before, and its timestamp is above that. What is newer here is
   * concurrent then, and hides of the write only what it replaces (judge() in entry-change.ts).
   */
  readonly afterRound?: boolean;
  /** Of an `accept` without a body: refused where the body that its record keeps is not here (any more). */
  readonly needsBody?: boolean;
}

/**
 * `stored`: synced, and part of the state here. `newest`: the newest here, that of the request unless it came after
 * a round and beside something concurrent.
 * `superseded`: something newer is here (or promised), or another body than is needed; nothing was stored.
 * `use-rounds`: a conditional write came before; a plain one must go through the rounds.
 */
export type WriteOutcome =
  | { readonly kind: 'stored'; readonly newest: Timestamp }
  | { readonly kind: 'superseded'; readonly newest: Timestamp }
  | { readonly kind: 'use-rounds'; readonly newest: Timestamp };

/** The answer to a promise, given or not. */
export interface PromiseOutcome {
  readonly kind: 'promised' | 'refused';
  /** The highest number here: of the state, of a promise, or of one that may have been made. */
  readonly newest: Timestamp;
  /** As of the promise. */
  readonly entry: Entry | undefined;
  /** Nothing can surface over this state that was decided without it; see `isCertain`. */
  readonly certain: boolean;
}

/** A body that is on disk but not yet current; becomes so by a `write`, or goes by `abandon`. */
export interface StagedBody {
  readonly length: number;
  /** The chunk belongs to the stage from now on: it is not copied, and must not be changed. */
  write(chunk: Uint8Array): Promise<void>;
  /** Syncs the bytes (file and folder). Must precede the `write` that commits it. */
  finish(): Promise<void>;
  /**
   * The bytes of a finished stage that is not committed yet, each block's checksum verified.
   * @throws OperatingError `damaged`, `bad-stage`
   */
  read(): AsyncIterable<Buffer>;
  abandon(): Promise<void>;
}

export interface ByteRange {
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
}

export interface Device {
  readonly id: number;
  readonly name: string;
  readonly path: string;
  /** Changes whenever the device starts from nothing: 32 hex digits. */
  readonly incarnation: string;
  readonly status: DeviceStatus;

  /** The newest committed state, at once (index and cache; includes groups not yet in SQLite). */
  stat(key: EntryKey): Entry | undefined;

  /** @throws OperatingError `device-full`, `device-failed`, `device-missing`, `device-read-only`, `clock-drift` */
  write(request: WriteRequest): Promise<WriteOutcome>;

  /** Conditional rounds: promises (synced) to take nothing below the ballot, or refuses. */
  promise(key: EntryKey, path: string, ballot: Timestamp): Promise<PromiseOutcome>;
  /** Whether nothing can surface over the committed state that was decided without it. */
  isCertain(key: EntryKey): boolean;

  /** Starts a staged body; counts against the device's limit of open stages (`overloaded`). */
  stage(key: EntryKey): Promise<StagedBody>;

  /**
   * The bytes of this entry's body, each block's checksum verified before it is given out.
   * @throws OperatingError `damaged` (quarantined already), `gone` (the version was overwritten and freed), `device-failed`
   */
  read(entry: Entry, range: ByteRange): AsyncIterable<Buffer>;
  /** The whole of a small inline body at once; undefined where it is not inline or not small (> 64 KiB). Same errors. */
  readSmall(entry: Entry): Buffer | undefined;

  /**
   * Compare-and-drop: forgets the key if the entry is still in exactly this state and its row is
   * acknowledged. False: it is not, and nothing was done.
   */
  forget(entry: Entry): Promise<boolean>;

  /** Clears the unlisted mark if the entry still is at this newest timestamp. Lazy: not synced at once. */
  markListed(key: EntryKey, newest: Timestamp): void;
  /** Entries that stayed unlisted for longer than `olderThanMs`, oldest first, without the first `skip` of them. */
  unlisted(limit: number, olderThanMs: number, skip?: number): Entry[];

  /** Entries of a ring in hash order from `from` (inclusive) up to `to` (exclusive, undefined: the end). */
  entries(policy: PolicyIndex, from: Buffer, to: Buffer | undefined, limit: number): Entry[];
  /** Objects whose effective delete-at is at or before `nowSeconds`, earliest first. */
  expiring(nowSeconds: number, limit: number, skip?: number): Entry[];

  readonly digests: Digests;
  readonly completeness: Completeness;
  readonly versions: PartitionVersions;
  readonly rowLog: RowLog;

  readonly audit: Audit;
  /** Records that were found damaged and kept for a person. */
  readonly quarantined: Quarantined;

  facts(): DeviceFacts;
  /** One bounded step of compaction; false: nothing to do. */
  compactStep(): Promise<boolean>;
  /** Flushes, marks a clean shutdown, closes files. */
  close(): Promise<void>;
}

/** The auditor's way through everything on the device, remembered over restarts. */
export interface Audit {
  /**
   * Reads on, about so many bytes, and sees to what is damaged: bodies and blobs are quarantined and
   * told, segments rewritten, an index or rows database taken out of use until it is rebuilt.
   * @throws OperatingError the device's errors
   */
  step(bytes: number): Promise<AuditStep>;
  facts(): AuditFacts;
  /** Begins a new cycle. */
  restart(): Promise<void>;
  /** Where another auditor of this device is, saved with the place now and then; '': at its beginning. */
  note(name: string): string;
  setNote(name: string, text: string): void;
  /** What a person asks for; undefined: what the cycle asks for. */
  setRate(bytesPerSecond: number | undefined): Promise<void>;
}

export interface AuditStep {
  readonly bytes: number;
  /** Everything has been read once more. */
  readonly cycleDone: boolean;
}

export interface AuditFacts {
  /** What one cycle has to read, about. */
  readonly totalBytes: number;
  /** What this cycle has read. */
  readonly readBytes: number;
  readonly cycles: number;
  /** Wall milliseconds when this cycle began. */
  readonly startedMs: number;
  /** Everything has been verified since then; undefined: not yet once. */
  readonly verifiedSinceMs?: number;
  /** Damaged places found since the device was made. */
  readonly found: number;
  /** Blobs that no entry names. */
  readonly orphans: number;
  /** Segments with damage that wait to be rewritten. */
  readonly suspects: number;
  /** What a person asked for. */
  readonly bytesPerSecond?: number;
}

export interface Quarantined {
  readonly count: number;
  list(limit: number): Promise<readonly QuarantineItem[]>;
  /** Removes what is kept. How many notes there were. */
  clear(): Promise<number>;
}

export interface QuarantineItem {
  /** Of the file, or of the note where there is none. */
  readonly name: string;
  readonly what: string;
  readonly path: string | undefined;
  readonly bytes: number;
  readonly atMicros: number | undefined;
}

export interface DeviceFacts {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly entries: number;
  readonly liveBytes: number;
  readonly logBytes: number;
  readonly blobBytes: number;
  readonly unlisted: number;
  readonly quarantined: number;
  readonly commits: number;
  readonly syncs: number;
}

export { BUCKET_BITS } from '#base/hash.ts';

/** 128-bit sums over canonical joined states; sums over ranges of buckets are sums of their digests. */
export interface Digests {
  /**
   * Splits the buckets [from, to) into `parts` equal ranges and gives one summary each.
   * For rows (CONTAINER_RING, ACCOUNT_RING) the row store answers the same interface.
   */
  summarise(policy: PolicyIndex, from: number, to: number, parts: number): DigestSummary[];
  /** Another number whenever a sum may be another: what was computed under the same one still holds. */
  readonly changes: number;
}

export interface DigestSummary {
  /** 16 bytes. */
  readonly sum: Buffer;
  readonly live: number;
  readonly total: number;
  /** Entries that want a body which is not here, or not good. Absent where rows are summed. */
  readonly bodiless?: number;
}

/**
 * For which parts of the hash space this device provably knows everything it ever acknowledged.
 * Kept per ring number as ranges of buckets, changed by synced log records.
 */
export interface Completeness {
  isComplete(policy: PolicyIndex, hash: Buffer): boolean;
  mark(policy: PolicyIndex, fromBucket: number, toBucket: number, complete: boolean): Promise<void>;
  /** All ranges that are complete now; the very same list until that changes. */
  ranges(policy: PolicyIndex): readonly { readonly from: number; readonly to: number }[];
  /** The same, as if the end of the log were confirmed: the last batch is in doubt, and nothing else. */
  claimed(policy: PolicyIndex): readonly { readonly from: number; readonly to: number }[];
  /** A bad last batch was cut off, and peers have not confirmed yet that nothing is missing: nothing counts. */
  readonly tailUnconfirmed: boolean;
  /** Monotonic: what is learnt of peers from then on makes complete (ring/early-learning.ts). */
  readonly countsFromMs: number;
}

/**
 * What a device durably knows of ring versions, per ring and range of buckets (consistency.md, "Ring
 * change"). It survives with the device, not with the process, and is gone with a wipe.
 */
export interface PartitionVersions {
  /** Calls placed by a ring below this version are refused for such a hash; 0: none. */
  fenceOf(policy: PolicyIndex, hash: Buffer): number;
  /** The highest of those anywhere in a range of hash buckets. */
  fenceIn(policy: PolicyIndex, from: number, to: number): number;
  /** In force when the call returns, synced (and everything written before it) when it resolves. */
  fence(
    policy: PolicyIndex,
    ranges: readonly (readonly [from: number, to: number])[],
    version: number,
  ): Promise<void>;
  /**
   * What the device knew of fences may be lost: the end of its log was bad. Then it must behave as if
   * it had been asked for every fence that its ring speaks of.
   */
  readonly forgetful: boolean;
  /** It has been asked for all of them (again). */
  trust(): void;
  /** Since which ring version the device knows all that was acknowledged before; 0: it never learnt. */
  learntOf(policy: PolicyIndex, from: number, to: number): number;
  /** Synced when it resolves, in force from then on. */
  learnt(
    policy: PolicyIndex,
    ranges: readonly (readonly [from: number, to: number])[],
    version: number,
  ): Promise<void>;
  /** Drops what no ring in use needs any more. */
  prune(
    policy: PolicyIndex,
    isWanted: (from: number, to: number, version: number) => boolean,
  ): Promise<void>;
}

/** A place in the log; later is larger. */
export interface LogPosition {
  readonly segment: number;
  readonly offset: number;
}

/**
 * The log as the row store sees it. A row is durable when `append` resolves, and applied to the sink a
 * moment later: a transaction for each group would cost more than the rows in it.
 */
export interface RowLog {
  append(row: RowRecord): Promise<void>;
  /** Applies what is durable and waits, before a look at the sink. @throws what the device makes of the failure */
  apply(): void;
}

export interface RowRecord {
  /** CONTAINER_RING or ACCOUNT_RING, and the hash of the container or account. */
  readonly key: EntryKey;
  /** `/account/container` or `/account`. */
  readonly path: string;
  /** Name of the row; '' for the container's or account's own state. */
  readonly name: string;
  readonly state: EntryState;
  /** The oldest segment that may hold an earlier record of the row; absent: the one it is written to. */
  readonly since?: number;
  /**
   * What the log said of the row before this record is forgotten; `state` is empty then. The last segment
   * that may hold such records; 0: the one it is written to.
   */
  readonly forgets?: number;
}

/** A row as it stands in the log. */
export interface LoggedRow {
  readonly row: RowRecord & { readonly since: number };
  readonly position: LogPosition;
  /** Wall milliseconds; of a record that compaction moved, when it was moved. */
  readonly writtenMs: number;
}

/**
 * What compaction does with a row's record: `needed` ones are written again, `dead` ones go. `undecided`:
 * what it is will be known later; until then it must stay where it is.
 */
export type RowStanding = 'needed' | 'dead' | 'undecided';

/** What the row store gives to a device when it is opened: row records are applied to it in log order. */
export interface RowSink {
  /** Up to where the rows database has everything; undefined: nothing (it was lost): replay all. */
  applied(): LogPosition | undefined;
  /** One transaction: the rows and the new position. Called in log order, also during replay. */
  apply(rows: readonly LoggedRow[], upTo: LogPosition): void;
  /** For compaction: is this record still (part of) the newest known of its row, or what forgets older ones? */
  standing(row: RowRecord): RowStanding;
  /** There is no segment left between these two: what was forgotten in there can't be replayed any more. */
  noSegments(after: number, before: number): void;
  /** Rows as they are known now, in a fixed order: for records of them that the log has lost. */
  rowsAfter(place: RowPlace | undefined, limit: number): RowPage;
  /** How many there are, about. */
  readonly rowCount: number;
  /**
   * The auditor: reads about so many rows again, from the place on that the last step gave (0: the
   * first), past every cache. `next` undefined: all have been read.
   * @throws OperatingError `rows-damaged`: the store is out of use until the device is opened anew
   */
  audit(
    after: number,
    limit: number,
  ): Promise<{ readonly rows: number; readonly next: number | undefined }>;
  /** For compaction: makes what was applied durable (a complete checkpoint). */
  checkpoint(): Promise<boolean>;
  /** The log has not all any more that came behind `applied`: closed, and opened again it has nothing. */
  condemn(): void;
  close(): void;
}

export interface RowPlace {
  readonly container: number;
  readonly hidden: number;
  readonly name: string;
}

export interface RowPage {
  readonly rows: readonly RowRecord[];
  /** Undefined: these were the last. */
  readonly next: RowPlace | undefined;
}

/** device.json, written when a device is formatted. */
export interface DeviceIdentity {
  readonly formatVersion: number;
  readonly clusterId: string;
  readonly deviceId: number;
  readonly name: string;
  readonly incarnation: string;
  /** True only for devices that were there when the cluster was made: complete from the start, for the partitions of the first rings. */
  readonly genesis: boolean;
}
