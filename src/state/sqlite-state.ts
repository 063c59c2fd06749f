/**
 * State on one SQLite file, for one machine: `npm start` and small clusters. Several processes have
 * the file open at once; SQLite's write lock orders their transactions, every commit is synced.
 *
 * Every change is also a row of `history`, from which watches read (sqlite-watch.ts). The oldest
 * history is dropped as it grows, which is this driver's compaction.
 */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Database, Env } from '#env/env.ts';
import { boundsOf, checkKey, checkTransaction, rangeLimit } from './limits.ts';
import {
  createSchema,
  HISTORY_REVISIONS,
  pairOf,
  prepareStatements,
  type Statements,
} from './sqlite-schema.ts';
import { SqliteWatches } from './sqlite-watch.ts';
import type {
  Compare,
  KeyRange,
  KeyValue,
  LeaseId,
  Operation,
  OperationResult,
  RangeOptions,
  RangeResult,
  Revision,
  State,
  Transaction,
  TransactionResult,
  Watch,
  WatchListener,
} from './state.ts';

/** Commits between two checkpoints of the write-ahead log. */
const CHECKPOINT_EVERY = 500;
const TRIM_EVERY = 256;
const BUSY_TIMEOUT_MS = 5000;

/** @throws OperatingError `newer-format`, or what the disk says */
export function openSqliteState(
  env: Pick<Env, 'clock' | 'disk' | 'random' | 'log'>,
  path: string,
): State {
  const db = env.disk.openDatabase(path, { durable: true });
  db.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  createSchema(db);
  return new SqliteState(env, db);
}

class SqliteState implements State {
  readonly #env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly #db: Database;
  readonly #sql: Statements;
  readonly #watches: SqliteWatches;
  #commits = 0;
  #checkpoint: Promise<unknown> | undefined;
  #closed = false;

  constructor(env: Pick<Env, 'clock' | 'random' | 'log'>, db: Database) {
    this.#env = env;
    this.#db = db;
    this.#sql = prepareStatements(db);
    this.#watches = new SqliteWatches(env, db, this.#sql, () => this.#expireLeases());
  }

  async get(key: string): Promise<KeyValue | undefined> {
    const bytes = checkKey(key);
    const row = this.#attempt(() => this.#sql.get.get(bytes));
    return row && pairOf(row);
  }

  async range(range: KeyRange, options?: RangeOptions): Promise<RangeResult> {
    const limit = rangeLimit(options);
    return this.#attempt(() =>
      this.#snapshot(() => ({ ...this.#scan(range, limit, options), revision: this.#revision() })),
    );
  }

  async txn(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    const { success, failure = [] } = transaction;
    const readsOnly = [...success, ...failure].every(({ kind }) => kind === 'range');
    if (!readsOnly) return this.#change((writer) => this.#perform(transaction, writer));
    // Readers take no write lock: other processes' transactions go on beside them.
    return this.#attempt(() =>
      this.#snapshot(() => this.#perform(transaction, new Writer(this.#sql, this.#revision()))),
    );
  }

  #perform(
    { compare = [], success, failure = [] }: Transaction,
    writer: Writer,
  ): TransactionResult {
    const succeeded = compare.every((item) => this.#holds(item));
    const branch = succeeded ? success : failure;
    const results = branch.map((operation) => this.#apply(operation, writer));
    return { succeeded, revision: writer.revision, results };
  }

  watch(range: KeyRange, fromRevision: Revision, listener: WatchListener): Watch {
    return this.#watches.add(boundsOf(range), fromRevision, listener);
  }

  async grantLease(ttlSeconds: number): Promise<LeaseId> {
    const id = this.#env.random.bytes(8).toString('hex');
    const ttlMicros = Math.round(ttlSeconds * 1e6);
    const deadline = this.#env.clock.wallMicros() + ttlMicros;
    this.#attempt(() => this.#sql.addLease.run(id, ttlMicros, deadline));
    return id;
  }

  async keepAlive(lease: LeaseId): Promise<boolean> {
    return this.#attempt(() =>
      this.#db.transaction(() => {
        const now = this.#env.clock.wallMicros();
        if (this.#sql.hasLease.get(lease, now) === undefined) return false;
        this.#sql.keepLease.run(now, lease);
        return true;
      }),
    );
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    this.#change((writer) => this.#dropLease(lease, writer));
  }

  async compact(revision: Revision): Promise<void> {
    this.#attempt(() => this.#db.transaction(() => this.#forgetBefore(revision)));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watches.close();
    await this.#checkpoint;
    this.#db.close();
  }

  #scan(range: KeyRange, limit: number, options: RangeOptions | undefined) {
    const { start, end = null } = boundsOf(range);
    const statement = options?.reverse ? this.#sql.rangeDown : this.#sql.rangeUp;
    const rows = statement.all(start, end, end, limit + 1);
    return { items: rows.slice(0, limit).map(pairOf), more: rows.length > limit };
  }

  #holds(compare: Compare): boolean {
    const row = this.#sql.get.get(Buffer.from(compare.key));
    if ('exists' in compare) return (row !== undefined) === compare.exists;
    if ('modRevision' in compare) return (row?.mod_revision ?? 0) === compare.modRevision;
    if ('createRevision' in compare) return (row?.create_revision ?? 0) === compare.createRevision;
    return row?.value.equals(compare.value) ?? false;
  }

  #apply(operation: Operation, writer: Writer): OperationResult {
    switch (operation.kind) {
      case 'put':
        this.#checkLease(operation.lease);
        writer.put(operation.key, operation.value, operation.lease);
        return { kind: 'put' };
      case 'delete':
        return { kind: 'delete', deleted: writer.remove(Buffer.from(operation.key)) ? 1 : 0 };
      case 'deleteRange':
        return { kind: 'delete', deleted: this.#removeRange(operation.range, writer) };
      case 'range':
        return {
          kind: 'range',
          ...this.#scan(operation.range, rangeLimit(operation.options), operation.options),
        };
    }
  }

  #removeRange(range: KeyRange, writer: Writer): number {
    const { start, end = null } = boundsOf(range);
    const rows = this.#sql.rangeUp.all(start, end, end, -1);
    for (const row of rows) writer.remove(row.key);
    return rows.length;
  }

  #checkLease(lease: LeaseId | undefined): void {
    if (lease === undefined) return;
    if (this.#sql.hasLease.get(lease, this.#env.clock.wallMicros()) !== undefined) return;
    throw new OperatingError('no-lease', 'the lease is gone', { lease });
  }

  #dropLease(lease: LeaseId, writer: Writer): void {
    for (const row of this.#sql.leaseKeys.all(lease)) writer.remove(row.key);
    this.#sql.dropLease.run(lease);
  }

  /** Called by the poll: whichever process comes first removes what is overdue. */
  #expireLeases(): void {
    const now = this.#env.clock.wallMicros();
    if (this.#sql.overdue.get(now) === undefined) return;
    this.#change((writer) => {
      for (const lease of this.#sql.overdue.all(now)) this.#dropLease(lease, writer);
    });
  }

  /** One write transaction of SQLite, one revision of the store when it changed something. */
  #change<Result>(body: (writer: Writer) => Result): Result {
    const result = this.#attempt(() =>
      this.#db.transaction(() => {
        const before = this.#revision();
        const writer = new Writer(this.#sql, before);
        const value = body(writer);
        if (writer.revision > before) this.#sql.setSetting.run(writer.revision, 'revision');
        if (writer.revision > before && writer.revision % TRIM_EVERY === 0) {
          this.#forgetBefore(writer.revision - HISTORY_REVISIONS);
        }
        return value;
      }),
    );
    this.#watches.poke();
    this.#checkpointSometimes();
    return result;
  }

  #forgetBefore(revision: Revision): void {
    const oldest = Math.min(revision, this.#revision() + 1);
    if (oldest <= (this.#sql.setting.get('compacted') ?? 0)) return;
    this.#sql.forget.run(oldest);
    this.#sql.setSetting.run(oldest, 'compacted');
  }

  /** Reads of one moment, without the write lock. */
  #snapshot<Result>(body: () => Result): Result {
    this.#db.exec('BEGIN');
    try {
      return body();
    } finally {
      this.#db.exec('COMMIT');
    }
  }

  #revision(): Revision {
    return this.#sql.setting.get('revision') ?? 1;
  }

  #checkpointSometimes(): void {
    this.#commits += 1;
    if (this.#commits % CHECKPOINT_EVERY !== 0 || this.#checkpoint !== undefined) return;
    this.#checkpoint = this.#db
      .checkpoint()
      .catch((error: unknown) => {
        this.#env.log.warn('state.checkpoint-failed', { error: messageOf(error) });
      })
      .finally(() => {
        this.#checkpoint = undefined;
      });
  }

  #attempt<Result>(body: () => Result): Result {
    if (this.#closed) throw new OperatingError('state-unavailable', 'the state store is closed');
    try {
      return body();
    } catch (cause) {
      if (cause instanceof OperatingError) throw cause;
      throw new OperatingError(
        'state-unavailable',
        'the state store cannot be used',
        { code: codeOf(cause) },
        { cause },
      );
    }
  }
}

/** Writes of one transaction: the present, its history, and one new revision on the first change. */
class Writer {
  readonly #sql: Statements;
  readonly #before: Revision;
  #position = 0;

  constructor(sql: Statements, before: Revision) {
    this.#sql = sql;
    this.#before = before;
  }

  get revision(): Revision {
    return this.#position > 0 ? this.#before + 1 : this.#before;
  }

  put(key: string, value: Uint8Array, lease: LeaseId | undefined): void {
    const bytes = Buffer.from(key);
    const revision = this.#before + 1;
    const old = this.#sql.get.get(bytes);
    const created = old?.create_revision ?? revision;
    const version = (old?.version ?? 0) + 1;
    this.#sql.put.run(bytes, value, created, revision, version, lease ?? null);
    this.#sql.log.run(bytes, value, created, revision, version, lease ?? null, this.#position);
    this.#position += 1;
  }

  remove(key: Buffer): boolean {
    if (this.#sql.remove.run(key).changes === 0) return false;
    this.#sql.log.run(key, null, 0, this.#before + 1, 0, null, this.#position);
    this.#position += 1;
    return true;
  }
}
