/** What is committed: client writes and joins, rows, promises, forgetting, partition state. */
import { bodyLength, EMPTY_STATE, newestTimestamp } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import { blockChecksums } from './blocks.ts';
import type { Operation } from './committer.ts';
import type {
  EntryKey,
  LoggedRow,
  PromiseOutcome,
  RowRecord,
  RowStanding,
  WriteOutcome,
  WriteRequest,
} from './contract.ts';
import type { ContributionHasher } from './contribution.ts';
import {
  type Change,
  changeEntry,
  isCertain,
  judge,
  kindWithoutBody,
  type Promised,
} from './entry-change.ts';
import type { EntryStore } from './entry-store.ts';
import { FLAG_UNLISTED } from './format.ts';
import type { BatchBuilder } from './log-writer.ts';
import type { StandingPromise } from './promise-table.ts';
import {
  type BlobReference,
  encodeBlobExtra,
  encodeForgetExtra,
  encodePartitionExtra,
  encodePromiseExtra,
  encodeRowExtra,
  type PartitionExtra,
} from './record-extra.ts';
import { Stage } from './stage.ts';
import { type BodyPlace, type RecordPlace, StoredEntry } from './stored-entry.ts';

/** What operations need of their device. */
export interface OperationHost {
  readonly store: EntryStore;
  readonly hasher: ContributionHasher;
  /** Of the newest commit, including the one that is being written. */
  promised(key: EntryKey): Promised;
  /** A row record is part of the group. */
  addRow(row: LoggedRow['row'], place: RecordPlace, writtenMs: number): void;
  /** A forget record of an entry is part of the group. */
  addForget(place: RecordPlace): void;
  /** What is to become of a row's record; decided while the group is formed. */
  standing(row: RowRecord): RowStanding;
}

/** A body that a record brings along. */
export type GivenBody =
  | { readonly kind: 'inline'; readonly bytes: Buffer }
  | { readonly kind: 'blob'; readonly reference: BlobReference };

const EMPTY = Buffer.alloc(0);

interface EntryRecord {
  readonly key: EntryKey;
  readonly path: string;
  readonly change: Pick<Change, 'state' | 'stateBytes'>;
  readonly unlistedSinceMs: number;
  readonly storedMs: number;
  readonly since: number;
  /** The body, where this record holds or names it. */
  readonly given: GivenBody | undefined;
  /** The body, where an earlier record does. */
  readonly kept: BodyPlace | undefined;
  readonly contribution: Buffer;
}

/** Adds the record of an entry to the batch, and the entry to the commit. */
export function appendEntry(host: OperationHost, batch: BatchBuilder, record: EntryRecord): void {
  const { key, path, change, since, given } = record;
  const bytes = given?.kind === 'inline' ? given.bytes : EMPTY;
  const checksums = blockChecksums(bytes);
  const kind = given === undefined ? kindWithoutBody(change.state) : given.kind;
  const parts = {
    kind: kind === 'inline' ? 'data' : kind,
    flags: record.unlistedSinceMs === 0 ? 0 : FLAG_UNLISTED,
    policy: key.policy,
    hash: key.hash,
    since,
    path,
    state: change.stateBytes,
    checksums,
    dataLength: bytes.length,
    extra: given?.kind === 'blob' ? encodeBlobExtra(given.reference) : undefined,
  } as const;
  const { place, dataStart } = batch.add(parts, bytes);
  const entry = new StoredEntry({
    key,
    path,
    stateBytes: change.stateBytes,
    state: change.state,
    record: place,
    body: bodyPlace(given, place, dataStart, checksums) ?? record.kept,
    unlistedSinceMs: record.unlistedSinceMs,
    since,
    storedMs: record.storedMs,
    contribution: record.contribution,
  });
  host.store.put(key, entry);
}

function bodyPlace(
  given: GivenBody | undefined,
  record: RecordPlace,
  start: number,
  checksums: readonly number[],
): BodyPlace | undefined {
  if (given === undefined || (given.kind === 'inline' && given.bytes.length === 0))
    return undefined;
  if (given.kind === 'blob') {
    const { name, length, check } = given.reference; // of a moved blob it is its old place, record too
    return { kind: 'blob', record, name, length, check };
  }
  return { kind: 'inline', record, start, length: given.bytes.length, checksums };
}

/** Resolves or rejects a promise when its group has been committed, or could not be. */
abstract class Answering<Result> implements Operation {
  abstract readonly bytes: number;
  readonly answer: Promise<Result>;
  protected result: Result | undefined;
  #resolve!: (result: Result) => void;
  fail!: (error: unknown) => void;

  constructor() {
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.fail = reject;
    });
  }

  abstract prepare(batch: BatchBuilder): void;

  done(): void {
    this.#resolve(this.result as Result);
  }
}

export class WriteOperation extends Answering<WriteOutcome> {
  readonly bytes: number;
  readonly #host: OperationHost;
  readonly #request: WriteRequest;
  #bodyTaken = false;

  constructor(host: OperationHost, request: WriteRequest) {
    super();
    this.#host = host;
    this.#request = request;
    this.bytes = 512 + (request.body instanceof Stage ? 0 : (request.body?.length ?? 0));
  }

  prepare(batch: BatchBuilder): void {
    const { store } = this.#host;
    const request = this.#request;
    const existing = store.latest(request.key);
    const promised = this.#host.promised(request.key);
    const verdict = judge(existing?.state, promised, request);
    if (verdict.kind !== 'store') {
      this.result = verdict;
      return;
    }
    const change = changeEntry(existing, request, request.body !== undefined);
    // Replication may have brought another version since the promise, and freed the body (seed 902047).
    if (request.needsBody && change.body === 'none' && bodyLength(change.state) > 0) {
      this.result = { kind: 'superseded', newest: newestTimestamp(existing?.state ?? EMPTY_STATE) };
      return;
    }
    const newest = newestTimestamp(change.state);
    const isNewest = change.needed || newest === newestTimestamp(request.state);
    this.result = { kind: isNewest ? 'stored' : 'superseded', newest };
    if (!change.needed) return;
    this.#append(batch, existing, change);
    if (isOver(promised.standing, newest, request.intent)) {
      store.promises.put(request.key, undefined);
    }
  }

  #append(batch: BatchBuilder, existing: StoredEntry | undefined, change: Change): void {
    const request = this.#request;
    const key = existing?.key ?? copyKey(request.key);
    const nowMs = batch.writtenMs;
    this.#bodyTaken = change.body === 'given';
    appendEntry(this.#host, batch, {
      key,
      path: request.path,
      change,
      unlistedSinceMs: change.unlisted ? existing?.unlistedSinceMs || nowMs : 0,
      storedMs: nowMs,
      since: existing?.since ?? batch.segment,
      given: change.body === 'given' ? givenBody(request.body!) : undefined,
      kept: change.body === 'kept' ? existing?.body : undefined,
      contribution: this.#host.hasher.of(key, change.state),
    });
  }

  override done(): void {
    const { body } = this.#request;
    if (body instanceof Stage) {
      if (this.#bodyTaken) body.committed();
      // The body was here already (a retry): this copy of it is not needed.
      else if (this.result?.kind === 'stored') body.abandon().catch(() => undefined);
    }
    super.done();
  }
}

/** A copy of the promised record itself that was joined leaves the promise to the accept. */
function isOver(
  standing: StandingPromise | undefined,
  newest: Timestamp,
  intent: WriteRequest['intent'],
): boolean {
  if (standing === undefined) return false;
  return intent === 'join' ? newest > standing.ballot : newest >= standing.ballot;
}

function givenBody(body: NonNullable<WriteRequest['body']>): GivenBody {
  if (!(body instanceof Stage)) return { kind: 'inline', bytes: body as Buffer };
  const { reference } = body;
  if (reference !== undefined) return { kind: 'blob', reference };
  return { kind: 'inline', bytes: body.inline! };
}

/** The caller's key may be a view into a message that should not be kept alive for it. */
export function copyKey(key: EntryKey): EntryKey {
  return { policy: key.policy, hash: Buffer.from(key.hash) };
}

/** Adds the record of a row, or of its being forgotten, to the batch and to the commit. */
export function appendRow(host: OperationHost, batch: BatchBuilder, row: RowRecord): void {
  const { key, path, name, forgets } = row;
  const { policy, hash } = key;
  const since = row.since ?? batch.segment;
  const common = { flags: 0, policy, hash, since, path };
  if (forgets === undefined) {
    const { place } = batch.add({
      kind: 'row',
      ...common,
      extra: encodeRowExtra(name),
      state: encodeState(row.state),
    });
    host.addRow({ ...row, since }, place, batch.writtenMs);
    return;
  }
  const until = forgets === 0 ? undefined : forgets;
  const { place } = batch.add({
    kind: 'forget',
    ...common,
    extra: encodeForgetExtra({ name, until }),
  });
  host.addRow({ ...row, since, forgets: until ?? batch.segment }, place, batch.writtenMs);
}

export class RowOperation extends Answering<void> {
  readonly bytes = 512;
  readonly #host: OperationHost;
  readonly #row: RowRecord;

  constructor(host: OperationHost, row: RowRecord) {
    super();
    this.#host = host;
    this.#row = row;
  }

  prepare(batch: BatchBuilder): void {
    appendRow(this.#host, batch, this.#row);
  }
}

export class PromiseOperation extends Answering<PromiseOutcome> {
  readonly bytes = 256;
  readonly #host: OperationHost;
  readonly #key: EntryKey;
  readonly #path: string;
  readonly #ballot: Timestamp;

  constructor(host: OperationHost, key: EntryKey, path: string, ballot: Timestamp) {
    super();
    this.#host = host;
    this.#key = key;
    this.#path = path;
    this.#ballot = ballot;
  }

  prepare(batch: BatchBuilder): void {
    const { store } = this.#host;
    const entry = store.latest(this.#key);
    const promised = this.#host.promised(this.#key);
    const { standing, floor } = promised;
    const newest = entry === undefined ? ZERO_TIMESTAMP : newestTimestamp(entry.state);
    const above = maxTimestamp(maxTimestamp(newest, floor), standing?.ballot ?? ZERO_TIMESTAMP);
    const kind = above < this.#ballot ? 'promised' : 'refused';
    this.result = { kind, newest: above, entry, certain: isCertain(entry?.state, promised) };
    if (kind === 'refused') return;
    // What an earlier promise has not seen, a record that was accepted under it may still ignore.
    const seen = standing !== undefined && standing.ballot > newest ? standing.seen : newest;
    const promise = { ballot: this.#ballot, seen };
    batch.add({
      kind: 'promise',
      flags: 0,
      policy: this.#key.policy,
      hash: this.#key.hash,
      since: batch.segment,
      path: this.#path,
      extra: encodePromiseExtra(promise),
    });
    store.promises.put(this.#key, promise);
  }
}

/** Promises that are too old to matter; their floors have been raised before. */
export class ForgetPromisesOperation extends Answering<void> {
  readonly bytes = 0;
  readonly #host: OperationHost;
  readonly #promises: readonly { readonly key: EntryKey; readonly ballot: Timestamp }[];

  constructor(host: OperationHost, promises: readonly { key: EntryKey; ballot: Timestamp }[]) {
    super();
    this.#host = host;
    this.#promises = promises;
  }

  /** Without a record: one that replay brings back is forgotten again, under the same floor. */
  prepare(): void {
    const { promises } = this.#host.store;
    for (const { key, ballot } of this.#promises) {
      if (promises.get(key)?.ballot === ballot) promises.put(key, undefined);
    }
  }
}

/** A promise that is in force, again: the record that had it can't be read any more. */
export class PromiseAgainOperation extends Answering<void> {
  readonly bytes = 256;
  readonly #host: OperationHost;
  readonly #key: EntryKey;
  readonly #promise: StandingPromise;

  constructor(host: OperationHost, key: EntryKey, promise: StandingPromise) {
    super();
    this.#host = host;
    this.#key = key;
    this.#promise = promise;
  }

  prepare(batch: BatchBuilder): void {
    const { policy, hash } = this.#key;
    if (this.#host.store.promises.get(this.#key)?.ballot !== this.#promise.ballot) return;
    const extra = encodePromiseExtra(this.#promise);
    batch.add({ kind: 'promise', flags: 0, policy, hash, since: batch.segment, path: '', extra });
  }
}

/** Compare-and-drop: the key is forgotten only while it is still in exactly this state. */
export class ForgetOperation extends Answering<boolean> {
  readonly bytes = 256;
  readonly #host: OperationHost;
  readonly #entry: StoredEntry;
  readonly #which: 'listed' | 'listed or not';

  constructor(
    host: OperationHost,
    entry: StoredEntry,
    which: 'listed' | 'listed or not' = 'listed',
  ) {
    super();
    this.#host = host;
    this.#entry = entry;
    this.#which = which;
  }

  prepare(batch: BatchBuilder): void {
    const { key, path, since } = this.#entry;
    const current = this.#host.store.latest(key);
    this.result =
      current !== undefined &&
      (this.#which !== 'listed' || !current.unlisted) &&
      current.stateBytes.equals(this.#entry.stateBytes);
    if (!this.result) return;
    const { policy, hash } = key;
    const { place } = batch.add({ kind: 'forget', flags: 0, policy, hash, since, path });
    this.#host.addForget(place);
    this.#host.store.put(key, undefined);
  }
}

export class PartitionOperation extends Answering<void> {
  readonly bytes = 4096;
  readonly #policy: number;
  readonly #extra: PartitionExtra;

  constructor(policy: number, extra: PartitionExtra) {
    super();
    this.#policy = policy;
    this.#extra = extra;
  }

  prepare(batch: BatchBuilder): void {
    batch.add({
      kind: 'partition',
      flags: 0,
      policy: this.#policy,
      hash: Buffer.alloc(16),
      since: batch.segment,
      path: '',
      extra: encodePartitionExtra(this.#extra),
    });
  }
}
