/**
 * What a simulated disk keeps of one SQLite database.
 *
 * The live database is in memory. Beside it stands a base image and, for every commit since, the
 * statements that made it: so any committed state since the base can be brought back by loading the
 * image and running the statements again. That is cheaper than an image for each commit, and an image
 * is taken only when the list has become long. A crash goes back to a commit that was not synced yet
 * (WAL, synchronous=NORMAL: the last commits may be lost, none is torn), or to none for a durable one.
 */
import BetterSqlite from 'better-sqlite3';
import { assert } from '#base/assert.ts';
import type { SqlValue } from '../env.ts';
import { StatementCache } from '../statements.ts';
import type { Unsynced } from './host.ts';
import type { Prng } from './prng.ts';

interface Change {
  readonly sql: string;
  /** Undefined for what `exec` ran. */
  readonly values: readonly SqlValue[] | undefined;
}

/** So many statements, and a new image is taken: as if the kernel had written the WAL back. */
const MAX_CHANGES = 20_000;
/** Of databases that sync every commit only as much history is kept as a fault may want to undo. */
const MAX_DURABLE_CHANGES = 2_000;

export class DatabaseStore {
  #base: Buffer | undefined;
  #commits: Change[][] = [];
  #changeCount = 0;
  /** So many of `#commits` survive any crash. */
  #synced = 0;
  #batch: Change[] = [];
  #live: BetterSqlite.Database | undefined;
  /** Of the live connection: the next process finds its statements compiled. */
  #statements: StatementCache | undefined;
  #durable = false;
  #iterations = 0;
  /** Undefined: something changed since it was asked. */
  #sizeBytes: number | undefined;

  constructor(image?: Buffer) {
    this.#base = image !== undefined && image.length > 0 ? image : undefined;
  }

  /** The shared connection. @throws SqliteError SQLITE_NOTADB, SQLITE_CORRUPT on a damaged image */
  open(durable: boolean): BetterSqlite.Database {
    this.#durable ||= durable;
    if (this.#live === undefined) {
      this.#sizeBytes = undefined;
      this.#live = this.#rebuild();
      this.#statements = new StatementCache(this.#live);
    }
    return this.#live;
  }

  /** Of the connection that `open` gave. */
  get statements(): StatementCache {
    assert(this.#statements !== undefined, 'the database is open');
    return this.#statements;
  }

  isLive(db: BetterSqlite.Database): boolean {
    return this.#live === db;
  }

  /** Notes a statement that changed the database; outside a transaction it is a commit. */
  record(db: BetterSqlite.Database, sql: string, values?: readonly SqlValue[]): void {
    if (this.#live !== db) return; // replaced by a fault: like a file that was deleted while open
    this.#sizeBytes = undefined;
    this.#batch.push({ sql, values: values?.map(copyValue) });
    if (!db.inTransaction) this.#commit();
  }

  /** After ROLLBACK, or an error that made SQLite roll back. */
  discard(db: BetterSqlite.Database): void {
    this.#sizeBytes = undefined;
    if (this.#live === db && !db.inTransaction) this.#batch = [];
  }

  beginIteration(): void {
    this.#iterations++;
  }

  endIteration(): void {
    this.#iterations = Math.max(0, this.#iterations - 1);
  }

  /** Starts a new history from the state as it is, where the statements that made it aren't known. */
  takeImage(db: BetterSqlite.Database): void {
    this.#sizeBytes = undefined;
    if (this.#live !== db || db.inTransaction) return;
    this.#batch = [];
    if (this.#iterations === 0) this.#setBase(db.serialize());
  }

  get commitCount(): number {
    return this.#commits.length;
  }

  /** Everything up to this commit has been synced by a checkpoint. */
  markSynced(commits: number): void {
    this.#synced = Math.max(this.#synced, Math.min(commits, this.#commits.length));
  }

  /** The database as one file. */
  image(): Buffer {
    if (this.#live === undefined && this.#commits.length === 0)
      return this.#base ?? Buffer.alloc(0);
    if (this.#live !== undefined && this.#iterations === 0) return this.#live.serialize();
    const db = this.#rebuild();
    const image = db.serialize();
    db.close();
    return image;
  }

  /** What is in the file now, for somebody who looks past the connection that writes. */
  copy(): DatabaseStore {
    return new DatabaseStore(Buffer.from(this.image()));
  }

  /** Frees SQLite's memory, of which the garbage collector knows nothing. */
  dispose(): void {
    this.#live?.close();
    this.#live = undefined;
    this.#sizeBytes = undefined;
  }

  /** The first thing that SQLite finds wrong with what is in the file. */
  verify(): string | undefined {
    try {
      const db = new BetterSqlite(Buffer.from(this.image()));
      const found = db.pragma('integrity_check(1)', { simple: true }) as string;
      db.close();
      return found === 'ok' ? undefined : found;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** Asked with every change of the disk's usage. */
  get sizeBytes(): number {
    this.#sizeBytes ??= this.#size();
    return this.#sizeBytes;
  }

  #size(): number {
    const file = this.#base?.length ?? 0;
    if (this.#live === undefined) return file;
    try {
      const pages = this.#live.pragma('page_count', { simple: true }) as number;
      return pages * (this.#live.pragma('page_size', { simple: true }) as number);
    } catch {
      return file; // a damaged schema: SQLite answers nothing about it
    }
  }

  crash(unsynced: Unsynced, random: Prng): void {
    this.endProcess();
    if (unsynced === 'kept' || this.#durable) return;
    const atRisk = this.#commits.length - this.#synced;
    const lost = unsynced === 'lost' ? atRisk : random.chance(0.5) ? random.integer(atRisk + 1) : 0;
    this.revert(lost);
  }

  /** The process is gone; what it committed is not, a transaction under way is. */
  endProcess(): void {
    this.#sizeBytes = undefined;
    this.#batch = [];
    if (this.#iterations > 0)
      this.#live = undefined; // its readers will never finish: start afresh
    else if (this.#live?.inTransaction) this.#live.exec('ROLLBACK');
    this.#iterations = 0;
  }

  /** Takes back the last commits, as far as they are known. */
  revert(commits: number): void {
    if (commits <= 0) return;
    this.#commits.length = Math.max(0, this.#commits.length - commits);
    this.#changeCount = this.#commits.reduce((sum, commit) => sum + commit.length, 0);
    this.#synced = Math.min(this.#synced, this.#commits.length);
    this.#live = undefined;
    this.#sizeBytes = undefined;
  }

  /** Flips bits of one byte of the file; seen by whoever opens it next. */
  damage(position: number, mask: number): void {
    const image = this.image();
    if (position < image.length) image[position] = image[position]! ^ mask;
    this.#setBase(image);
    this.#live = undefined;
  }

  #commit(): void {
    const batch = this.#batch;
    this.#batch = [];
    this.#commits.push(batch);
    this.#changeCount += batch.length;
    if (this.#durable) this.#synced = this.#commits.length;
    const limit = this.#durable ? MAX_DURABLE_CHANGES : MAX_CHANGES;
    if (this.#changeCount > limit && this.#iterations === 0) this.#setBase(this.#live!.serialize());
  }

  #setBase(image: Buffer): void {
    this.#sizeBytes = undefined;
    this.#base = image;
    this.#commits = [];
    this.#changeCount = 0;
    this.#synced = 0;
  }

  #rebuild(): BetterSqlite.Database {
    const db = new BetterSqlite(this.#base === undefined ? ':memory:' : Buffer.from(this.#base));
    db.pragma('schema_version'); // a damaged header shows here, as it would on a real open
    const statements = new StatementCache(db);
    for (const commit of this.#commits) {
      for (const { sql, values } of commit) {
        if (values === undefined) {
          db.exec(sql);
          continue;
        }
        const statement = statements.get(sql, 'rows');
        if (statement.reader) statement.all(...values);
        else statement.run(...values);
      }
    }
    return db;
  }
}

/** The caller may reuse its buffer. */
function copyValue(value: SqlValue): SqlValue {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}
