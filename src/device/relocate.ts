/** The operations of compaction: needed records are written again at the end of the log. */
import type { Operation } from './committer.ts';
import type { EntryKey, RowRecord } from './contract.ts';
import { type RecordHeader, recordLength } from './format.ts';
import type { BatchBuilder } from './log-writer.ts';
import { appendEntry, appendRow, type GivenBody, type OperationHost } from './operations.ts';
import { encodeForgetExtra } from './record-extra.ts';
import { samePlace } from './segment-statistics.ts';
import type { StoredEntry } from './stored-entry.ts';

abstract class Move<Result> implements Operation {
  abstract readonly bytes: number;
  abstract readonly result: Result;
  readonly answer: Promise<Result>;
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
    this.#resolve(this.result);
  }
}

/** The current state of a key, with the body that the old record holds or names. */
export class RelocateOperation extends Move<void> {
  readonly bytes: number;
  readonly result = undefined;
  readonly #host: OperationHost;
  readonly #header: RecordHeader;
  readonly #data: Buffer | undefined;

  constructor(host: OperationHost, header: RecordHeader, data: Buffer | undefined) {
    super();
    this.#host = host;
    this.#header = header;
    this.#data = data;
    this.bytes = recordLength(header);
  }

  prepare(batch: BatchBuilder): void {
    const old = { ...this.#header, length: 0 };
    const entry = this.#host.store.latest(keyOf(this.#header));
    if (entry === undefined) return;
    const isBody = entry.body !== undefined && samePlace(entry.body.record, old);
    if (!isBody && !samePlace(entry.record, old)) return; // something newer was written meanwhile
    const given = isBody ? bodyOf(entry, this.#data) : undefined;
    appendAgain(this.#host, batch, entry, given, isBody ? undefined : entry.body);
  }
}

function bodyOf(entry: StoredEntry, data: Buffer | undefined): GivenBody | undefined {
  const { body } = entry;
  if (body?.kind === 'blob') return { kind: 'blob', reference: body };
  return data === undefined ? undefined : { kind: 'inline', bytes: data };
}

function appendAgain(
  host: OperationHost,
  batch: BatchBuilder,
  entry: StoredEntry,
  given: GivenBody | undefined,
  kept: StoredEntry['body'],
): void {
  appendEntry(host, batch, {
    key: entry.key,
    path: entry.path,
    change: entry,
    unlistedSinceMs: entry.unlistedSinceMs,
    storedMs: entry.storedMs,
    since: entry.since,
    given,
    kept,
    contribution: entry.contribution,
  });
}

/** The state alone, from the index: the record in `segment` can't be read any more. */
export class SalvageOperation extends Move<void> {
  readonly bytes = 1024;
  readonly result = undefined;
  readonly #host: OperationHost;
  readonly #key: EntryKey;
  readonly #segment: number;

  constructor(host: OperationHost, key: EntryKey, segment: number) {
    super();
    this.#host = host;
    this.#key = key;
    this.#segment = segment;
  }

  prepare(batch: BatchBuilder): void {
    const entry = this.#host.store.latest(this.#key);
    if (entry === undefined) return;
    const lost = entry.body?.record.segment === this.#segment;
    if (entry.record.segment !== this.#segment && !lost) return;
    // A blob named by a lost record is itself still good: its name is in the index.
    const { body } = entry;
    const given: GivenBody | undefined =
      lost && body?.kind === 'blob' ? { kind: 'blob', reference: body } : undefined;
    appendAgain(this.#host, batch, entry, given, lost ? undefined : body);
  }
}

/** A record as it is: only its place is new. */
export class CopyOperation extends Move<void> {
  readonly bytes: number;
  readonly result = undefined;
  readonly #header: RecordHeader;

  constructor(header: RecordHeader) {
    super();
    this.#header = header;
    this.bytes = recordLength(header);
  }

  prepare(batch: BatchBuilder): void {
    const { kind, flags, policy, hash, since, path, extra, state } = this.#header;
    batch.add({ kind, flags, policy, hash, since, path, extra, state });
  }
}

/**
 * A row's record, or one that forgets a row, if it is needed. What a forget record is to take away must
 * never come behind it: where that is being decided, the record stays. False: so its segment has to.
 */
export class RowAgainOperation extends Move<boolean> {
  readonly bytes: number;
  result = false;
  readonly #host: OperationHost;
  readonly #row: RowRecord;

  constructor(host: OperationHost, row: RowRecord, bytes: number) {
    super();
    this.#host = host;
    this.#row = row;
    this.bytes = bytes;
  }

  prepare(batch: BatchBuilder): void {
    const standing = this.#host.standing(this.#row);
    this.result = standing !== 'undecided';
    if (standing === 'needed') appendRow(this.#host, batch, this.#row);
  }
}

/**
 * A forget record must stay before what was written of its key afterwards. So it can only be moved while
 * there is nothing: false means that the segment has to stay.
 */
export class ForgetAgainOperation extends Move<boolean> {
  readonly bytes: number;
  result = false;
  readonly #host: OperationHost;
  readonly #header: RecordHeader;
  readonly #until: number | undefined;

  /** @param until the last segment that may hold what is forgotten; undefined: the one it is written to */
  constructor(host: OperationHost, header: RecordHeader, until: number | undefined) {
    super();
    this.#host = host;
    this.#header = header;
    this.#until = until;
    this.bytes = recordLength(header);
  }

  prepare(batch: BatchBuilder): void {
    const { policy, hash, since, path } = this.#header;
    if (this.#host.store.latest(keyOf(this.#header)) !== undefined) return;
    const extra = encodeForgetExtra({ name: undefined, until: this.#until });
    const { place } = batch.add({ kind: 'forget', flags: 0, policy, hash, since, path, extra });
    this.#host.addForget(place);
    this.result = true;
  }
}

export function keyOf(header: RecordHeader): EntryKey {
  return { policy: header.policy, hash: Buffer.from(header.hash) };
}
