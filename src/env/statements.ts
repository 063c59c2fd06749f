/**
 * What both implementations put around a better-sqlite3 connection: statements compiled once per SQL
 * text, and transactions.
 *
 * A compiled statement carries its mode (rows, first column, arrays) and can run only one iteration at
 * a time. So a compiled one is shared by text and mode, and a busy one is not: two callers of
 * `prepare` with the same text never disturb each other.
 */
import type BetterSqlite from 'better-sqlite3';
import { assert } from '#base/assert.ts';
import type { SqlValue, Statement } from './env.ts';

type Compiled = BetterSqlite.Statement<SqlValue[], unknown>;
type Mode = 'rows' | 'pluck' | 'raw';

/** Texts that are built at run time (lists of parameters) must not fill the memory. */
const MAX_CACHED_STATEMENTS = 256;

export class StatementCache {
  readonly #db: BetterSqlite.Database;
  readonly #compiled = new Map<string, Compiled>();

  constructor(db: BetterSqlite.Database) {
    this.#db = db;
  }

  get(sql: string, mode: Mode): Compiled {
    const key = `${mode} ${sql}`;
    const cached = this.#compiled.get(key);
    if (cached !== undefined) return cached;
    const statement = this.compile(sql, mode);
    if (this.#compiled.size >= MAX_CACHED_STATEMENTS) {
      const [oldest] = this.#compiled.keys();
      this.#compiled.delete(oldest!);
    }
    this.#compiled.set(key, statement);
    return statement;
  }

  compile(sql: string, mode: Mode): Compiled {
    const statement = this.#db.prepare<SqlValue[], unknown>(sql);
    if (mode === 'pluck') statement.pluck();
    if (mode === 'raw') statement.raw();
    return statement;
  }
}

export class CachedStatement<Row> implements Statement<Row> {
  readonly #cache: StatementCache;
  readonly #sql: string;
  #mode: Mode = 'rows';
  #compiled: Compiled;

  constructor(cache: StatementCache, sql: string) {
    this.#cache = cache;
    this.#sql = sql;
    this.#compiled = cache.get(sql, 'rows');
  }

  /** May change the database or end a transaction. */
  get isWrite(): boolean {
    return !this.#compiled.readonly || !this.#compiled.reader;
  }

  run(...values: SqlValue[]): { changes: number; lastInsertRowid: number | bigint } {
    return this.#idle().run(...values);
  }

  get(...values: SqlValue[]): Row | undefined {
    return this.#idle().get(...values) as Row | undefined;
  }

  all(...values: SqlValue[]): Row[] {
    return this.#idle().all(...values) as Row[];
  }

  iterate(...values: SqlValue[]): IterableIterator<Row> {
    return this.#idle().iterate(...values) as IterableIterator<Row>;
  }

  pluck(on = true): this {
    return this.#switch(on ? 'pluck' : 'rows');
  }

  raw(on = true): this {
    return this.#switch(on ? 'raw' : 'rows');
  }

  #switch(mode: Mode): this {
    this.#mode = mode;
    this.#compiled = this.#cache.get(this.#sql, mode);
    return this;
  }

  #idle(): Compiled {
    if (!this.#compiled.busy) return this.#compiled;
    return this.#cache.compile(this.#sql, this.#mode);
  }
}

interface Connection {
  readonly inTransaction: boolean;
  exec(sql: string): unknown;
}

/** BEGIN IMMEDIATE ... COMMIT around a synchronous body; a nested one is a savepoint. */
export function runTransaction<Result>(db: Connection, body: () => Result): Result {
  const nested = db.inTransaction;
  db.exec(nested ? 'SAVEPOINT nested' : 'BEGIN IMMEDIATE');
  try {
    const result = body();
    assert(!(result instanceof Promise), 'a transaction body is synchronous');
    db.exec(nested ? 'RELEASE nested' : 'COMMIT');
    return result;
  } catch (error) {
    // SQLite rolls some errors back by itself (a full disk); then there is nothing left to undo.
    if (db.inTransaction) db.exec(nested ? 'ROLLBACK TO nested; RELEASE nested' : 'ROLLBACK');
    throw error;
  }
}
