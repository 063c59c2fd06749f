/** The machine's clocks and timers. */
import type { Clock, Timer } from '../env.ts';

/** Node fires at once what is asked for later than this, so longer waits are cut into pieces. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** Date.now() ticks in whole milliseconds; more than this apart means that the wall clock jumped. */
const MAX_APART_MS = 2;
/** From here on a wait is asked for with a millisecond more, rather than be woken twice (see `#fire`). */
const LONG_MS = 20;
/** A timer this late was held up, and so was everything else (see `#fire`). */
const HELD_UP_MS = 50;

export class NodeClock implements Clock {
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
    return new NodeTimer(ms, task);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = new NodeTimer(ms, () => {
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

class NodeTimer implements Timer {
  readonly #task: () => void;
  readonly #dueMs: number;
  #timeout: NodeJS.Timeout;
  #afterNews: NodeJS.Immediate | undefined;

  constructor(ms: number, task: () => void) {
    this.#task = task;
    this.#dueMs = performance.now() + ms;
    this.#timeout = this.#arm(ms);
  }

  cancel(): void {
    clearTimeout(this.#timeout);
    clearImmediate(this.#afterNews);
  }

  #arm(leftMs: number): NodeJS.Timeout {
    const wantedMs = Math.ceil(leftMs) + (leftMs >= LONG_MS ? 1 : 0);
    const stepMs = Math.min(Math.max(0, wantedMs), MAX_TIMEOUT_MS);
    return setTimeout(() => this.#fire(), stepMs);
  }

  /**
   * Node's timers count from the start of its turn, in whole milliseconds: they may come early. After a
   * pause of the process (no CPU to be had, a long turn) they come before what has arrived meanwhile: a
   * deadline would end a call whose answer is there already. So that is heard first.
   */
  #fire(): void {
    const leftMs = this.#dueMs - performance.now();
    if (leftMs > 0) this.#timeout = this.#arm(leftMs);
    else if (leftMs > -HELD_UP_MS) this.#task();
    else this.#afterNews = setImmediate(this.#task);
  }
}
