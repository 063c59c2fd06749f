/**
 * So many units in a second, with a second's worth in advance. What is taken beyond that is a debt which
 * time pays: `takeIfThere` takes nothing on credit, `take` says how long the debt lasts.
 */
import { assert } from '#base/assert.ts';
import type { Clock } from '#env/env.ts';

export class TokenBucket {
  readonly perSecond: number;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #level: number;
  #atMs: number;

  constructor(clock: Pick<Clock, 'monotonicMs'>, perSecond: number) {
    assert(perSecond >= 1, 'a rate of at least one');
    this.#clock = clock;
    this.perSecond = perSecond;
    this.#level = perSecond;
    this.#atMs = clock.monotonicMs();
  }

  /** Milliseconds until it would be there; 0: taken. */
  takeIfThere(units: number): number {
    this.#fill();
    if (this.#level < units) return this.#msUntil(units);
    this.#level -= units;
    return 0;
  }

  /** Milliseconds until the debt is paid. */
  take(units: number): number {
    this.#fill();
    this.#level -= units;
    return this.#msUntil(0);
  }

  #msUntil(units: number): number {
    return Math.max(0, ((units - this.#level) / this.perSecond) * 1000);
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    const earned = ((nowMs - this.#atMs) / 1000) * this.perSecond;
    this.#level = Math.min(this.perSecond, this.#level + earned);
    this.#atMs = nowMs;
  }
}
