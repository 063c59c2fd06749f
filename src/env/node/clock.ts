/** The machine's clocks and timers. */
import type { Clock, Timer } from '../env.ts';

/** Node fires at once what is asked for later than this, so longer waits are cut into pieces. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** Date.now() ticks in whole milliseconds; more than this apart means that the wall clock jumped. */
const MAX_APART_MS = 2;
/** From here on a wait is asked for with a millisecond more, rather than be woken twice (see `#fire`). */
const LONG_MS = 20;
/** A timer this late was held up, and so was everything else. */
const HELD_UP_MS = 50;

export class NodeClock implements Clock {
  readonly #late = new LateTimers();
  /** Wall time at monotonic zero, so that the wall clock has microseconds. */
  #wallOriginMs = Date.now() - performance.now();

  wallMicros(): number {
    const monotonicMs = performance.now();
    const apart = Date.now() - (this.#wallOriginMs + monotonicMs);
    if (apart > MAX_APART_MS || apart < -MAX_APART_MS) this.#wallOriginMs += apart;
    return Math.floor((this.#wallOriginMs + monotonicMs) * 1000);
  }

  monotonicMs(): number {
    return performance.now();
  }

  setTimer(ms: number, task: () => void): Timer {
    return new NodeTimer(this.#late, ms, task);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = new NodeTimer(this.#late, ms, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  defer(task: () => void): void {
    setImmediate(task);
  }
}

/**
 * Timers that came late wait until what has arrived meanwhile is heard: after a pause of the process (no
 * CPU to be had, a long turn) Node runs them first, and a deadline would end a call whose answer is there
 * already. Those that come after a late one in the same turn wait behind it, so that the order stays.
 */
class LateTimers {
  #waiting: NodeTimer[] = [];

  /** False: it is not late, and its time is now. */
  take(timer: NodeTimer, lateMs: number): boolean {
    if (this.#waiting.length === 0) {
      if (lateMs < HELD_UP_MS) return false;
      setImmediate(() => this.#run());
    }
    this.#waiting.push(timer);
    return true;
  }

  #run(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const timer of waiting) timer.run();
  }
}

class NodeTimer implements Timer {
  readonly #late: LateTimers;
  readonly #task: () => void;
  readonly #dueMs: number;
  #timeout: NodeJS.Timeout;
  #isCancelled = false;

  constructor(late: LateTimers, ms: number, task: () => void) {
    this.#late = late;
    this.#task = task;
    this.#dueMs = performance.now() + ms;
    this.#timeout = this.#arm(ms);
  }

  cancel(): void {
    this.#isCancelled = true;
    clearTimeout(this.#timeout);
  }

  run(): void {
    if (!this.#isCancelled) this.#task();
  }

  #arm(leftMs: number): NodeJS.Timeout {
    const wantedMs = Math.ceil(leftMs) + (leftMs >= LONG_MS ? 1 : 0);
    const stepMs = Math.min(Math.max(0, wantedMs), MAX_TIMEOUT_MS);
    return setTimeout(() => this.#fire(), stepMs);
  }

  /** Node's timers count from the start of its turn, in whole milliseconds: they may come early. */
  #fire(): void {
    const leftMs = this.#dueMs - performance.now();
    if (leftMs > 0) this.#timeout = this.#arm(leftMs);
    else if (!this.#late.take(this, -leftMs)) this.#task();
  }
}
