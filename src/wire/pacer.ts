/**
 * How many bytes of DATA may be under way so that a ping stays within 25 ms of its floor.
 *
 * Bytes beyond what the path holds only wait in some router's queue, and every call between the two
 * sites waits behind them. So: as long as pings come back fast and the window was the reason to
 * wait, it grows (doubling until the first queue, then by a sixteenth); when even the fastest of three
 * pings was slow, it shrinks. One slow ping alone may be a lost packet or a busy process.
 */
/** Below the 25 ms that are allowed: what is under way when a queue is seen comes on top. */
const QUEUE_TARGET_MS = 10;
const SAMPLES = 3;
/** The floor is the fastest ping of this long: routes change, and so does what they can do. */
const FLOOR_PERIOD_MS = 30_000;

export interface PacerLimits {
  readonly startBytes: number;
  readonly minBytes: number;
  readonly maxBytes: number;
}

export class Pacer {
  readonly #limits: PacerLimits;
  #window: number;
  #recent: number[] = [];
  #starting = true;
  #floorNow = Number.POSITIVE_INFINITY;
  #floorBefore = Number.POSITIVE_INFINITY;
  #periodEndsMs = 0;

  constructor(limits: PacerLimits) {
    this.#limits = limits;
    this.#window = limits.startBytes;
  }

  get windowBytes(): number {
    return this.#window;
  }

  get floorMs(): number {
    return Math.min(this.#floorNow, this.#floorBefore);
  }

  /** A round trip that was measured before there was any DATA. */
  noteHandshake(rttMs: number, nowMs: number): void {
    this.#noteFloor(rttMs, nowMs);
  }

  /** Takes one ping into account; `wasLimited`: the window has held DATA back since the last one. */
  sample(rttMs: number, nowMs: number, wasLimited: boolean): number {
    this.#noteFloor(rttMs, nowMs);
    this.#recent.push(rttMs);
    if (this.#recent.length > SAMPLES) this.#recent.shift();
    const queueMs = Math.min(...this.#recent) - this.floorMs;
    const isSlow = rttMs - this.floorMs > QUEUE_TARGET_MS;
    if (isSlow) this.#starting = false;
    if (queueMs > QUEUE_TARGET_MS && this.#recent.length === SAMPLES) this.#shrink(queueMs);
    else if (wasLimited && !isSlow) this.#grow();
    return this.#window;
  }

  #shrink(queueMs: number): void {
    this.#recent = [];
    const factor = Math.max(0.5, QUEUE_TARGET_MS / queueMs);
    this.#window = Math.max(this.#limits.minBytes, Math.floor(this.#window * factor));
  }

  #grow(): void {
    const more = this.#starting ? this.#window : this.#window >>> 4;
    this.#window = Math.min(this.#limits.maxBytes, this.#window + more);
  }

  #noteFloor(rttMs: number, nowMs: number): void {
    if (nowMs >= this.#periodEndsMs) {
      this.#periodEndsMs = nowMs + FLOOR_PERIOD_MS;
      this.#floorBefore = this.#floorNow;
      this.#floorNow = Number.POSITIVE_INFINITY;
    }
    this.#floorNow = Math.min(this.#floorNow, rttMs);
  }
}
