/**
 * A point in monotonic time by which something must be done. It travels between processes as the time
 * that remains, because clocks differ.
 */
import { OperatingError } from './errors.ts';

/** As much of env's Clock as a deadline needs (base is below env). */
export interface DeadlineClock {
  monotonicMs(): number;
  setTimer(ms: number, task: () => void): { cancel(): void };
}

export class Deadline {
  readonly #clock: DeadlineClock;
  readonly atMs: number;

  constructor(clock: DeadlineClock, atMs: number) {
    this.#clock = clock;
    this.atMs = atMs;
  }

  static after(clock: DeadlineClock, ms: number): Deadline {
    return new Deadline(clock, clock.monotonicMs() + ms);
  }

  static never(clock: DeadlineClock): Deadline {
    return new Deadline(clock, Number.POSITIVE_INFINITY);
  }

  /** Never below zero. */
  remainingMs(): number {
    return Math.max(0, this.atMs - this.#clock.monotonicMs());
  }

  get hasPassed(): boolean {
    return this.#clock.monotonicMs() >= this.atMs;
  }

  /** This one or, if that is earlier, `ms` from now: a step's own limit within the whole. */
  within(ms: number): Deadline {
    return new Deadline(this.#clock, Math.min(this.atMs, this.#clock.monotonicMs() + ms));
  }

  /** @throws OperatingError `deadline` when it has passed */
  check(what: string): void {
    if (this.hasPassed) throw deadlineError(what);
  }

  /**
   * A signal that aborts when the deadline passes or `parent` aborts. `cancel` frees the timer; call it
   * when the work is over.
   */
  signal(what: string, parent?: AbortSignal): { readonly signal: AbortSignal; cancel(): void } {
    const controller = new AbortController();
    if (parent?.aborted) {
      controller.abort(parent.reason);
      return { signal: controller.signal, cancel: () => undefined };
    }
    const onParent = (): void => controller.abort(parent?.reason);
    parent?.addEventListener('abort', onParent, { once: true });
    const timer = Number.isFinite(this.atMs)
      ? this.#clock.setTimer(this.remainingMs(), () => controller.abort(deadlineError(what)))
      : undefined;
    const cancel = (): void => {
      timer?.cancel();
      parent?.removeEventListener('abort', onParent);
    };
    controller.signal.addEventListener('abort', cancel, { once: true });
    return { signal: controller.signal, cancel };
  }
}

function deadlineError(what: string): OperatingError {
  return new OperatingError('deadline', `${what}: the deadline has passed`);
}
