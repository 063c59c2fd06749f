/**
 * Promises of conditional rounds: for a key, the highest ballot promised, and the newest timestamp that
 * its state had then. All in memory (they live for an hour at most), in the index beside the entries, in
 * the log as records.
 *
 * A promise goes when a higher state comes, or the accept that it was made for. It may also be forgotten
 * by age: an accept is stored only where its own promise still stands, and the floor of the key's part of
 * the hash space (completeness.ts) says from then on that something up to there may have been promised.
 */

import { parseTimestamp, type Timestamp } from '#base/timestamp.ts';
import type { Database } from '#env/env.ts';
import type { EntryKey } from './contract.ts';
import { damaged } from './errors.ts';
import { sealed, unsealed } from './index-file.ts';
import { keyText } from './stored-entry.ts';

export interface StandingPromise {
  readonly ballot: Timestamp;
  /** Of the state when this, or the oldest of the promises that it took the place of, was made. */
  readonly seen: Timestamp;
}

interface Held {
  readonly key: EntryKey;
  readonly promise: StandingPromise | undefined;
}

const TIMESTAMP_TEXT = 20;

export class PromiseTable {
  readonly #database: Database;
  readonly #promised = new Map<string, Held>();
  readonly #pending = new Map<string, Held>();
  readonly #unsaved = new Map<string, Held>();

  constructor(database: Database) {
    this.#database = database;
    const rows = database
      .prepare<[number, Buffer, Buffer]>('SELECT policy, hash, promise FROM promises')
      .raw();
    for (const [policy, hash, bytes] of rows.iterate()) {
      // A flipped type (brief seed 908620): the index is made anew, or the device would be refused for ever.
      if (!Number.isInteger(policy) || !Buffer.isBuffer(hash) || !Buffer.isBuffer(bytes))
        throw damaged('a promise of nothing');
      const key = { policy, hash };
      this.#promised.set(keyText(key), { key, promise: decode(unsealPromise(key, bytes)) });
    }
  }

  get(key: EntryKey): StandingPromise | undefined {
    if (this.#promised.size === 0 && this.#pending.size === 0) return undefined;
    const text = keyText(key);
    return (this.#pending.get(text) ?? this.#promised.get(text))?.promise;
  }

  /** All that are in force. */
  *all(): Generator<{ readonly key: EntryKey; readonly promise: StandingPromise }> {
    for (const { key, promise } of this.#promised.values()) {
      if (promise !== undefined) yield { key, promise };
    }
  }

  /** In the commit that is being written; undefined: it stands no longer. */
  put(key: EntryKey, promise: StandingPromise | undefined): void {
    const own = { policy: key.policy, hash: Buffer.from(key.hash) };
    this.#pending.set(keyText(own), { key: own, promise });
  }

  /** Committed promises of ballots before this, at most so many. */
  older(before: Timestamp, limit: number): { key: EntryKey; ballot: Timestamp }[] {
    const found: { key: EntryKey; ballot: Timestamp }[] = [];
    for (const { key, promise } of this.#promised.values()) {
      if (promise === undefined || promise.ballot >= before) continue;
      if (found.push({ key, ballot: promise.ballot }) >= limit) break;
    }
    return found;
  }

  commit(): void {
    for (const [text, held] of this.#pending) {
      this.#unsaved.set(text, held);
      if (held.promise === undefined) this.#promised.delete(text);
      else this.#promised.set(text, held);
    }
    this.#pending.clear();
  }

  rollBack(): void {
    this.#pending.clear();
  }

  /** Inside an index transaction. */
  persist(): void {
    if (this.#unsaved.size === 0) return;
    const put = this.#database.prepare('INSERT OR REPLACE INTO promises VALUES (?, ?, ?)');
    const remove = this.#database.prepare('DELETE FROM promises WHERE policy = ? AND hash = ?');
    for (const { key, promise } of this.#unsaved.values()) {
      if (promise === undefined) remove.run(key.policy, key.hash);
      else put.run(key.policy, key.hash, sealPromise(key, promise));
    }
  }

  settle(): void {
    this.#unsaved.clear();
  }
}

/** As the index keeps it. */
export function sealPromise(key: EntryKey, { ballot, seen }: StandingPromise): Buffer {
  return sealed(Buffer.from(ballot + seen), keyText(key));
}

function unsealPromise(key: EntryKey, bytes: Buffer): Buffer {
  return unsealed(bytes, 'promise', keyText(key));
}

function decode(bytes: Buffer): StandingPromise {
  const text = bytes.toString();
  return {
    ballot: parseTimestamp(text.slice(0, TIMESTAMP_TEXT)),
    seen: parseTimestamp(text.slice(TIMESTAMP_TEXT)),
  };
}
