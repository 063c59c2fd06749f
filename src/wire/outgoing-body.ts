/**
 * A body on its way out: reads its source ahead by a bounded amount, and gives the scheduler as
 * much as the stream's credit allows. A chunk is never copied; a source's small chunks go out
 * together in one frame.
 */
import type { BodySource } from './contract.ts';

/** How far a source is read ahead of what could be sent. */
const AHEAD_BYTES = 512 * 1024;
const MAX_PARTS = 64;

export interface OutgoingBodyOwner {
  /** There is something to send (or the end), and credit for it. */
  ready(body: OutgoingBody): void;
  /** The last byte has been handed to the socket. */
  sent(): void;
  sourceFailed(error: unknown): void;
  progressed(): void;
}

export interface DataFrame {
  readonly parts: Uint8Array[];
  readonly length: number;
  readonly last: boolean;
}

export class OutgoingBody {
  readonly stream: number;
  readonly #owner: OutgoingBodyOwner;
  readonly #iterator: AsyncIterator<Uint8Array>;
  #credit: number;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #ended = false;
  #stopped = false;
  #roomWaiter: (() => void) | undefined;
  /** In the scheduler's queue. */
  isQueued = false;

  constructor(stream: number, source: BodySource, credit: number, owner: OutgoingBodyOwner) {
    this.stream = stream;
    this.#owner = owner;
    this.#credit = credit;
    this.#iterator = source[Symbol.asyncIterator]();
    void this.#read();
  }

  get isReady(): boolean {
    if (this.#stopped) return false;
    return this.#queuedBytes > 0 ? this.#credit > 0 : this.#ended;
  }

  /** False: the sum of credits makes no sense. */
  addCredit(bytes: number): boolean {
    this.#credit += bytes;
    if (this.isReady) this.#owner.ready(this);
    return this.#credit <= 0xffff_ffff;
  }

  /** The next frame, of at most `most` bytes. Only when ready. */
  take(most: number): DataFrame {
    const limit = Math.min(most, this.#credit);
    const parts: Uint8Array[] = [];
    let length = 0;
    let used = 0;
    while (used < this.#queue.length && length < limit && parts.length < MAX_PARTS) {
      const chunk = this.#queue[used]!;
      const rest = limit - length;
      if (chunk.length <= rest) used++;
      else this.#queue[used] = chunk.subarray(rest);
      const part = chunk.length <= rest ? chunk : chunk.subarray(0, rest);
      parts.push(part);
      length += part.length;
    }
    this.#queue.splice(0, used);
    this.#queuedBytes -= length;
    this.#credit -= length;
    const last = this.#ended && this.#queuedBytes === 0;
    if (last) this.#stopped = true;
    return { parts, length, last };
  }

  /** After its frame was written: the owner learns of progress, the source is read on. */
  written(last: boolean): void {
    this.#owner.progressed();
    if (last) this.#owner.sent();
    else if (this.#queuedBytes < AHEAD_BYTES) this.#wakeSource();
  }

  /** Nobody wants the rest: the source is told so. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#wakeSource();
    if (!this.#ended) this.#closeSource();
  }

  #closeSource(): void {
    try {
      this.#iterator.return?.()?.then(undefined, ignore);
    } catch (error) {
      ignore(error);
    }
  }

  #wakeSource(): void {
    const wake = this.#roomWaiter;
    this.#roomWaiter = undefined;
    wake?.();
  }

  async #read(): Promise<void> {
    try {
      while (!this.#stopped) {
        const step = await this.#iterator.next();
        if (this.#stopped) return;
        if (step.done === true) this.#ended = true;
        else this.#push(step.value);
        if (this.isReady) this.#owner.ready(this);
        if (this.#ended) return;
        if (this.#queuedBytes >= AHEAD_BYTES) await this.#room();
      }
    } catch (error) {
      if (this.#stopped) return;
      this.#stopped = true;
      this.#ended = true;
      this.#owner.sourceFailed(error);
    }
  }

  #push(chunk: Uint8Array): void {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('a body chunk must be bytes');
    if (chunk.length === 0) return;
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#roomWaiter = resolve;
    });
  }
}

/** The reader has gone; how its source takes that can change nothing any more. */
function ignore(_error: unknown): void {}
