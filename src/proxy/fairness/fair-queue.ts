/**
 * Whose request is served next. Two limits, both shared out among tenants:
 *
 *   starts   requests at work at once. One counts for `holdMs` at most: what takes longer waits for a
 *            client, a disk or another site, and would only keep others waiting.
 *   open     requests that are not over. A tenant may have as many as are free beside its own, so one
 *            alone gets a half, and there is always room for one more tenant.
 *
 * Who can't start waits in a line of its tenant's own; the lines take turns. A line and a wait have an
 * end: then the tenant is told to slow down.
 */
import { OperatingError } from '#base/errors.ts';
import type { Clock, Timer } from '#env/env.ts';

export interface FairQueueLimits {
  readonly starts: number;
  readonly holdMs: number;
  readonly open: number;
  /** Waiting requests of one tenant. */
  readonly line: number;
  readonly waitMs: number;
}

const DEFAULT_FAIR_QUEUE: FairQueueLimits = {
  starts: 256,
  holdMs: 1_000,
  open: 2_048,
  line: 2_000,
  waitMs: 20_000,
};

/** One request's place. */
export interface Place {
  readonly tenant: string;
}

interface Waiter {
  readonly place: Place;
  readonly start: () => void;
}

export class FairQueue {
  readonly #clock: Clock;
  readonly #limits: FairQueueLimits;
  /** Requests that are not over, by tenant. */
  readonly #open = new Map<string, number>();
  #openTotal = 0;
  /** At work, and since when, oldest first. */
  readonly #working = new Map<Place, number>();
  /** By tenant; whose turn it is first. */
  readonly #lines = new Map<string, Set<Waiter>>();
  #timer: Timer | undefined;

  constructor(clock: Clock, limits: Partial<FairQueueLimits> = {}) {
    this.#clock = clock;
    this.#limits = { ...DEFAULT_FAIR_QUEUE, ...limits };
  }

  get waiting(): number {
    let sum = 0;
    for (const line of this.#lines.values()) sum += line.size;
    return sum;
  }

  /** A place at once; undefined: it has to wait (`wait`). */
  enter(tenant: string): Place | undefined {
    if (this.#lines.has(tenant) || !this.#mayStart(tenant)) return undefined;
    return this.#begin({ tenant });
  }

  /** @throws OperatingError `slow-down`; the signal's reason when it aborts first */
  wait(tenant: string, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    const line = this.#lines.get(tenant) ?? new Set();
    const { line: longest, waitMs } = this.#limits;
    if (line.size >= longest) return Promise.reject(slowDown());
    this.#lines.set(tenant, line);
    return new Promise((resolve, reject) => {
      const place = { tenant };
      const over = (reason: unknown): void => {
        this.#drop(tenant, waiter);
        settle();
        reject(reason);
      };
      const onAbort = (): void => over(signal.reason);
      const timer = this.#clock.setTimer(waitMs, () => over(slowDown()));
      const settle = (): void => {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        place,
        start: () => {
          settle();
          resolve(place);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      line.add(waiter);
      this.#serve();
    });
  }

  /** The request is over. */
  leave(place: Place): void {
    const { tenant } = place;
    const left = (this.#open.get(tenant) ?? 1) - 1;
    if (left === 0) this.#open.delete(tenant);
    else this.#open.set(tenant, left);
    this.#openTotal -= 1;
    this.#working.delete(place);
    if (this.#lines.size > 0) this.#serve();
  }

  #begin(place: Place): Place {
    this.#open.set(place.tenant, (this.#open.get(place.tenant) ?? 0) + 1);
    this.#openTotal += 1;
    this.#working.set(place, this.#clock.monotonicMs());
    return place;
  }

  #mayStart(tenant: string): boolean {
    const { starts, open } = this.#limits;
    if (this.#working.size >= starts) this.#forgetSlow();
    if (this.#working.size >= starts) return false;
    return (this.#open.get(tenant) ?? 0) < open - this.#openTotal;
  }

  #forgetSlow(): void {
    const before = this.#clock.monotonicMs() - this.#limits.holdMs;
    for (const [place, sinceMs] of this.#working) {
      if (sinceMs > before) return;
      this.#working.delete(place);
    }
  }

  /** As many as may start, a line after the other. */
  #serve(): void {
    let passed = 0;
    while (passed < this.#lines.size) {
      const [tenant, line] = this.#lines.entries().next().value!;
      // To the end: it had its turn.
      this.#lines.delete(tenant);
      const [waiter] = line;
      const starts = waiter !== undefined && this.#mayStart(tenant);
      if (starts) line.delete(waiter);
      if (line.size > 0) this.#lines.set(tenant, line);
      passed = starts ? 0 : passed + 1;
      if (!starts) continue;
      this.#begin(waiter.place);
      waiter.start();
    }
    this.#lookAgain();
  }

  /** Slow ones give their place back by the clock; nobody tells. */
  #lookAgain(): void {
    if (this.#lines.size === 0 || this.#timer !== undefined) return;
    this.#timer = this.#clock.setTimer(Math.ceil(this.#limits.holdMs / 4), () => {
      this.#timer = undefined;
      this.#serve();
    });
  }

  #drop(tenant: string, waiter: Waiter): void {
    const line = this.#lines.get(tenant);
    line?.delete(waiter);
    if (line?.size === 0) this.#lines.delete(tenant);
  }
}

export function slowDown(retryAfterSeconds = 1): OperatingError {
  const text = 'too many requests of this account: slow down';
  return new OperatingError('slow-down', text, { retryAfterSeconds });
}
