/**
 * Holds back what passes through it by a fixed time, in order, with one timer for the whole line: a
 * long link with all its bandwidth. Items that come due together leave together.
 */
import type { Clock, Timer } from '../env.ts';

interface Waiting {
  readonly dueMs: number;
  readonly release: () => void;
}

export class DelayLine {
  readonly #clock: Clock;
  readonly #delayMs: number;
  #queue: Waiting[] = [];
  #timer: Timer | undefined;
  #held = false;
  #closed = false;

  constructor(clock: Clock, delayMs: number) {
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  push(release: () => void): void {
    if (this.#closed) return;
    this.#queue.push({ dueMs: this.#clock.monotonicMs() + this.#delayMs, release });
    if (!this.#held) this.#timer ??= this.#clock.setTimer(this.#delayMs, () => this.#flush());
  }

  /** While held, everything waits; nothing is lost and the order stays. */
  hold(on: boolean): void {
    this.#held = on;
    if (on || this.#closed || this.#queue.length === 0) return;
    this.#timer ??= this.#clock.setTimer(0, () => this.#flush());
  }

  /** Forgets what waits and what comes. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#queue = [];
  }

  #flush(): void {
    this.#timer = undefined;
    if (this.#held) return;
    const now = this.#clock.monotonicMs();
    const queue = this.#queue;
    let due = 0;
    while (due < queue.length && queue[due]!.dueMs <= now) due++;
    this.#queue = queue.slice(due);
    const next = this.#queue[0];
    this.#timer = next && this.#clock.setTimer(next.dueMs - now, () => this.#flush());
    for (let i = 0; i < due && !this.#closed; i++) queue[i]!.release();
  }
}
