/**
 * The hybrid logical clock of one worker: microseconds that never go backwards in it, not even
 * across a restart, and always above every timestamp it has seen.
 *
 * A durable upper bound is reserved ahead (`RESERVE_MICROS`): a start continues above the bound of
 * the last run, so a wall clock set back repeats nothing. The caller makes `reserve` durable before
 * it returns; `now()` never issues at or above what is reserved.
 */
import { assert } from './assert.ts';
import { OperatingError } from './errors.ts';
import { makeTimestamp, microsOf, type Timestamp } from './timestamp.ts';

export const RESERVE_MICROS = 10_000_000;
export const DEFAULT_DRIFT_LIMIT_MICROS = 6 * 3600 * 1_000_000;

export interface HybridClockOptions {
  readonly workerId: number;
  readonly wallMicros: () => number;
  /** The bound that the last run reserved; 0 for the first run. */
  readonly bound: number;
  /** Makes a new bound durable, synchronously (it happens once in about 10 s). */
  readonly reserve: (bound: number) => void;
  readonly driftLimitMicros?: number;
}

export class HybridClock {
  readonly workerId: number;
  readonly #options: HybridClockOptions;
  readonly #driftLimit: number;
  #last: number;
  #bound: number;

  constructor(options: HybridClockOptions) {
    this.#options = options;
    this.workerId = options.workerId;
    this.#driftLimit = options.driftLimitMicros ?? DEFAULT_DRIFT_LIMIT_MICROS;
    this.#last = options.bound;
    this.#bound = options.bound;
  }

  /** A new timestamp, above all that this clock has issued or seen. */
  now(): Timestamp {
    const micros = Math.max(this.#options.wallMicros(), this.#last + 1);
    this.#advance(micros);
    return makeTimestamp(micros, this.workerId);
  }

  /** A new timestamp above `other` too. @throws OperatingError `clock-drift` */
  above(other: Timestamp): Timestamp {
    this.observe(other);
    return this.now();
  }

  /** The newest reading, for the sender's clock in a frame; issues nothing. */
  peekMicros(): number {
    return Math.max(this.#options.wallMicros(), this.#last);
  }

  /**
   * Moves above a timestamp that was seen. One that is more than the drift limit above this
   * machine's wall clock is refused, not adopted: one broken clock must not carry all others away.
   * @throws OperatingError `clock-drift`
   */
  observe(timestamp: Timestamp): void {
    this.observeMicros(microsOf(timestamp));
  }

  observeMicros(micros: number): void {
    if (micros <= this.#last) return;
    this.checkMicros(micros);
    this.#advance(micros);
  }

  /** The check of `observeMicros` alone: nothing is adopted. @throws OperatingError `clock-drift` */
  checkMicros(micros: number): void {
    const ahead = micros - this.#options.wallMicros();
    if (ahead > this.#driftLimit) {
      throw new OperatingError('clock-drift', 'a timestamp is too far ahead of this clock', {
        aheadMicros: ahead,
      });
    }
  }

  #advance(micros: number): void {
    assert(micros >= this.#last, 'the clock went backwards');
    if (micros >= this.#bound) {
      const bound = micros + RESERVE_MICROS;
      this.#options.reserve(bound); // throws: nothing is issued that is not reserved
      this.#bound = bound;
    }
    this.#last = micros;
  }
}
