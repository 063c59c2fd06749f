/** One record kind under one prefix of state: typed reads, and operations to put into transactions. */

import { readAll } from '#state/mirror.ts';
import type { RecordFormat } from '#state/record.ts';
import type { Compare, KeyValue, Operation, Revision, State } from '#state/state.ts';

export interface Stored<Fields> {
  readonly key: string;
  readonly fields: Fields;
  readonly modRevision: Revision;
}

export class Table<Fields> {
  readonly prefix: string;
  readonly #state: State;
  readonly #format: RecordFormat<Fields>;

  constructor(state: State, prefix: string, format: RecordFormat<Fields>) {
    this.prefix = prefix;
    this.#state = state;
    this.#format = format;
  }

  key(...parts: readonly string[]): string {
    return this.prefix + parts.join('/');
  }

  async get(...parts: readonly string[]): Promise<Stored<Fields> | undefined> {
    const item = await this.#state.get(this.key(...parts));
    return item && this.stored(item);
  }

  /** The same, but a cache may say of what is new that it is not there: for the many who ask for nothing. */
  async peek(...parts: readonly string[]): Promise<Stored<Fields> | undefined> {
    const key = this.key(...parts);
    const { items } = await this.#state.range({ prefix: key }, { limit: 1 });
    const [item] = items;
    return item?.key === key ? this.stored(item) : undefined;
  }

  /** All records whose id begins with these parts, in the order of their keys. */
  async list(...parts: readonly string[]): Promise<Stored<Fields>[]> {
    const prefix = parts.length === 0 ? this.prefix : `${this.key(...parts)}/`;
    const { items } = await readAll(this.#state, { prefix });
    return items.map((item) => this.stored(item));
  }

  /** The same, and when there are none, not from a cache that may lag behind other processes. */
  async listSurely(...parts: readonly string[]): Promise<Stored<Fields>[]> {
    const known = await this.list(...parts);
    if (known.length > 0) return known;
    const { items } = await readAll(this.#state, { prefix: `${this.key(...parts)}/` }, true);
    return items.map((item) => this.stored(item));
  }

  stored(item: KeyValue): Stored<Fields> {
    const fields = this.#format.decode(item.value);
    return { key: item.key, fields, modRevision: item.modRevision };
  }

  /** Writes one record by itself. */
  async save(fields: Fields, ...parts: readonly string[]): Promise<void> {
    await this.#state.txn({ success: [this.put(fields, ...parts)] });
  }

  /** False: it was not there. */
  async erase(...parts: readonly string[]): Promise<boolean> {
    const { succeeded } = await this.#state.txn({
      compare: [this.exists(true, ...parts)],
      success: [this.remove(...parts)],
    });
    return succeeded;
  }

  put(fields: Fields, ...parts: readonly string[]): Operation {
    return { kind: 'put', key: this.key(...parts), value: this.#format.encode(fields) };
  }

  remove(...parts: readonly string[]): Operation {
    return { kind: 'delete', key: this.key(...parts) };
  }

  removeAll(...parts: readonly string[]): Operation {
    return { kind: 'deleteRange', range: { prefix: `${this.key(...parts)}/` } };
  }

  exists(exists: boolean, ...parts: readonly string[]): Compare {
    return { key: this.key(...parts), exists };
  }

  unchanged(stored: Stored<Fields>): Compare {
    return { key: stored.key, modRevision: stored.modRevision };
  }
}
