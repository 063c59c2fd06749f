/**
 * Entries that were looked at lately. Two generations instead of a list in order of use: a hit costs
 * one look-up, and what was not used for a whole generation goes at once.
 */
import type { StoredEntry } from './stored-entry.ts';

export class EntryCache {
  readonly #half: number;
  #young = new Map<string, StoredEntry>();
  #old = new Map<string, StoredEntry>();

  constructor(capacity: number) {
    this.#half = Math.max(1, Math.floor(capacity / 2));
  }

  get(key: string): StoredEntry | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, entry: StoredEntry): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, entry);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}
