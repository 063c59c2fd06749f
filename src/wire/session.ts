/**
 * What an open connection consists of: its calls, the DATA scheduler, the pings and the pacer that
 * lives on them.
 */
import type { PeerCertificate } from '#env/env.ts';
import { Calls } from './calls.ts';
import { DataScheduler } from './data-scheduler.ts';
import { FRAME, type FrameHeader } from './format.ts';
import { Heartbeat } from './heartbeat.ts';
import { type Hello, MIN_WINDOW_BYTES } from './hello.ts';
import type { Outbox } from './outbox.ts';
import { Pacer, type PacerLimits } from './pacer.ts';
import type { ProtocolError } from './protocol-error.ts';
import type { WireContext } from './wire-context.ts';

export interface SessionOptions {
  readonly context: WireContext;
  readonly outbox: Outbox;
  readonly peer: Hello;
  readonly certificate: PeerCertificate | undefined;
  readonly dialled: boolean;
  /** How long the handshake took there and back. */
  readonly handshakeMs: number;
  /** The last call has ended. */
  readonly idle: () => void;
  readonly silent: () => void;
}

export class Session {
  readonly calls: Calls;
  readonly scheduler: DataScheduler;
  readonly heartbeat: Heartbeat;
  readonly pacer: Pacer;
  readonly #context: WireContext;

  constructor(options: SessionOptions) {
    const { context, outbox, peer } = options;
    const { limits, self } = context;
    this.#context = context;
    const dataBytes = Math.min(limits.dataBytes, peer.dataBytes);
    const isFar = peer.site !== self.site;
    this.pacer = new Pacer(pacerLimits(isFar, peer.connectionWindow));
    this.pacer.noteHandshake(options.handshakeMs, context.env.clock.monotonicMs());
    this.scheduler = new DataScheduler(outbox, dataBytes, this.pacer.windowBytes);
    const rttMs = (): number => this.pacer.floorMs;
    this.calls = new Calls({ ...options, scheduler: this.scheduler, rttMs });
    this.heartbeat = this.#makeHeartbeat(options);
  }

  /** @throws ProtocolError */
  frame(header: Readonly<FrameHeader>, bytes: Buffer, start: number, end: number): void {
    const { type } = header;
    if (type === FRAME.ping) this.heartbeat.answer(bytes, start);
    else if (type === FRAME.pong) this.heartbeat.pong(bytes, start);
    else this.calls.frame(header, bytes, start, end);
  }

  /** Called by the outbox in each flush, when the socket has room. */
  addData(): void {
    // The last bytes of a body may stay unconfirmed for long: they alone are nothing to measure.
    if (this.scheduler.fill()) this.heartbeat.hurry();
  }

  /** Asks for a sign of life within so many ms. */
  probe(withinMs: number, done: (isAlive: boolean) => void): void {
    const timer = this.#context.env.clock.setTimer(withinMs, () => done(false));
    this.heartbeat.ping(() => {
      timer.cancel();
      done(true);
    });
  }

  lose(error: ProtocolError): void {
    this.heartbeat.stop();
    this.scheduler.close();
    this.calls.loseAll(error);
  }

  #makeHeartbeat({ context, outbox, silent }: SessionOptions): Heartbeat {
    const { env, limits } = context;
    return new Heartbeat({
      clock: env.clock,
      random: env.random,
      intervalMs: limits.pingIntervalMs,
      silenceMs: limits.silenceMs,
      send: (type, payload) => outbox.frame(FRAME[type], 0, 0, payload),
      sampled: (rttMs) => this.#sampled(rttMs),
      silent,
    });
  }

  #sampled(rttMs: number): void {
    const now = this.#context.env.clock.monotonicMs();
    const wasLimited = this.scheduler.takeWasLimited();
    this.scheduler.setWindow(this.pacer.sample(rttMs, now, wasLimited));
  }
}

const NEAR_START_BYTES = 4 * 1024 * 1024;
const NEAR_MIN_BYTES = 4 * 1024 * 1024;
const FAR_START_BYTES = 512 * 1024;
const FAR_MIN_BYTES = 256 * 1024;

/** Within a site a queue is short-lived and a busy process looks like one: shrink less. */
function pacerLimits(isFar: boolean, receiverWindow: number): PacerLimits {
  const start = isFar ? FAR_START_BYTES : NEAR_START_BYTES;
  const least = isFar ? FAR_MIN_BYTES : NEAR_MIN_BYTES;
  const maxBytes = Math.max(receiverWindow, MIN_WINDOW_BYTES);
  return {
    startBytes: Math.min(start, maxBytes),
    minBytes: Math.min(least, maxBytes),
    maxBytes,
  };
}
