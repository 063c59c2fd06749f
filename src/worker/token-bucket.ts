/**
 * A rate that several users share, first come first served. What was taken beyond the rate is owed:
 * the next one waits until it has been paid back, so a piece larger than a second's worth passes too
 * and only makes those behind it wait longer.
 *
 * A rate of 0 lets nothing pass. The rate is asked anew whenever somebody waits, so a changed limit holds at once, also for those who
 * wait already.
 */
import type { Clock } from '#env/env.ts';

/** Saved up while nobody takes anything: small, or an idle night would end in a burst. */
const BURST_SECONDS = 0.1;
/** A longer wait looks at the rate again in between. */
const MAX_WAIT_MS = 250;

export class TokenBucket {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly #perSecond: () => number;
  #tokens = 0;
  #filledAtMs: number;
  #queue: Promise<void> = Promise.resolve();

  /** `perSecond`: infinite where there is no limit. */
  constructor(clock: Pick<Clock, 'monotonicMs' | 'sleep'>, perSecond: () => number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#filledAtMs = clock.monotonicMs();
  }

  /** Resolves when the amount may be used. Rejects with the signal's reason when it aborts first. */
  take(amount: number, signal?: AbortSignal): Promise<void> {
    const turn = this.#queue.then(() => this.#wait(amount, signal));
    this.#queue = turn.catch(() => undefined); // the one that gave up has the error; the next goes on
    return turn;
  }

  async #wait(amount: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    for (;;) {
      const rate = this.#fill();
      if (rate === Number.POSITIVE_INFINITY) return;
      if (rate > 0 && this.#tokens >= 0) break;
      const owedMs = rate > 0 ? Math.ceil((-this.#tokens / rate) * 1000) : MAX_WAIT_MS;
      const waitMs = Math.min(MAX_WAIT_MS, owedMs);
      await this.#clock.sleep(waitMs, signal);
    }
    this.#tokens -= amount;
  }

  /** The rate now. */
  #fill(): number {
    const rate = this.#perSecond();
    const nowMs = this.#clock.monotonicMs();
    const seconds = (nowMs - this.#filledAtMs) / 1000;
    this.#filledAtMs = nowMs;
    if (rate === Number.POSITIVE_INFINITY) this.#tokens = 0;
    else this.#tokens = Math.min(this.#tokens + rate * seconds, rate * BURST_SECONDS);
    return rate;
  }
}
