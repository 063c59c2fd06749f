/** One TCP or TLS connection. */
import type { Socket as NetSocket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Address, PeerCertificate, Socket } from '../env.ts';
import { bufferPassed } from './garbage.ts';

const KEEP_ALIVE_MS = 30_000;

export class NodeSocket implements Socket {
  readonly remote: Address;
  readonly peerCertificate: PeerCertificate | undefined;
  onDrain: () => void = () => undefined;
  onClose: (error?: Error) => void = () => undefined;
  readonly #socket: NetSocket;
  #onData: ((bytes: Buffer) => void) | undefined;
  #error: Error | undefined;

  constructor(socket: NetSocket, certificate?: PeerCertificate) {
    this.#socket = socket;
    this.peerCertificate = certificate;
    this.remote = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('drain', () => this.onDrain());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => this.onClose(this.#error));
  }

  get onData(): (bytes: Buffer) => void {
    return this.#onData ?? (() => undefined);
  }

  /** Reading starts here, so that nothing is lost while a new connection is handed on. */
  set onData(receive: (bytes: Buffer) => void) {
    const first = this.#onData === undefined;
    this.#onData = receive;
    if (!first) return;
    this.#socket.on('data', (bytes: Buffer) => {
      bufferPassed(bytes.length);
      this.#onData?.(bytes);
    });
  }

  write(bytes: Uint8Array): boolean {
    if (this.#socket.destroyed || this.#socket.writableEnded) return false;
    bufferPassed(bytes.length);
    return this.#socket.write(bytes);
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
    // Whoever ends does not read on; unread bytes would keep the connection open.
    this.#socket.resume();
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error);
  }
}

/** What the peer's certificate says, which the handshake has verified. */
export function peerCertificate(socket: TLSSocket): PeerCertificate | undefined {
  const { subject, serialNumber } = socket.getPeerCertificate();
  const [commonName] = listOf(subject?.CN);
  if (commonName === undefined) return undefined;
  return {
    commonName,
    organization: listOf(subject.O)[0],
    locality: listOf(subject.L)[0],
    units: listOf(subject.OU),
    serial: serialNumber.toUpperCase(),
  };
}

/** An attribute that occurs once is a string, several times a list. */
function listOf(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
