/**
 * A row store for the device's own tests and benchmark: the smallest thing that keeps RowSink's promise
 * across crashes. The real one is src/rows.
 */

import { EMPTY_STATE, join } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import type { Database, Env } from '#env/env.ts';
import type {
  LoggedRow,
  LogPosition,
  RowPage,
  RowRecord,
  RowSink,
  RowStanding,
} from '../contract.ts';

export class TableRows implements RowSink {
  readonly #db: Database;
  #applied: LogPosition | undefined;

  constructor(env: Env, folder: string) {
    this.#db = env.disk.openDatabase(`${folder}/rows.db`);
    this.#db.exec(
      'CREATE TABLE IF NOT EXISTS rows (policy INTEGER, hash BLOB, name TEXT, state BLOB, PRIMARY KEY (policy, hash, name));' +
        'CREATE TABLE IF NOT EXISTS marks (policy INTEGER, hash BLOB, name TEXT, since INTEGER, until INTEGER, PRIMARY KEY (policy, hash, name));' +
        'CREATE TABLE IF NOT EXISTS position (id INTEGER PRIMARY KEY, segment INTEGER, offset INTEGER)',
    );
    const select = 'SELECT segment, offset FROM position';
    this.#applied = this.#db.prepare<LogPosition>(select).get();
  }

  applied(): LogPosition | undefined {
    return this.#applied;
  }

  apply(rows: readonly Pick<LoggedRow, 'row'>[], upTo: LogPosition): void {
    this.#db.transaction(() => {
      for (const { row } of rows) this.#applyRow(row);
      const move = this.#db.prepare('INSERT OR REPLACE INTO position VALUES (1, ?, ?)');
      move.run(upTo.segment, upTo.offset);
    });
    this.#applied = upTo;
  }

  #applyRow({ key, name, state, since, forgets }: LoggedRow['row']): void {
    const { policy, hash } = key;
    const known = this.get({ key, name });
    const table = forgets === undefined ? 'marks' : 'rows';
    const remove = `DELETE FROM ${table} WHERE policy = ? AND hash = ? AND name = ?`;
    this.#db.prepare(remove).run(policy, hash, name);
    if (forgets === undefined) {
      const joined = encodeState(join(known ?? EMPTY_STATE, state));
      const put = this.#db.prepare('INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)');
      put.run(policy, hash, name, joined);
    } else if (known !== undefined) {
      const put = this.#db.prepare('INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)');
      put.run(policy, hash, name, since, forgets);
    }
  }

  /** How many rows are known to have been forgotten. */
  get marks(): number {
    return this.#db.prepare<number>('SELECT count(*) FROM marks').pluck().get() ?? 0;
  }

  get(row: Pick<RowRecord, 'key' | 'name'>): RowRecord['state'] | undefined {
    const find = 'SELECT state FROM rows WHERE policy = ? AND hash = ? AND name = ?';
    const bytes = this.#db
      .prepare<Buffer>(find)
      .pluck()
      .get(row.key.policy, row.key.hash, row.name);
    return bytes === undefined ? undefined : decodeState(bytes);
  }

  standing(row: RowRecord): RowStanding {
    const find = 'SELECT until FROM marks WHERE policy = ? AND hash = ? AND name = ?';
    const { policy, hash } = row.key;
    const until = this.#db.prepare<number>(find).pluck().get(policy, hash, row.name);
    if (row.forgets !== undefined) return until === row.forgets ? 'needed' : 'dead';
    const held = this.get(row);
    const isCurrent = held !== undefined && encodeState(held).equals(encodeState(row.state));
    return isCurrent ? 'needed' : 'dead';
  }

  noSegments(after: number, before: number): void {
    const last = Number.isFinite(before) ? before : Number.MAX_SAFE_INTEGER;
    const remove = 'DELETE FROM marks WHERE since > ? AND until < ?';
    this.#db.prepare(remove).run(after, last);
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

  condemn(): void {
    this.#db.exec('DELETE FROM rows; DELETE FROM marks; DELETE FROM position');
  }

  close(): void {
    this.#db.close();
  }
}
