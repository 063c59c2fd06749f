/**
 * A socket as if the other end were far away: everything sent and received passes a delay line.
 *
 * Bytes on their way count as sent, as they would on a real link, whose buffers hold a delay's worth of
 * bandwidth; only beyond `MAX_IN_FLIGHT_BYTES` does the writer feel it.
 */
import type { Address, Clock, PeerCertificate, Socket } from '../env.ts';
import { DelayLine } from './delay-line.ts';

const MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024;

export class DelayedSocket implements Socket {
  readonly remote: Address;
  readonly peerCertificate: PeerCertificate | undefined;
  onData: (bytes: Buffer) => void = () => undefined;
  onDrain: () => void = () => undefined;
  onClose: (error?: Error) => void = () => undefined;
  readonly #socket: Socket;
  readonly #outward: DelayLine;
  readonly #inward: DelayLine;
  #inFlightBytes = 0;
  #full = false;
  #paused = false;
  #cut = false;
  #held: (() => void)[] = [];
  /** After end(), destroy() or the other side's close. */
  #ended = false;
  #destroyed = false;

  constructor(socket: Socket, clock: Clock, delayMs: number) {
    this.#socket = socket;
    this.remote = socket.remote;
    this.peerCertificate = socket.peerCertificate;
    this.#outward = new DelayLine(clock, delayMs);
    this.#inward = new DelayLine(clock, delayMs);
    socket.onDrain = () => this.#drain();
    socket.onClose = (error) => this.#closed(error);
    socket.onData = (bytes) => this.#inward.push(() => this.#deliver(() => this.onData(bytes)));
  }

  write(bytes: Uint8Array): boolean {
    if (this.#ended) return false;
    this.#inFlightBytes += bytes.length;
    this.#outward.push(() => {
      this.#inFlightBytes -= bytes.length;
      this.#socket.write(bytes);
      this.#drain();
    });
    if (this.bufferedBytes > 0) this.#full = true;
    return !this.#full;
  }

  get bufferedBytes(): number {
    return Math.max(0, this.#inFlightBytes - MAX_IN_FLIGHT_BYTES) + this.#socket.bufferedBytes;
  }

  /** What leaves the delay line in one turn leaves together anyway. */
  cork(): void {}
  uncork(): void {}

  /** Nothing passes while the link is cut, in either direction, and nobody is told; afterwards all of it does. */
  cut(on: boolean): void {
    this.#cut = on;
    this.#outward.hold(on);
    this.#inward.hold(on);
    this.#flow();
  }

  pause(): void {
    this.#paused = true;
    this.#flow();
  }

  resume(): void {
    this.#paused = false;
    this.#flow();
    if (this.#held.length > 0) this.#inward.push(() => this.#release());
  }

  end(): void {
    this.#ended = true;
    this.#outward.push(() => this.#socket.end());
  }

  destroy(): void {
    this.#destroyed = true;
    this.#ended = true;
    this.#outward.close();
    this.#inward.close();
    this.#held = [];
    this.#socket.destroy();
  }

  #flow(): void {
    if (this.#paused || this.#cut) this.#socket.pause();
    else this.#socket.resume();
  }

  #deliver(event: () => void): void {
    if (this.#paused || this.#held.length > 0) this.#held.push(event);
    else event();
  }

  #release(): void {
    while (!this.#paused && this.#held.length > 0) this.#held.shift()!();
  }

  #closed(error?: Error): void {
    this.#ended = true;
    this.#outward.close();
    if (this.#destroyed) this.onClose(error);
    else this.#inward.push(() => this.#deliver(() => this.onClose(error)));
  }

  #drain(): void {
    if (!this.#full || this.bufferedBytes > 0) return;
    this.#full = false;
    this.onDrain();
  }
}
