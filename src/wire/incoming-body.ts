/**
 * A body as it arrives on a stream: the reader's side of the stream's credit.
 *
 * The sender may have at most `window` bytes under way or unread here. Reading grants more, a
 * quarter of the window at a time. While half of the process's receive budget is free, a stream gets the
 * largest window at once: a body of 1 MiB from a far site then takes one round trip. After that it starts
 * at what HELLO promised every stream and doubles while as much is read in the time that a grant needs to
 * have effect: a hundred slow bodies must not get windows that only fast ones need.
 */
import type { BodyReader } from './contract.ts';
import { WireError } from './contract.ts';
import { ProtocolError } from './protocol-error.ts';

/** Pieces smaller than this are copied together: a view of one byte would keep its whole chunk. */
const SMALL_PIECE_BYTES = 1024;
const JOIN_BYTES = 16 * 1024;
/** How late busy processes are with a grant, beside the path's round trip. */
const BUSY_MS = 50;

export interface IncomingBodyOwner {
  grant(bytes: number): void;
  /** The reader has stopped before the end. */
  cancelled(reason: string): void;
  /** The reader took something, or the end: progress for the deadline. */
  progressed(): void;
  nowMs(): number;
  /** Of the path when nothing waits in it. */
  rttMs(): number;
}

/** What all open windows of a process may hold together. */
export class ReceiveBudget {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** What every stream was promised, whatever the budget. */
  reserve(bytes: number): void {
    this.#used += bytes;
  }

  /** For streams that have not shown yet that they are fast. False: others need what is left. */
  advance(bytes: number): boolean {
    return this.#take(bytes, this.#limit / 2);
  }

  /** False: there is not that much left. */
  grow(bytes: number): boolean {
    return this.#take(bytes, this.#limit);
  }

  #take(bytes: number, limit: number): boolean {
    if (this.#used + bytes > limit) return false;
    this.#used += bytes;
    return true;
  }

  release(window: number): void {
    this.#used -= window;
  }

  get usedBytes(): number {
    return this.#used;
  }
}

type Step = IteratorResult<Buffer, undefined>;

interface Waiter {
  resolve(step: Step): void;
  reject(error: Error): void;
}

const DONE: Step = { done: true, value: undefined };

export class IncomingBody implements BodyReader {
  readonly #owner: IncomingBodyOwner;
  readonly #budget: ReceiveBudget;
  readonly #mostWindow: number;
  #window: number;
  /** What the sender may still send. */
  #credit: number;
  /** Read since `#sinceMs`: the window is thought over each time it was read once. */
  #read = 0;
  #sinceMs: number;
  /** Read, but not granted again yet. */
  #owed = 0;
  #queue: Buffer[] = [];
  #head = 0;
  #joined: { buffer: Buffer; used: number } | undefined;
  #waiter: Waiter | undefined;
  /** No more will come: the end, or why it broke off. */
  #ended = false;
  #error: Error | undefined;
  #released = false;
  #taken = false;

  constructor(owner: IncomingBodyOwner, budget: ReceiveBudget, initial: number, most: number) {
    this.#owner = owner;
    this.#budget = budget;
    this.#window = initial;
    this.#mostWindow = Math.max(most, initial);
    this.#credit = initial;
    this.#sinceMs = owner.nowMs();
    budget.reserve(initial);
    const more = this.#mostWindow - initial;
    if (more === 0 || !budget.advance(more)) return;
    this.#window += more;
    this.#credit += more;
    owner.grant(more);
  }

  get ended(): boolean {
    return this.#ended;
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    if (this.#taken) throw new TypeError('a body can be read once');
    this.#taken = true;
    return {
      next: () => this.#next(),
      return: async () => {
        this.cancel('the reader stopped');
        return DONE;
      },
    };
  }

  cancel(reason = 'cancelled'): void {
    if (!this.#ended) {
      this.fail(new WireError('cancelled', `the body was cancelled: ${reason}`));
      this.#owner.cancelled(reason);
    }
    this.#drop();
  }

  /** From the connection. @throws ProtocolError `credit-exceeded` */
  push(pieces: readonly Buffer[], length: number, last: boolean): void {
    if (length > this.#credit) {
      throw new ProtocolError('credit-exceeded', 'a peer sent more than its credit', { length });
    }
    this.#credit -= length;
    for (const piece of pieces) this.#add(piece);
    if (last) this.#end();
    this.#serve();
  }

  /** The rest will not come. What has arrived is dropped: half a body is of no use to anybody. */
  fail(error: Error): void {
    if (this.#ended) return;
    this.#error = error;
    this.#drop();
    this.#end();
    this.#serve();
  }

  #end(): void {
    this.#ended = true;
    this.#release();
  }

  #add(piece: Buffer): void {
    if (piece.length >= SMALL_PIECE_BYTES) {
      this.#joined = undefined;
      this.#queue.push(piece);
      return;
    }
    const joined = this.#joined;
    const isTail = joined !== undefined && this.#queue.length > this.#head;
    if (!isTail || joined.used + piece.length > JOIN_BYTES) {
      this.#startJoin(piece);
      return;
    }
    piece.copy(joined.buffer, joined.used);
    joined.used += piece.length;
    this.#queue[this.#queue.length - 1] = joined.buffer.subarray(0, joined.used);
  }

  #startJoin(piece: Buffer): void {
    const buffer = Buffer.allocUnsafeSlow(JOIN_BYTES);
    piece.copy(buffer);
    this.#joined = { buffer, used: piece.length };
    this.#queue.push(buffer.subarray(0, piece.length));
  }

  #next(): Promise<Step> {
    if (this.#waiter !== undefined) return Promise.reject(new TypeError('one read at a time'));
    const step = this.#take();
    if (step !== undefined) return Promise.resolve(step);
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  #serve(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    const step = this.#take();
    if (step === undefined && this.#error === undefined) return;
    this.#waiter = undefined;
    if (step !== undefined) waiter.resolve(step);
    else if (this.#error !== undefined) waiter.reject(this.#error);
  }

  #take(): Step | undefined {
    const piece = this.#queue[this.#head];
    if (piece === undefined) return this.#ended && this.#error === undefined ? DONE : undefined;
    this.#queue[this.#head++] = EMPTY;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
      this.#joined = undefined;
    }
    this.#owner.progressed();
    this.#grant(piece.length);
    return { done: false, value: piece };
  }

  #grant(bytes: number): void {
    if (this.#ended) return;
    this.#owed += bytes;
    this.#read += bytes;
    if (this.#owed * 4 < this.#window) return;
    if (this.#read >= this.#window) this.#owed += this.#grown();
    this.#credit += this.#owed;
    this.#owner.grant(this.#owed);
    this.#owed = 0;
  }

  /** By how much the window has been raised. */
  #grown(): number {
    const nowMs = this.#owner.nowMs();
    const tookMs = nowMs - this.#sinceMs;
    this.#read = 0;
    this.#sinceMs = nowMs;
    const isFast = tookMs < BUSY_MS + 2 * this.#owner.rttMs();
    const more = Math.min(this.#window, this.#mostWindow - this.#window);
    if (!isFast || more === 0 || !this.#budget.grow(more)) return 0;
    this.#window += more;
    return more;
  }

  #drop(): void {
    this.#queue = [];
    this.#head = 0;
    this.#joined = undefined;
    this.#release();
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#budget.release(this.#window);
  }
}

const EMPTY = Buffer.alloc(0);
