/** One process's handle on a simulated SQLite database. */
import type BetterSqlite from 'better-sqlite3';
import type { Database, SqlValue, Statement } from '../env.ts';
import { CachedStatement, runTransaction, type StatementCache } from '../statements.ts';
import type { DatabaseStore } from './database-store.ts';

/** What the disk says before each use. */
export interface DatabaseGate {
  /** @throws what a fault, a full or read-only disk, or a dead process makes of it */
  check(operation: 'read' | 'write'): void;
  checkpoint(): Promise<boolean>;
}

export class SimDatabase implements Database {
  readonly #store: DatabaseStore;
  readonly #gate: DatabaseGate;
  readonly #db: BetterSqlite.Database;
  readonly #statements: StatementCache;
  readonly #isOwn: boolean;
  #closed = false;

  /** `isOwn`: nobody else has this store. */
  constructor(store: DatabaseStore, gate: DatabaseGate, durable: boolean, isOwn = false) {
    this.#isOwn = isOwn;
    this.#store = store;
    this.#gate = gate;
    this.#db = store.open(durable);
    this.#statements = store.statements;
  }

  prepare<Row = unknown>(sql: string): Statement<Row> {
    this.#check('read');
    return new SimStatement<Row>(this.#statements, sql, this.#store, (write, values, run) =>
      write ? this.#write(sql, values, run) : this.#read(run),
    );
  }

  exec(sql: string): void {
    this.#write(sql, undefined, () => this.#db.exec(sql));
  }

  transaction<Result>(body: () => Result): Result {
    this.#check('write');
    const db = this.#db;
    const connection = {
      get inTransaction() {
        return db.inTransaction;
      },
      exec: (sql: string) => {
        db.exec(sql);
        if (sql === 'ROLLBACK') this.#store.discard(db);
        else this.#store.record(db, sql);
      },
    };
    try {
      return runTransaction(connection, body);
    } catch (error) {
      this.#store.discard(db);
      throw error;
    }
  }

  pragma(text: string): unknown {
    if (!text.includes('=')) return this.#read(() => this.#db.pragma(text));
    return this.#write(`PRAGMA ${text}`, undefined, () => this.#db.pragma(text));
  }

  checkpoint(): Promise<boolean> {
    if (this.#closed) return Promise.reject(closedError());
    return this.#gate.checkpoint();
  }

  verify(): Promise<string | undefined> {
    this.#check('read');
    return Promise.resolve(this.#store.verify());
  }

  /** The connection stays open below where other handles share it. */
  close(): void {
    if (!this.#closed && this.#isOwn) this.#store.dispose();
    this.#closed = true;
  }

  #read<Result>(run: () => Result): Result {
    this.#check('read');
    return run();
  }

  #write<Result>(sql: string, values: SqlValue[] | undefined, run: () => Result): Result {
    this.#check('write');
    try {
      const result = run();
      if (/^\s*rollback\s*;?\s*$/i.test(sql)) this.#store.discard(this.#db);
      else this.#store.record(this.#db, sql, values);
      return result;
    } catch (error) {
      if (values === undefined)
        this.#store.takeImage(this.#db); // some of its statements may have run
      else this.#store.discard(this.#db);
      throw error;
    }
  }

  #check(operation: 'read' | 'write'): void {
    if (this.#closed) throw closedError();
    this.#gate.check(operation);
  }
}

function closedError(): Error {
  return new TypeError('The database connection is not open');
}

type Around = <Result>(write: boolean, values: SqlValue[], run: () => Result) => Result;

class SimStatement<Row> extends CachedStatement<Row> {
  readonly #store: DatabaseStore;
  readonly #around: Around;

  constructor(cache: StatementCache, sql: string, store: DatabaseStore, around: Around) {
    super(cache, sql);
    this.#store = store;
    this.#around = around;
  }

  override run(...values: SqlValue[]) {
    return this.#around(this.isWrite, values, () => super.run(...values));
  }

  override get(...values: SqlValue[]): Row | undefined {
    return this.#around(this.isWrite, values, () => super.get(...values));
  }

  override all(...values: SqlValue[]): Row[] {
    return this.#around(this.isWrite, values, () => super.all(...values));
  }

  override iterate(...values: SqlValue[]): IterableIterator<Row> {
    if (this.isWrite) return this.all(...values)[Symbol.iterator]();
    const rows = this.#around(false, values, () => super.iterate(...values));
    return new TrackedIterator(rows, this.#store);
  }
}

/** Tells the store how long a reader is under way: until then the connection is busy. */
class TrackedIterator<Row> implements IterableIterator<Row> {
  readonly #rows: IterableIterator<Row>;
  readonly #store: DatabaseStore;
  #ended = false;

  constructor(rows: IterableIterator<Row>, store: DatabaseStore) {
    this.#rows = rows;
    this.#store = store;
    store.beginIteration();
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<Row> {
    const result = this.#rows.next();
    if (result.done) this.#end();
    return result;
  }

  return(): IteratorResult<Row> {
    this.#rows.return?.();
    this.#end();
    return { done: true, value: undefined };
  }

  #end(): void {
    if (!this.#ended) this.#store.endIteration();
    this.#ended = true;
  }
}
