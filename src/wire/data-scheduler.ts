/**
 * Shares a connection among the bodies that have something to send: one frame each in turn, while
 * the bytes under way stay below the connection's window (the smaller of what the receiver's HELLO
 * allows and what the pacer thinks the path can take without a queue).
 */
import { FLAG_END } from './format.ts';
import type { Outbox } from './outbox.ts';
import type { OutgoingBody } from './outgoing-body.ts';

const MIN_FRAME_BYTES = 16 * 1024;

export class DataScheduler {
  readonly #outbox: Outbox;
  /** The largest DATA payload that both sides agree to. */
  readonly #maxFrameBytes: number;
  #ready: OutgoingBody[] = [];
  #window: number;
  #inFlight = 0;
  /** The window was the reason to wait since this was last asked (the pacer grows only then). */
  #wasLimited = false;

  constructor(outbox: Outbox, maxFrameBytes: number, windowBytes: number) {
    this.#outbox = outbox;
    this.#maxFrameBytes = maxFrameBytes;
    this.#window = windowBytes;
  }

  get inFlightBytes(): number {
    return this.#inFlight;
  }

  get windowBytes(): number {
    return this.#window;
  }

  setWindow(bytes: number): void {
    this.#window = bytes;
    if (this.#ready.length > 0) this.#outbox.schedule();
  }

  takeWasLimited(): boolean {
    const was = this.#wasLimited;
    this.#wasLimited = false;
    return was;
  }

  ready(body: OutgoingBody): void {
    if (body.isQueued) return;
    body.isQueued = true;
    this.#ready.push(body);
    this.#outbox.schedule();
  }

  /** The receiver has `bytes` more behind it. False: more than was ever sent. */
  confirmed(bytes: number): boolean {
    this.#inFlight -= bytes;
    if (this.#ready.length > 0) this.#outbox.schedule();
    return this.#inFlight >= 0;
  }

  /** Called by the outbox in each flush. True: DATA was sent, or waits for room in the window. */
  fill(): boolean {
    const before = this.#inFlight;
    this.#sendReady();
    return this.#inFlight > before || this.#ready.length > 0;
  }

  #sendReady(): void {
    const frameLimit = Math.min(this.#maxFrameBytes, Math.max(MIN_FRAME_BYTES, this.#window >>> 4));
    while (this.#ready.length > 0) {
      const room = this.#window - this.#inFlight;
      // A sliver of room would make sliver frames: wait for a decent one.
      if (room < frameLimit) {
        this.#wasLimited = true;
        return;
      }
      const body = this.#ready.shift()!;
      body.isQueued = false;
      if (!body.isReady) continue;
      if (!this.#sendOne(body, Math.min(frameLimit, room))) return;
    }
  }

  #sendOne(body: OutgoingBody, most: number): boolean {
    const { parts, length, last } = body.take(most);
    this.#inFlight += length;
    const more = this.#outbox.data(last ? FLAG_END : 0, body.stream, parts, length);
    body.written(last);
    if (body.isReady) this.ready(body);
    return more;
  }

  close(): void {
    this.#ready = [];
  }
}
