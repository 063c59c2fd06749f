/**
 * Watches on a SQLite state. `PRAGMA data_version` changes when another process has committed and
 * costs a few microseconds, so it is asked every POLL_MS, and every IDLE_POLL_MS when nothing that anybody
 * watches has changed for a while (leases are renewed all the time); this process's own commits `poke`.
 * Then the new rows of `history` are read once and handed to every watch whose range they are in.
 *
 * The poll runs only while there is a watch, and once a second it also has overdue leases removed.
 */
import { messageOf } from '#base/errors.ts';
import type { Database, Env, Timer } from '#env/env.ts';
import { type Bounds, inBounds } from './limits.ts';
import { type HistoryRow, pairOf, type Statements } from './sqlite-schema.ts';
import type { Revision, Watch, WatchEvent, WatchListener } from './state.ts';

export const POLL_MS = 50;
/** News of a revocation may take 2 s; waking up twenty times a second for nothing is too dear. */
const IDLE_POLL_MS = 250;
const IDLE_AFTER_MS = 5000;
const LEASE_CHECK_MS = 1000;
/** Revisions read at once: bounds memory when a watch is far behind. */
const BATCH_REVISIONS = 512;

interface Watcher {
  readonly bounds: Bounds;
  readonly listener: WatchListener;
  next: Revision;
  open: boolean;
}

export class SqliteWatches {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #db: Database;
  readonly #sql: Statements;
  readonly #expireLeases: () => void;
  readonly #watchers = new Set<Watcher>();
  #timer: Timer | undefined;
  #poked = false;
  #dataVersion = -1;
  #heardAtMs = 0;
  #newsAtMs = 0;
  #leasesAtMs = 0;
  #closed = false;

  constructor(
    env: Pick<Env, 'clock' | 'log'>,
    db: Database,
    sql: Statements,
    expireLeases: () => void,
  ) {
    this.#env = env;
    this.#db = db;
    this.#sql = sql;
    this.#expireLeases = expireLeases;
  }

  add(bounds: Bounds, fromRevision: Revision, listener: WatchListener): Watch {
    const watcher: Watcher = { bounds, listener, next: fromRevision, open: true };
    this.#watchers.add(watcher);
    this.#newsAtMs = this.#env.clock.monotonicMs(); // More may follow what it is made for.
    if (this.#heardAtMs === 0) this.#heardAtMs = this.#env.clock.monotonicMs();
    this.poke();
    this.#schedule();
    return {
      heardAtMs: () => this.#heardAtMs,
      close: () => this.#end(watcher),
    };
  }

  /** Something was committed here, or a watch is new: look soon, not at the next poll. */
  poke(): void {
    if (this.#poked || this.#watchers.size === 0) return;
    this.#poked = true;
    this.#env.clock.defer(() => {
      this.#poked = false;
      this.#look(true);
    });
  }

  close(): void {
    this.#closed = true;
    for (const watcher of [...this.#watchers]) this.#end(watcher);
  }

  #end(watcher: Watcher): void {
    watcher.open = false;
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#watchers.size === 0) return;
    const idle = this.#env.clock.monotonicMs() - this.#newsAtMs > IDLE_AFTER_MS;
    this.#timer = this.#env.clock.setTimer(idle ? IDLE_POLL_MS : POLL_MS, () => {
      this.#timer = undefined;
      this.#look(false);
      this.#schedule();
    });
  }

  #look(force: boolean): void {
    if (this.#closed || this.#watchers.size === 0) return;
    try {
      this.#expireSometimes();
      const dataVersion = this.#readDataVersion();
      this.#heardAtMs = this.#env.clock.monotonicMs();
      if (!force && dataVersion === this.#dataVersion) return;
      if (this.#dispatch()) this.#newsAtMs = this.#heardAtMs;
      this.#dataVersion = dataVersion;
    } catch (error) {
      this.#env.log.warn('state.watch-trouble', { error: messageOf(error) });
      for (const { listener } of this.#watchers) listener.onTrouble?.(error as Error);
    }
  }

  #expireSometimes(): void {
    const now = this.#env.clock.monotonicMs();
    if (now - this.#leasesAtMs < LEASE_CHECK_MS) return;
    this.#leasesAtMs = now;
    this.#expireLeases();
  }

  #readDataVersion(): number {
    const rows = this.#db.pragma('data_version') as readonly { readonly data_version: number }[];
    return rows[0]?.data_version ?? 0;
  }

  /** True: there was something for somebody. */
  #dispatch(): boolean {
    let news = false;
    for (let done = false; !done && this.#watchers.size > 0; ) {
      const from = Math.min(...[...this.#watchers].map(({ next }) => next));
      const batch = this.#readHistory(from);
      for (const watcher of [...this.#watchers]) {
        if (watcher.next < batch.oldest) this.#tellCompacted(watcher, batch.oldest);
        else if (deliver(watcher, batch.rows, batch.to)) news = true;
      }
      done = batch.to >= batch.revision;
    }
    return news;
  }

  /** One moment's view: else another process could trim history between our reads. */
  #readHistory(from: Revision) {
    this.#db.exec('BEGIN');
    try {
      const revision = this.#sql.setting.get('revision') ?? 1;
      const oldest = this.#sql.setting.get('compacted') ?? 0;
      const to = Math.min(revision, Math.max(from, oldest) + BATCH_REVISIONS - 1);
      return { revision, oldest, to, rows: this.#sql.changes.all(from, to) };
    } finally {
      this.#db.exec('COMMIT');
    }
  }

  #tellCompacted(watcher: Watcher, oldest: Revision): void {
    this.#end(watcher);
    watcher.listener.onCompacted(oldest);
  }
}

/** True: there was something for it. */
function deliver(watcher: Watcher, rows: readonly HistoryRow[], to: Revision): boolean {
  if (!watcher.open || watcher.next > to) return false;
  const events: WatchEvent[] = [];
  for (const row of rows) {
    if (row.mod_revision >= watcher.next && inBounds(watcher.bounds, row.key)) {
      events.push(eventOf(row));
    }
  }
  watcher.next = to + 1;
  if (events.length > 0) watcher.listener.onEvents(events, to);
  return events.length > 0;
}

function eventOf(row: HistoryRow): WatchEvent {
  if (row.value === null) {
    return { kind: 'delete', key: row.key.toString(), modRevision: row.mod_revision };
  }
  return { kind: 'put', item: pairOf({ ...row, value: row.value }) };
}
