/**
 * A request's body as an async iterable of buffers. Node's own iterator knows no idle timeout and no
 * limit and tells an abort only by a message; this one costs the same, reads ahead and holds the
 * socket back when the reader is slower than the client.
 *
 * It ends with an error, never short: `client-gone` when the connection broke off, `client-timeout`
 * when nothing moved for too long, `body-too-large` above `maxBytes`.
 */
import type { IncomingMessage } from 'node:http';
import { OperatingError } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import type { Exchange } from './exchange.ts';

/** Read ahead of the store; a hundred uploads to a store that is slow must not take a hundred MiB. */
const HIGH_WATER = 64 * 1024;
const LOW_WATER = 32 * 1024;

export interface RequestBodyOptions {
  readonly clock: Env['clock'];
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** Told of each chunk's length. */
  readonly received: (bytes: number) => void;
  /** Waited for before a chunk is handed on. */
  readonly pace: Exchange['pace'];
}

type Waiter = {
  readonly resolve: (result: IteratorResult<Buffer>) => void;
  readonly reject: (error: unknown) => void;
};

const DONE: IteratorResult<Buffer> = { done: true, value: undefined };

export class RequestBody implements AsyncIterableIterator<Buffer> {
  readonly #incoming: IncomingMessage;
  readonly #options: RequestBodyOptions;
  readonly #chunks: Buffer[] = [];
  #buffered = 0;
  #total = 0;
  #started = false;
  #ended = false;
  #error: unknown;
  #waiter: Waiter | undefined;
  /** Runs while somebody has waited since it was set; one serves the whole body. */
  #idle: Timer | undefined;

  constructor(incoming: IncomingMessage, options: RequestBodyOptions) {
    this.#incoming = incoming;
    this.#options = options;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Buffer>> {
    const { pace } = this.#options;
    return pace === undefined ? this.#next() : this.#paced(pace);
  }

  async #paced(pace: (bytes: number) => Promise<void>): Promise<IteratorResult<Buffer>> {
    const result = await this.#next();
    if (result.done !== true) await pace(result.value.length);
    return result;
  }

  #next(): Promise<IteratorResult<Buffer>> {
    if (!this.#started) this.#start();
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) return Promise.resolve(this.#taken(chunk));
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(DONE);
    if (this.#idle === undefined) this.#watch();
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  /** The reader gave up; what is still to come is the handler's to drain. */
  return(): Promise<IteratorResult<Buffer>> {
    this.#fail(new OperatingError('client-gone', 'the body was given up'));
    this.#chunks.length = 0;
    this.#detach();
    return Promise.resolve(DONE);
  }

  #taken(chunk: Buffer): IteratorResult<Buffer> {
    this.#buffered -= chunk.length;
    if (this.#buffered < LOW_WATER && this.#incoming.isPaused()) this.#incoming.resume();
    return { done: false, value: chunk };
  }

  #start(): void {
    this.#started = true;
    const incoming = this.#incoming;
    if (incoming.destroyed && !incoming.complete) {
      this.#onClose();
      return;
    }
    incoming.on('data', this.#onData);
    incoming.on('end', this.#onEnd);
    incoming.on('close', this.#onClose);
    incoming.on('error', this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#total += chunk.length;
    this.#options.received(chunk.length);
    if (this.#total > this.#options.maxBytes) {
      this.#fail(new OperatingError('body-too-large', 'the body is longer than allowed'));
      return;
    }
    const waiter = this.#takeWaiter();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered > HIGH_WATER) this.#incoming.pause();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#detach();
    this.#takeWaiter()?.resolve(DONE);
  };

  readonly #onClose = (): void => {
    if (!this.#ended) this.#fail(new OperatingError('client-gone', 'the body broke off'));
  };

  #fail(error: OperatingError): void {
    if (this.#ended || this.#error !== undefined) return;
    this.#error = error;
    this.#detach();
    this.#takeWaiter()?.reject(error);
  }

  /**
   * Nothing has come between two ticks while somebody waited for it. (Not otherwise: a store that is
   * slow is not the client's fault.)
   */
  #watch(): void {
    const total = this.#total;
    const { clock, timeoutMs } = this.#options;
    this.#idle = clock.setTimer(timeoutMs, () => {
      if (this.#waiter === undefined || this.#total !== total) this.#watch();
      else this.#fail(new OperatingError('client-timeout', 'the body stopped moving'));
    });
  }

  #takeWaiter(): Waiter | undefined {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    return waiter;
  }

  #detach(): void {
    const incoming = this.#incoming;
    this.#idle?.cancel();
    incoming.off('data', this.#onData);
    incoming.off('end', this.#onEnd);
    incoming.off('close', this.#onClose);
    // 'error' keeps its listener: without one, a late reset would end the process.
  }
}

/** Reads a small body whole. @throws OperatingError `body-too-large`, and those above */
export async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** For uploads without a byte: nothing to listen to. */
export const EMPTY_BODY: AsyncIterable<Buffer> = {
  async *[Symbol.asyncIterator]() {},
};
