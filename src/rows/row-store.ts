/**
 * The rows of one device: what its log's row records say, applied to rows.db.
 *
 * Invariants:
 * - A row's state is the join of everything that was ever written to it; its record in the log holds
 *   that whole joined state, so the newest record of a row is all that must be kept of it. (Where the
 *   database could not take a record in at once, the next one may not hold it: such rows are `partial`.)
 * - Nothing is in the database that is not durable in the log. Rows, totals, digests, sequence and the
 *   applied log position change in one transaction; replaying any suffix of the log again changes no state.
 * - The commit sequence of a container rises by one with every row that changes, in log order. It means
 *   something only within one `incarnation` of the database: a rebuilt one counts anew.
 * - What fails its checksum is never given out: the store is `damaged` from then on, and the next
 *   start rebuilds the database from the log.
 */
import { EMPTY_STATE, type EntryState } from '#base/entry.ts';
import { codeOf, messageOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import type {
  DigestSummary,
  LoggedRow,
  LogPosition,
  RowLog,
  RowPage,
  RowPlace,
  RowRecord,
  RowSink,
  RowStanding,
} from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import {
  type Change,
  type ContainerFacts,
  factsOf,
  type OwnState,
  type RowResult,
  type Tombstone,
} from './answers.ts';
import { Applier } from './applier.ts';
import { RowAudit } from './audit.ts';
import { columnsOf } from './columns.ts';
import { ContainerCache, type ContainerState } from './container-state.ts';
import { ContainerTable } from './container-table.ts';
import { type Cursor, CursorTable } from './cursors.ts';
import { DamageGuard, saysRowsDamage } from './damage-guard.ts';
import { markDamaged, type OpenedDatabase, openRowsDatabase } from './database-file.ts';
import { HolderTable, type Holding } from './holders.ts';
import { listRows } from './listing.ts';
import { type Listing, type ListQuery, onlyRoles } from './query.ts';
import { type DeadRow, knownState, RowTable, stateOf } from './row-table.ts';
import { RowWriter } from './row-writer.ts';
import { readFloor } from './sequence-floor.ts';
import { standingOf } from './standing.ts';
import { BUCKET_BITS, Summaries } from './summary.ts';

export type RowStoreEnv = Pick<Env, 'clock' | 'disk' | 'random' | 'log'>;

export interface RowStoreOptions {
  /** rows.db of the device. */
  readonly file: string;
  /** The device's incarnation: a database of another one is not used. */
  readonly incarnation: string;
  /** Key of the digests, the same on every device of the cluster: its id. */
  readonly digestKey: string;
}

/** Marks dropped in one transaction. */
const MARK_BATCH = 1000;
/** Rows that expire are moved out of the listing in transactions of at most so many. */
const EXPIRE_BATCH = 1000;
/** The audit reads every page once. */
const LOOK_CACHE_KIB = 256;

export class RowStore implements RowSink {
  /** Of this database: sequences of another one mean nothing. 32 hex digits. */
  readonly incarnation: string;
  readonly #env: RowStoreEnv;
  readonly #opened: OpenedDatabase;
  readonly #rows: RowTable;
  readonly #lines: ContainerTable;
  readonly #cursors: CursorTable;
  readonly #holders: HolderTable;
  readonly #containers: ContainerCache;
  readonly #summaries: Summaries;
  readonly #audit: RowAudit;
  readonly #applier: Applier;
  readonly #writer: RowWriter;
  readonly #guard: DamageGuard;
  #closed = false;

  static open(env: RowStoreEnv, options: RowStoreOptions): RowStore {
    const open = (): OpenedDatabase =>
      openRowsDatabase(env.disk, options.file, options.incarnation, env.log);
    const opened = open();
    try {
      return new RowStore(env, options, opened);
    } catch (error) {
      // Damage that its first looks meet: a start that only failed would fail in the same way for ever.
      if (!saysRowsDamage(codeOf(error))) throw error;
      opened.db.close();
      markDamaged(env.disk, options.file, messageOf(error));
      return new RowStore(env, options, open());
    }
  }

  private constructor(env: RowStoreEnv, options: RowStoreOptions, opened: OpenedDatabase) {
    const { db, meta } = opened;
    this.#env = env;
    this.#opened = opened;
    this.#guard = new DamageGuard(env, options.file);
    this.#rows = new RowTable(db);
    this.#lines = new ContainerTable(db);
    this.#cursors = new CursorTable(db);
    this.#holders = new HolderTable(db);
    this.#containers = new ContainerCache(options.digestKey, (ring, hash) =>
      this.#lines.find(ring, hash),
    );
    this.#summaries = new Summaries(this.#lines);
    this.#applier = new Applier(
      opened,
      { rows: this.#rows, lines: this.#lines, cursors: this.#cursors, holders: this.#holders },
      this.#containers,
      (before, after) => this.#summaries.changed(before, after),
    );
    this.#writer = new RowWriter(this.#rows, this.#containers, this.#applier);
    this.#audit = new RowAudit({
      key: options.digestKey,
      verify: () => db.verify(),
      checkpoint: () => db.checkpoint(),
      isThere: () => env.disk.statSync(options.file) !== undefined,
      look: () => env.disk.openDatabase(options.file, { readOnly: true, cacheKiB: LOOK_CACHE_KIB }),
      applied: () => this.#applier.position(),
      incarnation: () => this.incarnation,
      device: options.incarnation,
    });
    // Without the floor, sequences would count anew under a name that stands for the old ones.
    const known = readFloor(meta) === undefined ? '' : (meta.get('incarnation') ?? '');
    this.incarnation = known || this.#newIncarnation();
  }

  get damage(): string | undefined {
    return this.#guard.damage;
  }

  /** Rows go to this log from now on: called once, when the device was opened with this sink. */
  bind(log: RowLog): void {
    this.#writer.bind(log);
  }

  /**
   * Joins a row into what is known and makes it durable. An older state is joined too: that changes
   * nothing that a reader sees, and its writer can rely on it being here.
   * @throws OperatingError the log's errors, `rows-damaged`
   */
  async write(row: RowRecord): Promise<RowResult> {
    const entry = this.#guard.run(() => this.#writer.enter(row));
    if (entry.pending !== undefined) await entry.pending.done;
    return entry.result;
  }

  /**
   * Compare-and-drop: forgets rows that are still as they were at these sequences. A container's own state
   * goes last: it says what a late row would come back to. Gives how many went.
   * @throws OperatingError the log's errors, `rows-damaged`
   */
  async forget(
    ring: PolicyIndex,
    hash: Buffer,
    rows: Iterable<{ readonly name: string; readonly sequence: number }>,
  ): Promise<number> {
    const forgotten = this.#look(() => {
      const container = this.#containers.find(ring, hash);
      if (container === undefined) return [];
      return [...rows].flatMap((row) => this.#writer.enterForget(container, row) ?? []);
    });
    await Promise.all(forgotten.map(({ done }) => done));
    return forgotten.length;
  }

  /** Tombstones that died before then, the oldest first, after the place given. */
  tombstones(beforeMs: number, after: DeadRow | undefined, limit: number): Tombstone[] {
    return this.#look(() =>
      this.#rows.dead(after, beforeMs, limit).map((place) => {
        const { ring, hash } = this.#lines.byId(place.container);
        return { place, ring, hash, name: place.name, sequence: place.sequence };
      }),
    );
  }

  /** The newest state of a row, also while it is on its way through the log. Name '': the container's own. */
  read(ring: PolicyIndex, hash: Buffer, name: string): EntryState | undefined {
    return this.#guard.run(() => {
      const container = this.#containers.find(ring, hash);
      if (container === undefined) return undefined;
      const pending = container.pending.get(name);
      return pending === undefined ? this.#committed(container, name) : pending.state;
    });
  }

  facts(ring: PolicyIndex, hash: Buffer): ContainerFacts | undefined {
    return this.#look(() => {
      this.#expire();
      const line = this.#containers.find(ring, hash)?.line;
      return line && factsOf(line);
    });
  }

  /** Whether a row is listed, or will be when what is under way is committed. */
  hasLiveRow(ring: PolicyIndex, hash: Buffer): boolean {
    if ((this.facts(ring, hash)?.totals.rows ?? 0) > 0) return true;
    const now = this.#nowSeconds();
    const pending = [...(this.#containers.find(ring, hash)?.pending ?? [])];
    return pending.some(([name, { state }]) => state && !columnsOf(ring, name, state, now).hidden);
  }

  list(ring: PolicyIndex, hash: Buffer, query: ListQuery): Listing {
    return this.#look(() => {
      this.#expire();
      const id = this.#idOf(ring, hash);
      if (id === 0) return { items: [], truncated: false };
      return listRows(query, this.#rows.scan(id, this.#nowSeconds(), onlyRoles(ring, query)));
    });
  }

  /** Rows changed after `sequence`, in commit order, the container's own state (name '') among them. */
  changes(ring: PolicyIndex, hash: Buffer, sequence: number, limit: number): Change[] {
    return this.#look(() => {
      const rows = this.#rows.since(this.#idOf(ring, hash), sequence, limit);
      return rows.map((row) => ({ name: row.name, state: stateOf(row), sequence: row.sequence }));
    });
  }

  /** Containers of a ring with from <= hash < to (undefined: the end), in hash order. */
  containers(
    ring: PolicyIndex,
    from: Buffer,
    to: Buffer | undefined,
    limit: number,
  ): ContainerFacts[] {
    return this.#look(() => this.#lines.range(ring, from, to, limit).map(factsOf));
  }

  /**
   * The containers' own states, in hash order from `from` on, past the cache: a walk over all containers
   * must not push out those that are in use.
   */
  ownStates(ring: PolicyIndex, from: Buffer, limit: number): OwnState[] {
    return this.#look(() =>
      this.#lines.range(ring, from, undefined, limit).map(({ id, hash, path, rows }) => {
        const row = this.#rows.find(id, Buffer.alloc(0));
        return { hash, path, rows, state: knownState(row) };
      }),
    );
  }

  /** Containers that were written or read lately and have at least `rows` rows: no look at the database. */
  recent(ring: PolicyIndex, rows: number): ContainerFacts[] {
    return this.#containers.recent(ring, rows).map(({ line }) => factsOf(line));
  }

  /** Containers that changed since their totals were last acknowledged, after the one named, if any. */
  unreported(ring: PolicyIndex, after: Buffer | undefined, limit: number): ContainerFacts[] {
    return this.#look(() => {
      const id = after === undefined ? 0 : this.#idOf(ring, after);
      return this.#lines.unreported(ring, id, limit).map(factsOf);
    });
  }

  /** The account's replicas have the totals as of `sequence`. */
  markReported(ring: PolicyIndex, hash: Buffer, sequence: number): void {
    this.#look(() => {
      const id = this.#idOf(ring, hash);
      this.#lines.markReported(id, sequence);
      this.#holders.reported(id, sequence);
    });
  }

  /** What users hold of a container, where that changed since it was reported; in the order of changes. */
  unreportedHoldings(ring: PolicyIndex, hash: Buffer, limit: number): Holding[] {
    return this.#look(() => this.#holders.unreported(this.#idOf(ring, hash), limit));
  }

  /** What a user holds of it; undefined: nothing, for some time. */
  holding(ring: PolicyIndex, hash: Buffer, owner: string): Holding | undefined {
    return this.#look(() => {
      this.#expire();
      return this.#holders.of(this.#idOf(ring, hash), owner);
    });
  }

  /**
   * Everything that `device` had committed of a container, up to this point of its database, is here. Where
   * nothing is, it was taken in once, and handed over: who wants it again begins anew.
   */
  cursor(ring: PolicyIndex, hash: Buffer, device: number): Cursor | undefined {
    return this.#look(() => {
      const line = this.#containers.find(ring, hash)?.line;
      return line && line.total > 0 ? this.#cursors.get(line.id, device) : undefined;
    });
  }

  setCursor(ring: PolicyIndex, hash: Buffer, device: number, cursor: Cursor): void {
    this.#look(() => {
      const id = this.#idOf(ring, hash);
      if (id !== 0) this.#cursors.set(id, device, cursor);
    });
  }

  /** See device/contract.ts, Digests: the device answers with this for the two row rings. */
  summarise(ring: PolicyIndex, from: number, to: number, parts: number): DigestSummary[] {
    return this.#look(() => this.#summaries.summarise(ring, from, to, parts));
  }

  async audit(
    after: number,
    limit: number,
  ): Promise<{ readonly rows: number; readonly next: number | undefined }> {
    this.#guard.run(() => undefined);
    if (this.#closed) return { rows: 0, next: after };
    return this.#audit.step(after, limit).catch((error: unknown) =>
      this.#guard.run(() => {
        throw error;
      }),
    );
  }

  /**
   * The rows of one container, deleted ones too: those that are listed first, then the others, each by name.
   * `after` need not be there any more.
   */
  rowsOf(
    ring: PolicyIndex,
    hash: Buffer,
    after: Pick<RowPlace, 'hidden' | 'name'> | undefined,
    limit: number,
  ): RowPage {
    const container = this.#look(() => this.#idOf(ring, hash));
    if (container === 0) return { rows: [], next: undefined };
    const place = { container, ...(after ?? { hidden: -1, name: '' }) };
    const { rows, next } = this.rowsAfter(place, limit);
    return { rows, next: next?.container === container ? next : undefined };
  }

  rowsAfter(place: RowPlace | undefined, limit: number): RowPage {
    return this.#look(() => {
      // The place may be one of a database that was rebuilt since: then about there.
      const line = this.#lines.next((place?.container ?? 1) - 1);
      if (line === undefined) return { rows: [], next: undefined };
      const { id, ring, hash, path } = line;
      const { hidden, name } = place?.container === id ? place : { hidden: -1, name: '' };
      const page = this.#rows.page(id, hidden, Buffer.from(name), limit);
      const key = { policy: ring, hash };
      const rows = page.map((row): RowRecord => {
        const { name, since, until } = row;
        const common = { key, path, name, since };
        if (until !== null) return { ...common, state: EMPTY_STATE, forgets: until };
        return { ...common, state: stateOf(row) };
      });
      const last = page.at(-1);
      if (last !== undefined && page.length === limit) {
        return { rows, next: { container: id, hidden: last.hidden, name: last.name } };
      }
      const following = this.#lines.next(id);
      return { rows, next: following && { container: following.id, hidden: -1, name: '' } };
    });
  }

  /** Another number whenever a sum may be another. */
  get summaryChanges(): number {
    if (this.damage === undefined) this.#look(() => undefined);
    return this.#summaries.changes;
  }

  /** Of a damaged store 0, also where this look is what finds the damage: it is asked by who reports on the device. */
  get rowCount(): number {
    const total = (ring: PolicyIndex): number =>
      this.#summaries.summarise(ring, 0, 2 ** BUCKET_BITS, 1)[0]!.total;
    const sum = (): number => total(CONTAINER_RING) + total(ACCOUNT_RING);
    return this.#guard.unlessDamaged(() => this.#look(sum)) ?? 0;
  }

  applied(): LogPosition | undefined {
    return this.#applier.position();
  }

  /**
   * A damaged store takes nothing more in, and is no reason to fail the device: the records are in the
   * log, all stay there, and the next start applies them to a new database.
   */
  apply(rows: readonly LoggedRow[], upTo: LogPosition): void {
    this.#guard.unlessDamaged(() => this.#applier.apply(rows, upTo, this.#nowSeconds()));
  }

  /** Of a damaged store nothing can be said: the next start makes it anew, from the log as it is. */
  standing(row: RowRecord): RowStanding {
    const standing = this.#guard.unlessDamaged(() => {
      const container = this.#containers.find(row.key.policy, row.key.hash);
      const stored = container && this.#rows.findIn(container, row.name);
      return standingOf(row, stored, container?.pending.get(row.name));
    });
    return standing ?? 'undecided';
  }

  noSegments(after: number, before: number): void {
    this.#guard.unlessDamaged(() => {
      while (this.#applier.dropMarks(after, before, MARK_BATCH) === MARK_BATCH);
    });
  }

  async checkpoint(): Promise<boolean> {
    return this.damage === undefined && (await this.#opened.db.checkpoint());
  }

  condemn(): void {
    this.#guard.condemn('older than the log');
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#opened.db.close();
  }

  /** A look at the database: what is durable is in it by then. */
  #look<Result>(body: () => Result): Result {
    return this.#guard.run(() => {
      this.#writer.settleLog();
      return body();
    });
  }

  #committed(container: ContainerState, name: string): EntryState | undefined {
    if (name === '' && container.own !== null) return container.own;
    const stored = this.#rows.findIn(container, name);
    const state = knownState(stored);
    if (name === '') container.own = state;
    return state;
  }

  #expire(): void {
    const now = this.#nowSeconds();
    if (this.#applier.nextExpiry <= now) this.#applier.expire(now, EXPIRE_BATCH);
  }

  /** 0: it has no line, and no table knows of it. */
  #idOf(ring: PolicyIndex, hash: Buffer): number {
    return this.#containers.find(ring, hash)?.line.id ?? 0;
  }

  #nowSeconds(): number {
    return Math.floor(this.#env.clock.wallMicros() / 1_000_000);
  }

  #newIncarnation(): string {
    const incarnation = this.#env.random.bytes(16).toString('hex');
    this.#opened.meta.set('incarnation', incarnation);
    return incarnation;
  }
}
