/** For tests: a state store that is away for as long as one likes, and loses nothing meanwhile. */
import { OperatingError } from '#base/errors.ts';
import type { Clock } from '#env/env.ts';
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
  WatchListener,
} from '../state.ts';

export class BreakableState implements State {
  readonly #state: State;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #mending = new Set<() => void>();
  #brokenAtMs: number | undefined;

  constructor(state: State, clock: Pick<Clock, 'monotonicMs'>) {
    this.#state = state;
    this.#clock = clock;
  }

  break(): void {
    this.#brokenAtMs ??= this.#clock.monotonicMs();
  }

  mend(): void {
    this.#brokenAtMs = undefined;
    for (const deliver of this.#mending) deliver();
    this.#mending.clear();
  }

  get(key: string): Promise<KeyValue | undefined> {
    return this.#reach(() => this.#state.get(key));
  }

  range(range: KeyRange, options?: RangeOptions): Promise<RangeResult> {
    return this.#reach(() => this.#state.range(range, options));
  }

  txn(transaction: Transaction): Promise<TransactionResult> {
    return this.#reach(() => this.#state.txn(transaction));
  }

  /** What happens meanwhile is told when it is mended. */
  watch(range: KeyRange, fromRevision: Revision, listener: WatchListener): Watch {
    const later = (tell: () => void): void => {
      if (this.#brokenAtMs === undefined) tell();
      else this.#mending.add(tell);
    };
    const watch = this.#state.watch(range, fromRevision, {
      onEvents: (events, revision) => later(() => listener.onEvents(events, revision)),
      onCompacted: (oldest) => later(() => listener.onCompacted(oldest)),
    });
    return {
      heardAtMs: () => Math.min(watch.heardAtMs(), this.#brokenAtMs ?? Infinity),
      close: () => watch.close(),
    };
  }

  grantLease(ttlSeconds: number): Promise<LeaseId> {
    return this.#reach(() => this.#state.grantLease(ttlSeconds));
  }

  keepAlive(lease: LeaseId): Promise<boolean> {
    return this.#reach(() => this.#state.keepAlive(lease));
  }

  revokeLease(lease: LeaseId): Promise<void> {
    return this.#reach(() => this.#state.revokeLease(lease));
  }

  compact(revision: Revision): Promise<void> {
    return this.#reach(() => this.#state.compact(revision));
  }

  close(): Promise<void> {
    return this.#state.close();
  }

  async #reach<Result>(act: () => Promise<Result>): Promise<Result> {
    if (this.#brokenAtMs !== undefined)
      throw new OperatingError('state-unavailable', 'the state store is away');
    return act();
  }
}
