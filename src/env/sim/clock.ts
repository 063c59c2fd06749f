/** Virtual time as one process sees it. */
import type { Clock, Timer } from '../env.ts';
import type { Host } from './host.ts';

/** Timers fire a little late, never early, and two of the same length in either order. */
const MAX_LATENESS_MS = 0.3;
/** Node's shortest timer; also keeps a loop of zero-length timers from stopping the time. */
const MIN_TIMER_MS = 1;
/** What a turn of the event loop costs. */
const TURN_MS = 0.01;

export class SimClock implements Clock {
  readonly #host: Host;
  readonly #random: { float(): number };
  readonly #startMs: number;

  constructor(host: Host) {
    const { world, name } = host.machine;
    this.#host = host;
    this.#random = world.random(`${name} clock ${host.incarnation.number}`);
    this.#startMs = world.nowMs - this.#random.float() * 1000;
  }

  wallMicros(): number {
    const { world, skewMs } = this.#host.machine;
    return Math.floor((world.startWallMs + world.nowMs + skewMs) * 1000);
  }

  monotonicMs(): number {
    return this.#host.machine.world.nowMs - this.#startMs;
  }

  setTimer(ms: number, task: () => void): Timer {
    const delayMs = Math.max(MIN_TIMER_MS, Math.ceil(ms)) + this.#random.float() * MAX_LATENESS_MS;
    return this.#host.schedule(delayMs, 'timer', task);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = this.setTimer(ms, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  defer(task: () => void): void {
    this.#host.schedule(TURN_MS, 'defer', task);
  }
}
