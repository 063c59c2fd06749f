/**
 * An entry as the device holds it: the joined state, where its record and its body are, and the marks.
 * Immutable: a change makes a new one, so whoever holds one reads exactly that version.
 */

import { bodyLength, type EntryState, expirySource, wantsBody } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { Entry, EntryKey } from './contract.ts';
import type { Weight } from './digest-table.ts';

/** A record in the log. */
export interface RecordPlace {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/** Where a body is, and the record that says so (not always the newest: metadata updates come after it). */
export type BodyPlace = InlineBody | BlobBody;

export interface InlineBody {
  readonly kind: 'inline';
  readonly record: RecordPlace;
  /** Offset of the first byte in the segment. */
  readonly start: number;
  readonly length: number;
  readonly checksums: readonly number[];
}

export interface BlobBody {
  readonly kind: 'blob';
  readonly record: RecordPlace;
  readonly name: string;
  readonly length: number;
  readonly check: number;
}

export interface EntryFields {
  readonly key: EntryKey;
  readonly path: string;
  readonly stateBytes: Buffer;
  readonly state?: EntryState;
  readonly record: RecordPlace;
  readonly body: BodyPlace | undefined;
  /** Wall milliseconds since when the row waits to be acknowledged; 0: it has been. */
  readonly unlistedSinceMs: number;
  /** The oldest segment that may hold an earlier record of this key. */
  readonly since: number;
  /** Wall milliseconds when this device stored the state. */
  readonly storedMs: number;
  readonly contribution: Buffer;
}

export class StoredEntry implements Entry, Weight {
  readonly key: EntryKey;
  readonly path: string;
  readonly stateBytes: Buffer;
  readonly record: RecordPlace;
  readonly body: BodyPlace | undefined;
  readonly unlistedSinceMs: number;
  readonly since: number;
  readonly storedMs: number;
  readonly contribution: Buffer;
  #state: EntryState | undefined;

  constructor(fields: EntryFields) {
    this.key = fields.key;
    this.path = fields.path;
    this.stateBytes = fields.stateBytes;
    this.record = fields.record;
    this.body = fields.body;
    this.unlistedSinceMs = fields.unlistedSinceMs;
    this.since = fields.since;
    this.storedMs = fields.storedMs;
    this.contribution = fields.contribution;
    this.#state = fields.state;
  }

  /** Decoded when first asked for: scans that look at keys only never pay for it. */
  get state(): EntryState {
    return (this.#state ??= decodeState(this.stateBytes));
  }

  get hasBody(): boolean {
    return this.body !== undefined || bodyLength(this.state) === 0;
  }

  get unlisted(): boolean {
    return this.unlistedSinceMs !== 0;
  }

  get live(): boolean {
    return this.state.data?.kind === 'live';
  }

  get bodiless(): boolean {
    return !this.hasBody;
  }

  /** The same entry with other marks or another body. */
  with(changes: Partial<EntryFields>): StoredEntry {
    return new StoredEntry({
      key: this.key,
      path: this.path,
      stateBytes: this.stateBytes,
      state: this.#state,
      record: this.record,
      body: this.body,
      unlistedSinceMs: this.unlistedSinceMs,
      since: this.since,
      storedMs: this.storedMs,
      contribution: this.contribution,
      ...changes,
    });
  }
}

/** Unix seconds at which the entry expires; undefined: never, or it has been freed already. */
export function deleteAtOf(state: EntryState): number | undefined {
  if (!wantsBody(state)) return undefined;
  const { deleteAt } = expirySource(state);
  return deleteAt !== undefined && Number.isFinite(deleteAt) ? deleteAt : undefined;
}

/** A string for maps; distinct for distinct keys. */
export function keyText(key: EntryKey): string {
  return String.fromCharCode(key.policy) + key.hash.toString('latin1');
}
