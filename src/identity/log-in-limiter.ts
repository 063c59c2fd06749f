/**
 * Slows down guessing. Failed log-ins drain small buckets that refill with time: one per user and
 * address, and wider ones per user and per address. Success fills the first again. Only failures
 * count, so a client that logs in a thousand times an hour with the right password never notices.
 *
 * Kept in memory, per identity service: guessing at three services is three times as fast, which
 * with these numbers is still hopeless, and a log-in needs no write to state.
 */
import { OperatingError } from '#base/errors.ts';
import type { Clock } from '#env/env.ts';

interface Limit {
  readonly failures: number;
  readonly refillMs: number;
}

const PAIR: Limit = { failures: 10, refillMs: 6000 };
const USER: Limit = { failures: 100, refillMs: 1000 };
const ADDRESS: Limit = { failures: 200, refillMs: 500 };
const MAX_BUCKETS = 20_000;

interface Bucket {
  used: number;
  atMs: number;
}

export class LogInLimiter {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  /** @throws OperatingError `too-many-attempts` with `retryAfterSeconds` */
  check(user: string, address: string): void {
    for (const [key, limit] of keysOf(user, address)) {
      const bucket = this.#drained(key, limit);
      if (bucket === undefined || bucket.used < limit.failures) continue;
      const excess = bucket.used - limit.failures + 1;
      const retryAfterSeconds = Math.ceil((excess * limit.refillMs) / 1000);
      const facts = { retryAfterSeconds };
      throw new OperatingError('too-many-attempts', 'Too many failed log-ins; try later.', facts);
    }
  }

  failed(user: string, address: string): void {
    for (const [key, limit] of keysOf(user, address)) {
      const bucket = this.#drained(key, limit) ?? { used: 0, atMs: this.#clock.monotonicMs() };
      bucket.used += 1;
      this.#buckets.delete(key);
      this.#buckets.set(key, bucket);
    }
    while (this.#buckets.size > MAX_BUCKETS) {
      const [oldest] = this.#buckets.keys();
      this.#buckets.delete(oldest!);
    }
  }

  succeeded(user: string, address: string): void {
    const [pair] = keysOf(user, address);
    this.#buckets.delete(pair![0]);
  }

  #drained(key: string, limit: Limit): Bucket | undefined {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return undefined;
    const now = this.#clock.monotonicMs();
    bucket.used = Math.max(0, bucket.used - (now - bucket.atMs) / limit.refillMs);
    bucket.atMs = now;
    return bucket;
  }
}

function keysOf(user: string, address: string): [string, Limit][] {
  return [
    [`p ${address} ${user}`, PAIR],
    [`u ${user}`, USER],
    [`a ${address}`, ADDRESS],
  ];
}
