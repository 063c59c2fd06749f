/**
 * Pings: how long the path takes, and whether the peer is still there. Rarely while nothing
 * happens, twenty times a second while DATA is under way (the pacer lives on it).
 */
import type { Clock, Random, Timer } from '#env/env.ts';
import { ProtocolError } from './protocol-error.ts';

const BUSY_INTERVAL_MS = 50;
/** u32 zero, u32 number, u64 the sender's wall clock in microseconds. */
export const PING_BYTES = 16;
const MAX_OUTSTANDING = 64;
/** Weight of a new sample in the smoothed round-trip time. */
const SMOOTHING = 0.2;

export interface HeartbeatOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly intervalMs: number;
  readonly silenceMs: number;
  readonly send: (type: 'ping' | 'pong', payload: Buffer) => void;
  readonly sampled: (rttMs: number) => void;
  readonly silent: () => void;
}

interface Outstanding {
  readonly sentMs: number;
  readonly answered: ((rttMs: number) => void) | undefined;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #outstanding = new Map<number, Outstanding>();
  #timer: Timer | undefined;
  #nextMs = 0;
  #lastTickMs = 0;
  /** How long nothing has come; counted in ticks, so a stalled event loop is not taken for silence. */
  #quietMs = 0;
  #number = 0;
  #busy = false;
  #stopped = false;
  #rttMs: number | undefined;
  #offsetMs: number | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Smoothed; undefined before the first answer. */
  get rttMs(): number | undefined {
    return this.#rttMs;
  }

  /** How far the peer's wall clock is ahead of ours, within half a round trip. */
  get clockOffsetMs(): number | undefined {
    return this.#offsetMs;
  }

  start(): void {
    this.#lastTickMs = this.#options.clock.monotonicMs();
    this.ping();
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#outstanding.clear();
  }

  heard(): void {
    this.#quietMs = 0;
  }

  /** DATA is under way: measure often until told otherwise by a tick without any. */
  hurry(): void {
    if (this.#busy || this.#stopped) return;
    this.#busy = true;
    this.#arm();
  }

  ping(answered?: (rttMs: number) => void): void {
    if (this.#outstanding.size >= MAX_OUTSTANDING) return;
    const number = this.#number++ >>> 0;
    this.#outstanding.set(number, { sentMs: this.#options.clock.monotonicMs(), answered });
    this.#options.send('ping', this.#payload(number));
  }

  /** The answer to the peer's PING. */
  answer(bytes: Buffer, start: number): void {
    this.#options.send('pong', this.#payload(bytes.readUInt32BE(start + 4)));
  }

  /** @throws ProtocolError for an answer to no question */
  pong(bytes: Buffer, start: number): void {
    const number = bytes.readUInt32BE(start + 4);
    const ping = this.#outstanding.get(number);
    if (ping === undefined) throw new ProtocolError('unexpected-frame', 'a PONG without its PING');
    this.#outstanding.delete(number);
    const rttMs = this.#options.clock.monotonicMs() - ping.sentMs;
    const before = this.#rttMs ?? rttMs;
    this.#rttMs = before + (rttMs - before) * SMOOTHING;
    const theirMicros = Number(bytes.readBigUInt64BE(start + 8)) + (rttMs / 2) * 1000;
    this.#offsetMs = (theirMicros - this.#options.clock.wallMicros()) / 1000;
    this.#options.sampled(rttMs);
    ping.answered?.(rttMs);
  }

  #payload(number: number): Buffer {
    const payload = Buffer.alloc(PING_BYTES);
    payload.writeUInt32BE(number, 4);
    payload.writeBigUInt64BE(BigInt(Math.round(this.#options.clock.wallMicros())), 8);
    return payload;
  }

  #arm(): void {
    const { clock, random, intervalMs } = this.#options;
    const jitter = 0.8 + 0.4 * random.float();
    const delayMs = (this.#busy ? Math.min(BUSY_INTERVAL_MS, intervalMs) : intervalMs) * jitter;
    const at = clock.monotonicMs() + delayMs;
    if (this.#timer !== undefined && this.#nextMs <= at) return;
    this.#timer?.cancel();
    this.#nextMs = at;
    this.#timer = clock.setTimer(delayMs, () => this.#tick());
  }

  #tick(): void {
    const { clock, intervalMs, silenceMs } = this.#options;
    const now = clock.monotonicMs();
    this.#timer = undefined;
    this.#quietMs += Math.min(now - this.#lastTickMs, 2 * intervalMs);
    this.#lastTickMs = now;
    if (this.#quietMs > silenceMs) {
      this.#options.silent();
      return;
    }
    this.#busy = false;
    this.ping();
    if (!this.#stopped) this.#arm();
  }
}
