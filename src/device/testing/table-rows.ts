/**
 * A row store for the device's own tests and benchmark: the smallest thing that keeps RowSink's promise
 * across crashes. The real one is src/rows.
 */

import { EMPTY_STATE, join } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import type { Database, Env } from '#env/env.ts';
import type { LogPosition, RowPage, RowRecord, RowSink } from '../contract.ts';

export class TableRows implements RowSink {
  readonly #db: Database;
  #applied: LogPosition | undefined;

  constructor(env: Env, folder: string) {
    this.#db = env.disk.openDatabase(`${folder}/rows.db`);
    this.#db.exec(
      'CREATE TABLE IF NOT EXISTS rows (policy INTEGER, hash BLOB, name TEXT, state BLOB, PRIMARY KEY (policy, hash, name));' +
        'CREATE TABLE IF NOT EXISTS position (id INTEGER PRIMARY KEY, segment INTEGER, offset INTEGER)',
    );
    const select = 'SELECT segment, offset FROM position';
    this.#applied = this.#db.prepare<LogPosition>(select).get();
  }

  applied(): LogPosition | undefined {
    return this.#applied;
  }

  apply(rows: readonly { readonly row: RowRecord }[], upTo: LogPosition): void {
    this.#db.transaction(() => {
      for (const { row } of rows) {
        const state = join(this.get(row) ?? EMPTY_STATE, row.state);
        const put = this.#db.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)');
        put.run(row.key.policy, row.key.hash, row.name, encodeState(state));
      }
      const move = this.#db.prepare('INSERT OR REPLACE INTO position VALUES (1, ?, ?)');
      move.run(upTo.segment, upTo.offset);
    });
    this.#applied = upTo;
  }

  get(row: Pick<RowRecord, 'key' | 'name'>): RowRecord['state'] | undefined {
    const find = 'SELECT state FROM rows WHERE policy = ? AND hash = ? AND name = ?';
    const bytes = this.#db
      .prepare<Buffer>(find)
      .pluck()
      .get(row.key.policy, row.key.hash, row.name);
    return bytes === undefined ? undefined : decodeState(bytes);
  }

  isCurrent(row: RowRecord): boolean {
    const held = this.get(row);
    return held !== undefined && encodeState(held).equals(encodeState(row.state));
  }

  /** All at once: tests have few. */
  rowsAfter(): RowPage {
    type Stored = { policy: number; hash: Buffer; name: string; state: Buffer };
    const stored = this.#db.prepare<Stored>('SELECT * FROM rows').all();
    const rows = stored.map(({ policy, hash, name, state }) => {
      return { key: { policy, hash }, path: '/a/c', name, state: decodeState(state) };
    });
    return { rows, next: undefined };
  }

  get rowCount(): number {
    return this.#db.prepare<number>('SELECT count(*) FROM rows').pluck().get() ?? 0;
  }

  audit(): Promise<{ rows: number; next: undefined }> {
    return Promise.resolve({ rows: this.rowCount, next: undefined });
  }

  checkpoint(): Promise<boolean> {
    return this.#db.checkpoint();
  }

  close(): void {
    this.#db.close();
  }
}
