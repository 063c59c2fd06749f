/**
 * A State whose reads of one prefix are answered from memory, fed by a mirror. For identity, which
 * reads a dozen records per log-in and must not ask etcd for each.
 *
 * What is promised, and what is not:
 * - A read sees every transaction of this process that was acknowledged before it.
 * - Transactions of other processes are seen when the watch brings them: milliseconds later. The
 *   answer's `revision` is honest about that: it is the one the memory stands at.
 * - That something does not exist is never concluded from memory: a `get` that finds nothing asks the
 *   store, and so does a range with `fresh`.
 * - When the store was not heard from for `trustMs`, memory is not used: the store answers, or fails.
 */
import type { Env } from '#env/env.ts';
import { rangeLimit } from './limits.ts';
import { type Mirror, mirrorRange } from './mirror.ts';
import { SortedKeys } from './sorted-keys.ts';
import type {
  KeyRange,
  KeyValue,
  LeaseId,
  RangeOptions,
  RangeResult,
  Revision,
  State,
  Transaction,
  TransactionResult,
  Watch,
  WatchEvent,
  WatchListener,
} from './state.ts';

const TRUST_MS = 5000;
/** How long an acknowledged write waits to be seen in memory; then memory is left unused for a while. */
const CATCH_UP_MS = 2000;

export function cacheState(
  env: Pick<Env, 'clock' | 'log'>,
  state: State,
  prefix: string,
  trustMs = TRUST_MS,
): State {
  return new CachedState(env, state, prefix, trustMs);
}

class CachedState implements State {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #state: State;
  readonly #prefix: string;
  readonly #trustMs: number;
  readonly #mirror: Mirror;
  readonly #items = new Map<string, KeyValue>();
  readonly #keys = new SortedKeys();
  #revision: Revision = 0;
  /** Newest revision of a transaction of ours that touched the prefix. */
  #written: Revision = 0;
  #waiters: (() => void)[] = [];

  constructor(env: Pick<Env, 'clock' | 'log'>, state: State, prefix: string, trustMs: number) {
    this.#env = env;
    this.#state = state;
    this.#prefix = prefix;
    this.#trustMs = trustMs;
    this.#mirror = mirrorRange(
      env,
      state,
      { prefix },
      {
        onSnapshot: (items, revision) => this.#onSnapshot(items, revision),
        onEvents: (events, revision) => this.#onEvents(events, revision),
      },
    );
  }

  async get(key: string): Promise<KeyValue | undefined> {
    const known = this.#isUsable(key) ? this.#items.get(key) : undefined;
    return known ?? this.#state.get(key);
  }

  async range(range: KeyRange, options?: RangeOptions): Promise<RangeResult> {
    const inside = 'prefix' in range && this.#isUsable(range.prefix);
    if (!inside || options?.fresh || options?.reverse) return this.#state.range(range, options);
    const limit = rangeLimit(options);
    const keys = this.#keys.withPrefix(range.prefix, limit + 1);
    const items = keys.slice(0, limit).map((key) => this.#items.get(key)!);
    return { items, more: keys.length > limit, revision: this.#revision };
  }

  async txn(transaction: Transaction): Promise<TransactionResult> {
    const result = await this.#state.txn(transaction);
    const branch = result.succeeded ? transaction.success : (transaction.failure ?? []);
    // What changed nothing here brings no event, so there is nothing to wait for.
    const writes = branch.some((operation, i) => {
      const done = result.results[i];
      if (operation.kind === 'deleteRange') return done?.kind === 'delete' && done.deleted > 0;
      if (operation.kind === 'range' || !operation.key.startsWith(this.#prefix)) return false;
      return operation.kind === 'put' || (done?.kind === 'delete' && done.deleted > 0);
    });
    if (writes) await this.#catchUp(result.revision);
    return result;
  }

  watch(range: KeyRange, fromRevision: Revision, listener: WatchListener): Watch {
    return this.#state.watch(range, fromRevision, listener);
  }

  grantLease(ttlSeconds: number): Promise<LeaseId> {
    return this.#state.grantLease(ttlSeconds);
  }

  keepAlive(lease: LeaseId): Promise<boolean> {
    return this.#state.keepAlive(lease);
  }

  revokeLease(lease: LeaseId): Promise<void> {
    return this.#state.revokeLease(lease);
  }

  compact(revision: Revision): Promise<void> {
    return this.#state.compact(revision);
  }

  /** Ends the mirror only: the store belongs to whoever opened it. */
  async close(): Promise<void> {
    this.#mirror.close();
  }

  #isUsable(key: string): boolean {
    if (this.#revision < this.#written || !key.startsWith(this.#prefix)) return false;
    const heardAtMs = this.#mirror.heardAtMs();
    if (this.#revision === 0 || heardAtMs === undefined) return false;
    return this.#env.clock.monotonicMs() - heardAtMs <= this.#trustMs;
  }

  /** Until memory has our own write, reads go to the store (`#written`), so this may give up. */
  async #catchUp(revision: Revision): Promise<void> {
    this.#written = Math.max(this.#written, revision);
    if (this.#revision >= revision) return;
    await new Promise<void>((resolve) => {
      const timer = this.#env.clock.setTimer(CATCH_UP_MS, resolve);
      const wait = (): void => {
        if (this.#revision < revision) {
          this.#waiters.push(wait);
          return;
        }
        timer.cancel();
        resolve();
      };
      this.#waiters.push(wait);
    });
  }

  #onSnapshot(items: readonly KeyValue[], revision: Revision): void {
    this.#items.clear();
    for (const item of items) this.#items.set(item.key, item);
    this.#keys.replace(items.map(({ key }) => key));
    this.#advance(revision);
  }

  #onEvents(events: readonly WatchEvent[], revision: Revision): void {
    for (const event of events) {
      if (event.kind === 'put') {
        if (!this.#items.has(event.item.key)) this.#keys.add(event.item.key);
        this.#items.set(event.item.key, event.item);
      } else if (this.#items.delete(event.key)) this.#keys.remove(event.key);
    }
    this.#advance(revision);
  }

  #advance(revision: Revision): void {
    this.#revision = revision;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
