/** SQLite through better-sqlite3, set up as env.ts promises. */
import BetterSqlite from 'better-sqlite3';
import type { Database, DatabaseOptions, Statement } from '../env.ts';
import { CachedStatement, runTransaction, StatementCache } from '../statements.ts';
import type { Checkpointer } from './checkpointer.ts';
import { verifyDatabase } from './verifier.ts';

/** The state database is opened by several processes; one waits this long for another's transaction. */
const BUSY_TIMEOUT_MS = 5000;
const DEFAULT_CACHE_KIB = 2048;
/** A WAL file that once grew shrinks back to this when it starts over. */
const WAL_KEEP_BYTES = 16 * 1024 * 1024;

/** @throws SqliteError SQLITE_CANTOPEN, SQLITE_NOTADB, SQLITE_CORRUPT */
export function openNodeDatabase(
  path: string,
  options: DatabaseOptions,
  checkpointer: Checkpointer,
): Database {
  const readonly = options.readOnly === true;
  const db = new BetterSqlite(path, { timeout: BUSY_TIMEOUT_MS, readonly });
  try {
    if (!readonly) db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${options.durable ? 'FULL' : 'NORMAL'}`);
    db.pragma('wal_autocheckpoint = 0');
    db.pragma(`journal_size_limit = ${WAL_KEEP_BYTES}`);
    db.pragma(`cache_size = ${-(options.cacheKiB ?? DEFAULT_CACHE_KIB)}`);
    db.pragma('temp_store = MEMORY');
    db.pragma('mmap_size = 0');
  } catch (error) {
    db.close();
    throw error;
  }
  return new NodeDatabase(path, db, readonly ? undefined : checkpointer);
}

class NodeDatabase implements Database {
  readonly #path: string;
  readonly #db: BetterSqlite.Database;
  readonly #statements: StatementCache;
  /** None: it only reads. */
  readonly #checkpointer: Checkpointer | undefined;

  constructor(path: string, db: BetterSqlite.Database, checkpointer: Checkpointer | undefined) {
    this.#path = path;
    this.#db = db;
    this.#statements = new StatementCache(db);
    this.#checkpointer = checkpointer;
  }

  prepare<Row = unknown>(sql: string): Statement<Row> {
    return new CachedStatement<Row>(this.#statements, sql);
  }

  exec(sql: string): void {
    this.#db.exec(sql);
  }

  transaction<Result>(body: () => Result): Result {
    return runTransaction(this.#db, body);
  }

  pragma(text: string): unknown {
    return this.#db.pragma(text);
  }

  checkpoint(): Promise<boolean> {
    return this.#checkpointer?.checkpoint(this.#path) ?? Promise.resolve(false);
  }

  verify(): Promise<string | undefined> {
    return verifyDatabase(this.#path);
  }

  close(): void {
    if (!this.#db.open) return;
    this.#checkpointer?.release(this.#path);
    this.#db.close();
  }
}
