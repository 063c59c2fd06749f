/**
 * Streams bytes to the client at the client's speed. The first piece is fetched before the status
 * goes out, so what fails at once can still be told; what fails later breaks the connection off,
 * for a client must never take half an object for a whole one.
 */
import type { ServerResponse } from 'node:http';
import { OperatingError } from '#base/errors.ts';
import type { Timer } from '#env/env.ts';
import { clientGone } from './client-gone.ts';
import type { Exchange } from './exchange.ts';

/** Sends `length` bytes of `source`, which must give exactly as many; `begin` writes the head. */
export async function pour(
  request: Exchange,
  source: AsyncIterable<Uint8Array>,
  length: number,
  begin: () => void,
): Promise<void> {
  const iterator = source[Symbol.asyncIterator]();
  const outflow = new Outflow(request);
  try {
    let item = await iterator.next();
    begin();
    let sent = 0;
    while (item.done !== true) {
      sent += item.value.length;
      if (sent > length) throw broken(sent, length);
      await outflow.write(item.value);
      await request.pace?.(item.value.length);
      item = await iterator.next();
    }
    if (sent !== length) throw broken(sent, length);
    request.response.end();
  } finally {
    outflow.close();
    await iterator.return?.();
  }
}

/**
 * Writes and waits for the client to take it. Most writes of a download have to wait, so one pair of
 * listeners and one timer serve them all.
 */
class Outflow {
  readonly #request: Exchange;
  readonly #response: ServerResponse;
  #wake: (() => void) | undefined;
  /** Writes done; the timer sees by it whether anything has moved. */
  #writes = 0;
  #timer: Timer | undefined;

  constructor(request: Exchange) {
    this.#request = request;
    this.#response = request.response;
    this.#response.on('drain', this.#onChange);
    this.#response.on('close', this.#onChange);
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#response.destroyed) throw clientGone();
    this.#request.bytesSent += chunk.length;
    this.#writes += 1;
    if (this.#response.write(chunk)) return;
    if (this.#timer === undefined) this.#watch();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (this.#response.destroyed) throw clientGone();
  }

  close(): void {
    this.#timer?.cancel();
    this.#response.off('drain', this.#onChange);
    this.#response.off('close', this.#onChange);
  }

  readonly #onChange = (): void => {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  };

  /** A client that takes nothing from one tick to the next holds a replica's stream for nothing. */
  #watch(): void {
    const { env, limits } = this.#request.service;
    const writes = this.#writes;
    this.#timer = env.clock.setTimer(limits.clientTimeoutMs, () => {
      if (this.#wake !== undefined && this.#writes === writes) this.#response.destroy();
      else this.#watch();
    });
  }
}

function broken(sent: number, length: number): OperatingError {
  return new OperatingError('internal', 'the body has another length than announced', {
    sent,
    length,
  });
}
