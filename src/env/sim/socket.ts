/** One end of a simulated connection. */
import type { Address, PeerCertificate, Socket } from '../env.ts';
import type { Fabric } from './fabric.ts';
import type { Host } from './host.ts';
import type { Pipe, Segment } from './pipe.ts';

export class SimSocket implements Socket {
  readonly remote: Address;
  peerCertificate: PeerCertificate | undefined;
  onDrain: () => void = () => undefined;
  onClose: (error?: Error) => void = () => undefined;
  readonly host: Host;
  readonly #fabric: Fabric;
  #peer: SimSocket | undefined;
  #outgoing: Pipe | undefined;
  #onData: ((bytes: Buffer) => void) | undefined;
  #held: Segment[] = [];
  #paused = false;
  #releasing = false;
  #endCalled = false;
  #endSent = false;
  #endReceived = false;
  #closed = false;

  constructor(fabric: Fabric, host: Host, remote: Address) {
    this.#fabric = fabric;
    this.host = host;
    this.remote = remote;
  }

  connect(peer: SimSocket, outgoing: Pipe): void {
    this.#peer = peer;
    this.#outgoing = outgoing;
  }

  get peer(): SimSocket {
    return this.#peer!;
  }

  get outgoing(): Pipe {
    return this.#outgoing!;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get onData(): (bytes: Buffer) => void {
    return this.#onData ?? (() => undefined);
  }

  set onData(receive: (bytes: Buffer) => void) {
    this.#onData = receive;
    this.#scheduleRelease();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#endCalled || !this.host.alive) return false;
    return this.outgoing.write(bytes);
  }

  get bufferedBytes(): number {
    return this.outgoing.bufferedBytes;
  }

  cork(): void {
    this.outgoing.cork();
  }

  uncork(): void {
    this.outgoing.uncork();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#scheduleRelease();
  }

  end(): void {
    if (this.#closed || this.#endCalled) return;
    this.#endCalled = true;
    this.outgoing.end();
    this.#onData ??= () => undefined; // whoever ends does not wait for unread bytes
    this.resume();
  }

  destroy(): void {
    if (this.#closed) return;
    this.outgoing.drop();
    if (!this.#endSent && this.host.alive) {
      this.outgoing.send({ kind: this.#held.length > 0 ? 'reset' : 'end' });
    }
    this.#close();
  }

  // --- what the network calls

  receive(segment: Segment): void {
    if (segment.kind === 'reset') this.fail('ECONNRESET');
    else if (this.#isHolding) this.#held.push(segment);
    else this.#take(segment);
  }

  endSent(): void {
    this.#endSent = true;
    if (this.#endReceived) this.#close();
  }

  drained(): void {
    if (!this.#closed) this.onDrain();
  }

  /** The connection broke under both ends; each learns it in its own time. */
  fail(code: string): void {
    if (this.#closed) return;
    this.outgoing.drop();
    const peer = this.peer;
    if (!peer.isClosed && code === 'ECONNRESET') this.outgoing.send({ kind: 'reset' });
    const { host, port } = this.remote;
    this.#close(Object.assign(new Error(`${code} ${host}:${port}`), { code }));
  }

  get #isHolding(): boolean {
    return this.#paused || this.#onData === undefined || this.#held.length > 0;
  }

  #take(segment: Segment): void {
    if (segment.kind === 'data') {
      this.peer.outgoing.taken(segment.bytes.length);
      this.#onData?.(segment.bytes);
      return;
    }
    this.#endReceived = true;
    if (this.#endSent) this.#close();
    else this.end();
  }

  /** Held segments come in a turn of their own, never from inside resume(). */
  #scheduleRelease(): void {
    if (this.#releasing || this.#held.length === 0) return;
    this.#releasing = true;
    this.host.schedule(0, 'resume', () => {
      this.#releasing = false;
      while (this.#held.length > 0 && !this.#paused && !this.#closed && this.#onData) {
        this.#take(this.#held.shift()!);
      }
    });
  }

  #close(error?: Error): void {
    this.#closed = true;
    this.#held = [];
    this.#fabric.forget(this);
    this.host.schedule(0, 'close', () => this.onClose(error));
  }
}
