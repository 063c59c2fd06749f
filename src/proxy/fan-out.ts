/**
 * One body to several replicas at once, in bounded memory. Each replica reads from its own queue of
 * shared chunks; the source waits while any queue is full. A replica that takes nothing for
 * `stallMs`, or that has made the others wait for more than half of the time, is dropped, provided
 * that the others are enough: so the slowest of a majority sets the pace, and a healthy third
 * replica is not lost to a short delay. Who only follows is never waited for.
 */
import type { Env, Timer } from '#env/env.ts';

export interface FanOutOptions {
  readonly env: Env;
  readonly bufferBytes: number;
  readonly stallMs: number;
  /** Whether the upload can go on without this channel (and those dropped before). */
  readonly mayDrop: (channel: Channel) => boolean;
  readonly onDrop?: (channel: Channel) => void;
}

export class FanOut {
  readonly #options: FanOutOptions;
  readonly #channels = new Set<Channel>();
  readonly #startMs: number;
  #wake: (() => void) | undefined;

  constructor(options: FanOutOptions) {
    this.#options = options;
    this.#startMs = options.env.clock.monotonicMs();
  }

  /** `isAwaited`: the source waits while its queue is full; else the caller bounds what may wait in it. */
  open(device: number, isAwaited = true): Channel {
    const channel = new Channel(device, isAwaited, () => this.#wake?.());
    this.#channels.add(channel);
    return channel;
  }

  /** Most bytes that any replica has still to take: what the upload holds in memory. */
  get bufferedBytes(): number {
    let most = 0;
    for (const channel of this.#channels) most = Math.max(most, channel.queuedBytes);
    return most;
  }

  /** Resolves when the next chunk may come. */
  async push(chunk: Uint8Array): Promise<void> {
    for (const channel of this.#channels) channel.push(chunk);
    while (this.#full().length > 0) await this.#room();
  }

  end(): void {
    for (const channel of this.#channels) channel.end();
  }

  /** Breaks all bodies off: the replicas discard what they have. */
  abort(error: Error): void {
    for (const channel of this.#channels) channel.abort(error);
    this.#channels.clear();
    this.#wake?.();
  }

  /** A replica failed: nothing more is kept for it. */
  close(channel: Channel): void {
    this.#channels.delete(channel);
    channel.abort(new Error('the replica was given up'));
    this.#wake?.();
  }

  #full(): Channel[] {
    const { bufferBytes } = this.#options;
    return [...this.#channels].filter(
      ({ isAwaited, queuedBytes }) => isAwaited && queuedBytes > bufferBytes,
    );
  }

  /** Waits until some channel has taken a chunk; drops who holds the others up too long. */
  #room(): Promise<void> {
    const { clock } = this.#options.env;
    const startMs = clock.monotonicMs();
    const waitedFor = this.#full();
    const taken = waitedFor.map((channel) => channel.takenBytes);
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#wake = undefined;
        const waitedMs = clock.monotonicMs() - startMs;
        for (const [i, channel] of waitedFor.entries()) this.#blame(channel, taken[i]!, waitedMs);
        resolve();
      };
      const timer: Timer = clock.setTimer(this.#options.stallMs, done);
      this.#wake = done;
    });
  }

  #blame(channel: Channel, takenBefore: number, waitedMs: number): void {
    const { env, stallMs, mayDrop, onDrop } = this.#options;
    channel.blockedMs += waitedMs;
    const stalled = waitedMs >= stallMs && channel.takenBytes === takenBefore;
    const elapsedMs = env.clock.monotonicMs() - this.#startMs;
    const slow = channel.blockedMs > stallMs + elapsedMs / 2;
    if (!(stalled || slow) || !this.#channels.has(channel) || !mayDrop(channel)) return;
    onDrop?.(channel);
    this.close(channel);
  }
}

/** The queue of one replica; the wire reads it as the body of a call. */
export class Channel implements AsyncIterable<Uint8Array> {
  readonly device: number;
  readonly isAwaited: boolean;
  /** For how long the source has waited for this replica. */
  blockedMs = 0;
  readonly #onTaken: () => void;
  #chunks: Uint8Array[] = [];
  #queued = 0;
  #taken = 0;
  #ended = false;
  #error: Error | undefined;
  #waiting: (() => void) | undefined;

  constructor(device: number, isAwaited: boolean, onTaken: () => void) {
    this.device = device;
    this.isAwaited = isAwaited;
    this.#onTaken = onTaken;
  }

  get queuedBytes(): number {
    return this.#queued;
  }

  get takenBytes(): number {
    return this.#taken;
  }

  push(chunk: Uint8Array): void {
    if (this.#ended || this.#error !== undefined) return;
    this.#chunks.push(chunk);
    this.#queued += costOf(chunk);
    this.#signal();
  }

  end(): void {
    this.#ended = true;
    this.#signal();
  }

  abort(error: Error): void {
    this.#error ??= error;
    this.#chunks = [];
    this.#queued = 0;
    this.#signal();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#queued -= costOf(chunk);
        this.#taken += chunk.length;
        this.#onTaken();
        yield chunk;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#waiting = resolve;
        });
      }
    }
  }

  #signal(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

/** What a chunk takes in memory: a client that sends byte by byte must not get a thousandfold. */
function costOf(chunk: Uint8Array): number {
  return chunk.length + CHUNK_OVERHEAD_BYTES;
}

const CHUNK_OVERHEAD_BYTES = 256;
