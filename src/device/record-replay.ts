/**
 * Applies records of the log to the view of a device: the same decisions as when they were written,
 * in the same order, so that a rebuilt index equals the lost one.
 */

import { EMPTY_STATE, newestTimestamp } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { CompletenessMap } from './completeness.ts';
import type { EntryKey, LoggedRow, LogPosition } from './contract.ts';
import type { ContributionHasher } from './contribution.ts';
import { changeEntry } from './entry-change.ts';
import type { EntryStore } from './entry-store.ts';
import { FLAG_UNLISTED, type RecordHeader, recordLength } from './format.ts';
import type { PartitionMarks } from './partition-marks.ts';
import { isBefore } from './reaper.ts';
import {
  decodeBlobExtra,
  decodeForgetExtra,
  decodePartitionExtra,
  decodePromiseExtra,
  decodeRowExtra,
} from './record-extra.ts';
import { type BodyPlace, type RecordPlace, StoredEntry } from './stored-entry.ts';

export interface ReplayParts {
  readonly env: Env;
  readonly store: EntryStore;
  readonly hasher: ContributionHasher;
  readonly completeness: CompletenessMap;
  readonly versions: PartitionMarks;
  /** A body that no entry refers to any more. */
  readonly replaced: (before: StoredEntry, after: StoredEntry | undefined) => void;
}

export class RecordReplay {
  readonly #parts: ReplayParts;

  constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  /** `data` undefined: the record's data is damaged. */
  apply(header: RecordHeader, data: Buffer | undefined, writtenMs: number): void {
    try {
      this.#apply(header, data, writtenMs);
    } catch (error) {
      // Its checksum is right, so this is what was written: another version's, or a bug's.
      const { segment, offset, kind } = header;
      this.#parts.env.log.error('device.record-refused', { segment, offset, kind, error });
      throw error;
    }
  }

  commit(position: LogPosition): void {
    this.#parts.store.commit(position, this.#parts.replaced);
  }

  /** Undefined: the record is of no row. */
  row(header: RecordHeader): LoggedRow['row'] | undefined {
    return loggedRow(header);
  }

  #apply(header: RecordHeader, data: Buffer | undefined, writtenMs: number): void {
    const { store, completeness } = this.#parts;
    switch (header.kind) {
      case 'data':
      case 'blob':
      case 'metadata':
      case 'tombstone':
        this.#entry(header, data, writtenMs);
        break;
      case 'forget':
        store.statistics.addRows(header.segment, recordLength(header));
        if (!isOfRow(header)) store.put(keyOf(header), undefined);
        break;
      case 'promise':
        this.#promise(header);
        break;
      case 'row':
        store.statistics.addRows(header.segment, recordLength(header));
        break;
      case 'partition': {
        const extra = decodePartitionExtra(header.extra);
        if (extra === undefined) break;
        if ('marks' in extra) this.#parts.versions.replay(header.policy, extra);
        else completeness.replay(header.policy, extra);
        break;
      }
      case 'seal':
        break; // kept for the container service; nothing of it is the device's
    }
  }

  #entry(header: RecordHeader, data: Buffer | undefined, writtenMs: number): void {
    const { store, hasher } = this.#parts;
    const key = keyOf(header);
    const existing = store.latest(key);
    const record = placeOf(header);
    if (existing !== undefined && !isBefore(existing.record, record)) return;
    const unlisted = (header.flags & FLAG_UNLISTED) !== 0;
    const given = { state: decodeState(header.state), unlisted };
    const body = bodyOf(header, data, record);
    const change = changeEntry(existing, given, body !== undefined);
    // The same body in a later record: compaction has moved it.
    const moved = change.body === 'kept' && body !== undefined;
    const entry = new StoredEntry({
      key,
      path: header.path,
      stateBytes: change.stateBytes,
      state: change.state,
      record,
      body:
        change.body === 'given' || moved
          ? body
          : change.body === 'kept'
            ? existing?.body
            : undefined,
      unlistedSinceMs: unlisted ? existing?.unlistedSinceMs || writtenMs : 0,
      since: header.since,
      storedMs: writtenMs,
      contribution: hasher.of(key, change.state),
    });
    store.put(key, entry);
    const promise = store.promisedFor(key);
    if (promise !== undefined && newestTimestamp(change.state) >= promise.ballot) {
      store.promises.put(key, undefined);
    }
  }

  #promise(header: RecordHeader): void {
    const { store } = this.#parts;
    const key = keyOf(header);
    const promise = decodePromiseExtra(header.extra);
    const state = store.latest(key)?.state;
    const before = store.promisedFor(key);
    if (before !== undefined && before.ballot >= promise.ballot) return;
    if (state !== undefined && newestTimestamp(state) >= promise.ballot) return;
    store.promises.put(key, promise);
  }
}

/** The row that a record speaks of; undefined: none. */
export function loggedRow(header: RecordHeader): LoggedRow['row'] | undefined {
  const { kind, path, since } = header;
  const key = keyOf(header);
  if (kind === 'row') {
    const state = decodeState(Buffer.from(header.state));
    return { key, path, name: decodeRowExtra(header.extra), state, since };
  }
  if (!isOfRow(header)) return undefined;
  const { name, until } = decodeForgetExtra(header.extra);
  if (name === undefined) return undefined;
  return { key, path, name, state: EMPTY_STATE, since, forgets: until ?? header.segment };
}

function isOfRow({ kind, policy }: RecordHeader): boolean {
  if (kind === 'row') return true;
  return kind === 'forget' && (policy === CONTAINER_RING || policy === ACCOUNT_RING);
}

function keyOf(header: RecordHeader): EntryKey {
  return { policy: header.policy, hash: Buffer.from(header.hash) };
}

function placeOf(header: RecordHeader): RecordPlace {
  return { segment: header.segment, offset: header.offset, length: recordLength(header) };
}

function bodyOf(
  header: RecordHeader,
  data: Buffer | undefined,
  record: RecordPlace,
): BodyPlace | undefined {
  if (header.kind === 'blob') return { kind: 'blob', record, ...decodeBlobExtra(header.extra) };
  if (header.kind !== 'data' || data === undefined || data.length === 0) return undefined;
  return {
    kind: 'inline',
    record,
    start: header.offset + header.headLength,
    length: data.length,
    checksums: header.checksums,
  };
}
