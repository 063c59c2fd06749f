/**
 * A rate that several users share, first come first served. What was taken beyond the rate is owed:
 * the next one waits until it has been paid back, so a piece larger than a second's worth passes too
 * and only makes those behind it wait longer.
 *
 * Who goes first has a line and an account of its own: it never waits for what the others owe, and they
 * owe what it has taken. So both together have no more than the rate for long.
 *
 * A rate of 0 lets nothing pass. The rate is asked anew whenever somebody waits, so a changed limit holds at once, also for those who
 * wait already.
 */
import type { Clock } from '#env/env.ts';

/** Saved up while nobody takes anything: small, or an idle night would end in a burst. */
const BURST_SECONDS = 0.1;
/** A longer wait looks at the rate again in between. */
const MAX_WAIT_MS = 250;

export type Line = 'first' | 'other';

interface Account {
  tokens: number;
  /** Resolves when everybody who stands in the line now has been served or has given up. */
  end: Promise<void>;
}

export class TokenBucket {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly #perSecond: () => number;
  readonly #accounts: Record<Line, Account> = { first: newAccount(), other: newAccount() };
  #filledAtMs: number;

  /** `perSecond`: infinite where there is no limit. */
  constructor(clock: Pick<Clock, 'monotonicMs' | 'sleep'>, perSecond: () => number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#filledAtMs = clock.monotonicMs();
  }

  /** Resolves when the amount may be used. Rejects with the signal's reason when it aborts first. */
  take(amount: number, signal?: AbortSignal, line: Line = 'other'): Promise<void> {
    const account = this.#accounts[line];
    const turn = account.end.then(async () => {
      await this.#wait(account, signal);
      account.tokens -= amount;
      if (line === 'first') this.#accounts.other.tokens -= amount;
    });
    account.end = turn.catch(() => undefined); // the one that gave up has the error; the next goes on
    return turn;
  }

  async #wait(account: Account, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    for (;;) {
      const rate = this.#fill();
      if (rate > 0 && account.tokens >= 0) return;
      const owedMs = rate > 0 ? Math.ceil((-account.tokens / rate) * 1000) : MAX_WAIT_MS;
      const waitMs = Math.min(MAX_WAIT_MS, owedMs);
      await this.#clock.sleep(waitMs, signal);
    }
  }

  /** The rate now. Without a limit nothing is owed. */
  #fill(): number {
    const rate = this.#perSecond();
    const nowMs = this.#clock.monotonicMs();
    const seconds = (nowMs - this.#filledAtMs) / 1000;
    this.#filledAtMs = nowMs;
    for (const account of Object.values(this.#accounts)) {
      const isFree = rate === Number.POSITIVE_INFINITY;
      account.tokens = isFree ? 0 : Math.min(account.tokens + rate * seconds, rate * BURST_SECONDS);
    }
    return rate;
  }
}

function newAccount(): Account {
  return { tokens: 0, end: Promise.resolve() };
}
