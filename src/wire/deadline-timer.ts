/**
 * One timer for all calls of a connection. It is set for the earliest deadline that was noted;
 * when it fires, `sweep` ends what has expired and says what is earliest now. Calls that end in
 * time (nearly all) cost nothing, and a deadline may move later without being told.
 */
import type { Clock, Timer } from '#env/env.ts';

export class DeadlineTimer {
  readonly #clock: Clock;
  readonly #sweep: (nowMs: number) => number;
  #timer: Timer | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  /** `sweep` returns the earliest deadline that is left, or Infinity. */
  constructor(clock: Clock, sweep: (nowMs: number) => number) {
    this.#clock = clock;
    this.#sweep = sweep;
  }

  note(atMs: number, nowMs: number): void {
    if (atMs >= this.#atMs) return;
    this.#timer?.cancel();
    this.#atMs = atMs;
    this.#timer = this.#clock.setTimer(Math.max(0, atMs - nowMs), () => this.#fire());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#atMs = Number.POSITIVE_INFINITY;
  }

  #fire(): void {
    this.#timer = undefined;
    this.#atMs = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonicMs();
    const next = this.#sweep(now);
    if (next !== Number.POSITIVE_INFINITY) this.note(next, now);
  }
}
