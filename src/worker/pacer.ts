/**
 * When a job that goes round and round over many things, on several devices, does its next step: so that a
 * round takes `cycleMs`, or less where there is little, and then rests.
 */
import type { Clock } from '#env/env.ts';
import type { StepResult } from './job.ts';

export interface PacerOptions {
  readonly itemsPerStep: number;
  readonly cycleMs?: number;
}

const DAY_MS = 24 * 3600 * 1000;
const CYCLE_MS = 30 * DAY_MS;
/** Few things are gone through in steps this far apart. */
const MAX_STEP_MS = 300_000;
/** Nothing is gone through more often than so many times in a cycle. */
const MAX_ROUNDS = 30;
const MAX_IDLE_MS = 60_000;

export class Pacer {
  readonly #clock: Clock;
  readonly #options: PacerOptions;
  readonly #due = new Map<number, number>();
  readonly #urgent = new Set<number>();
  readonly #restarts = new Set<number>();

  constructor(clock: Clock, options: PacerOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  isDue(device: number): boolean {
    return this.#clock.monotonicMs() >= (this.#due.get(device) ?? 0);
  }

  /** A whole round without waits, from its beginning. */
  hurry(devices: Iterable<number>): void {
    for (const device of devices) {
      this.#urgent.add(device);
      this.#restarts.add(device);
      this.#due.delete(device);
    }
  }

  /** Whether the next step is the first of a round that was asked for; told once. */
  restarts(device: number): boolean {
    return this.#restarts.delete(device);
  }

  /**
   * A step was made on a device of so many things in all. `doubtful`: the round that is done has left something
   * open, so the next one follows as if it were its next step.
   */
  stepped(device: number, things: number, roundDone: boolean, doubtful = false): void {
    const { itemsPerStep, cycleMs = CYCLE_MS } = this.#options;
    const steps = Math.max(1, Math.ceil(things / itemsPerStep));
    if (roundDone) this.#urgent.delete(device);
    const stepMs = this.#urgent.has(device) ? 0 : Math.min(MAX_STEP_MS, cycleMs / steps);
    const waitMs = roundDone && !doubtful ? cycleMs / MAX_ROUNDS : stepMs;
    this.#due.set(device, this.#clock.monotonicMs() + waitMs);
  }

  /** What the job's step answers. `devices`: those that can be looked at. */
  result(devices: readonly number[]): StepResult {
    if (devices.some((device) => this.#urgent.has(device))) return { kind: 'more' };
    const now = this.#clock.monotonicMs();
    const waits = devices.map((device) => (this.#due.get(device) ?? now) - now);
    return { kind: 'idle', waitMs: Math.max(1, Math.min(MAX_IDLE_MS, ...waits)) };
  }
}
