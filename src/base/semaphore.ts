/**
 * At most so many at a time, first come first served: a large request at the front is not overtaken by
 * small ones behind it, or it would wait for ever.
 */
import { assert } from './assert.ts';
import { OperatingError } from './errors.ts';

interface Waiter {
  readonly permits: number;
  readonly grant: () => void;
}

/** Gives the permits back; calling it again does nothing. */
export type Release = () => void;

export class Semaphore {
  readonly permits: number;
  /** How many may wait; one more is refused with `overloaded`. */
  readonly maxWaiters: number;
  #free: number;
  readonly #waiters = new Set<Waiter>();

  constructor(permits: number, maxWaiters = Number.POSITIVE_INFINITY) {
    assert(permits > 0, `semaphore permits ${permits}`);
    this.permits = permits;
    this.maxWaiters = maxWaiters;
    this.#free = permits;
  }

  get free(): number {
    return this.#free;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Undefined where it would have to wait. */
  tryAcquire(permits = 1): Release | undefined {
    this.#check(permits);
    if (this.#waiters.size > 0 || permits > this.#free) return undefined;
    return this.#take(permits);
  }

  /**
   * Rejects with the signal's reason when it aborts before the turn comes.
   * @throws OperatingError `overloaded` when too many wait already
   */
  acquire(permits = 1, signal?: AbortSignal): Promise<Release> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const release = this.tryAcquire(permits);
    if (release !== undefined) return Promise.resolve(release);
    if (this.#waiters.size >= this.maxWaiters) {
      return Promise.reject(
        new OperatingError('overloaded', 'too many are waiting', { waiting: this.#waiters.size }),
      );
    }
    return this.#wait(permits, signal);
  }

  /** Runs `task` while holding the permits. */
  async use<Result>(
    task: () => Promise<Result> | Result,
    options: { readonly permits?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Result> {
    const release = await this.acquire(options.permits, options.signal);
    try {
      return await task();
    } finally {
      release();
    }
  }

  #wait(permits: number, signal: AbortSignal | undefined): Promise<Release> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
        this.#grantNext(); // those behind may fit now
      };
      const waiter: Waiter = {
        permits,
        grant: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve(this.#take(permits));
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  #take(permits: number): Release {
    this.#free -= permits;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#free += permits;
      this.#grantNext();
    };
  }

  #grantNext(): void {
    for (const waiter of this.#waiters) {
      if (waiter.permits > this.#free) return;
      this.#waiters.delete(waiter);
      waiter.grant();
    }
  }

  #check(permits: number): void {
    assert(permits > 0 && permits <= this.permits, `${permits} of ${this.permits} permits`);
  }
}
