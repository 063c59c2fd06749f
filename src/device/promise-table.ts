/**
 * Promises of conditional rounds: for a key, the highest timestamp promised. All in memory (they live
 * for an hour at most), in the index beside the entries, in the log as records.
 */

import { parseTimestamp, type Timestamp } from '#base/timestamp.ts';
import type { Database } from '#env/env.ts';
import type { EntryKey } from './contract.ts';
import { sealed, unsealed } from './index-file.ts';
import { keyText } from './stored-entry.ts';

interface Held {
  readonly key: EntryKey;
  readonly promised: Timestamp | undefined;
}

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
    for (const [policy, hash, promise] of rows.iterate()) {
      const key = { policy, hash };
      const promised = parseTimestamp(unsealed(promise, 'promise').toString());
      this.#promised.set(keyText(key), { key, promised });
    }
  }

  get(key: EntryKey): Timestamp | undefined {
    if (this.#promised.size === 0 && this.#pending.size === 0) return undefined;
    const text = keyText(key);
    return (this.#pending.get(text) ?? this.#promised.get(text))?.promised;
  }

  /** In the commit that is being written; undefined: a higher state has taken its place. */
  put(key: EntryKey, promised: Timestamp | undefined): void {
    const own = { policy: key.policy, hash: Buffer.from(key.hash) };
    this.#pending.set(keyText(own), { key: own, promised });
  }

  commit(): void {
    for (const [text, held] of this.#pending) {
      this.#unsaved.set(text, held);
      if (held.promised === undefined) this.#promised.delete(text);
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
    for (const { key, promised } of this.#unsaved.values()) {
      if (promised === undefined) remove.run(key.policy, key.hash);
      else put.run(key.policy, key.hash, sealed(Buffer.from(promised)));
    }
  }

  settle(): void {
    this.#unsaved.clear();
  }
}
