/**
 * One connection between two processes, from the first byte to the last. Both sides call over it.
 *
 *     hello ──HELLO──> proof ──PROOF──> open ──GOODBYE──> leaving ──both said it, no calls──> closed
 *       └────────────────┴───────────────┴── any error: GOODBYE with its code ─────────────────^
 *
 * Invariants: nothing of a peer that has not proven itself is decoded but HELLO, PROOF and GOODBYE,
 * and its clock is not adopted. What a peer sends wrong ends this connection and nothing else.
 * No new call is sent after our GOODBYE; none comes after the peer's.
 */
import { assert } from '#base/assert.ts';
import { codeOf, messageOf } from '#base/errors.ts';
import type { Socket, Timer } from '#env/env.ts';
import { FRAME, type FrameHeader } from './format.ts';
import { FrameLimits } from './frame-limits.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { Handshake } from './handshake.ts';
import { decodeGoodbye, encodeGoodbye, type Hello, NONCE_BYTES } from './hello.ts';
import { Outbox } from './outbox.ts';
import { isProtocolCode, type ProtocolCode, ProtocolError } from './protocol-error.ts';
import { Session } from './session.ts';
import type { WireContext } from './wire-context.ts';

/** How long the last words may take to leave. */
const LINGER_MS = 1000;
/** How long a peer may take to say goodbye too, once no call is left. */
const LEAVE_MS = 60_000;

export interface ConnectionOptions {
  readonly context: WireContext;
  readonly socket: Socket;
  readonly role: Hello['role'];
  readonly lane: number;
  /** The node that was dialled. */
  readonly expectedNode?: string;
  readonly owner: ConnectionOwner;
}

export interface ConnectionOwner {
  /** The peer has proven itself: calls can be sent. */
  opened(connection: Connection): void;
  /** No new calls on it; those under way go on. */
  leaving(connection: Connection): void;
  closed(connection: Connection, error: ProtocolError): void;
}

const PEACEFUL_CODES = ['closing', 'duplicate', 'replaced'] as const;
export type PeacefulCode = (typeof PEACEFUL_CODES)[number];

export interface Traffic {
  readonly bytesIn: number;
  readonly framesIn: number;
  readonly bytesOut: number;
  readonly framesOut: number;
  /** Not sent yet. */
  readonly waitingBytes: number;
}

type State = 'hello' | 'proof' | 'open' | 'leaving' | 'closed';

export class Connection implements FrameSink {
  readonly role: Hello['role'];
  /** The node that was dialled. */
  readonly expectedNode: string | undefined;
  readonly createdMs: number;
  #clockWarned = false;
  readonly #lane: number;
  readonly #context: WireContext;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #handshake: Handshake;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #frameLimits: FrameLimits;
  #state: State = 'hello';
  #timer: Timer | undefined;
  #version = 0;
  /** When our HELLO left; what answers it comes a round trip later. */
  #helloMs = 0;
  #handshakeMs = 0;
  /** From `open` on. */
  #session: Session | undefined;
  #saidGoodbye = false;
  #heardGoodbye = false;
  /** The peer has ended it with an error. */
  #wasTold = false;
  #bytesIn = 0;
  #framesIn = 0;

  constructor(options: ConnectionOptions) {
    const { context, socket, role, lane } = options;
    this.role = role;
    this.#lane = lane;
    this.expectedNode = options.expectedNode;
    this.#context = context;
    this.#socket = socket;
    this.#owner = options.owner;
    this.createdMs = context.env.clock.monotonicMs();
    this.#frameLimits = new FrameLimits(context.limits);
    const summed = socket.peerCertificate === undefined;
    this.#reader = new FrameReader(this, summed);
    this.#outbox = this.#makeOutbox(summed);
    this.#handshake = new Handshake({
      cluster: context.cluster,
      own: ownHello(context, role, lane),
      expectedNode: options.expectedNode,
      certificateName: socket.peerCertificate?.commonName,
    });
    this.#attach();
  }

  get state(): State {
    return this.#state;
  }

  /** The peer's HELLO; only from `opened` on. */
  get peer(): Hello {
    const { peer } = this.#handshake;
    assert(peer !== undefined, 'the peer has not introduced itself');
    return peer;
  }

  /** Only from `opened` on. */
  get session(): Session {
    assert(this.#session !== undefined, 'the connection was never open');
    return this.#session;
  }

  get version(): number {
    return this.#version;
  }

  /** The dialler's choice. */
  get lane(): number {
    return this.role === 'dials' ? this.#lane : (this.#handshake.peer?.lane ?? this.#lane);
  }

  get wasOpen(): boolean {
    return this.#session !== undefined;
  }

  get dialledBy(): string {
    return this.role === 'dials' ? this.#context.self.node : this.peer.node;
  }

  get traffic(): Traffic {
    return {
      bytesIn: this.#bytesIn,
      framesIn: this.#framesIn,
      bytesOut: this.#outbox.bytesOut,
      framesOut: this.#outbox.framesOut,
      waitingBytes: this.#outbox.waitingBytes,
    };
  }

  /** Why the peer may not be here, any more or at all; asked at the handshake and when rules change. */
  refusal(): string | undefined {
    const { peer } = this.#handshake;
    if (peer === undefined) return undefined;
    return this.#context.guard?.refusal(this.#socket.peerCertificate, peer);
  }

  /** Parts in peace: calls under way go on, then both sides close. */
  retire(code: PeacefulCode): void {
    if (this.#state === 'closed' || this.#saidGoodbye) return;
    if (this.#session === undefined) {
      this.close(new ProtocolError(code, 'closed before it was open'));
      return;
    }
    this.#state = 'leaving';
    this.#sayGoodbye(code, '');
    this.#awaitGoodbye(code);
    this.#closeIfDone();
  }

  #awaitGoodbye(code: PeacefulCode): void {
    this.#timer = this.#context.env.clock.setTimer(LEAVE_MS, () => {
      if (this.#session?.calls.isIdle === false) this.#awaitGoodbye(code);
      else this.close(new ProtocolError(code, 'the peer did not say goodbye'));
    });
  }

  /** Ends it now; the peer is told why. */
  close(error: ProtocolError): void {
    if (this.#state === 'closed') return;
    const isNews = !this.#saidGoodbye || !isPeaceful(error.code);
    if (isNews && !this.#wasTold) this.#sayGoodbye(error.code, error.message);
    this.#outbox.flush();
    this.#finish(error);
    this.#socket.end();
    const { clock } = this.#context.env;
    this.#timer = clock.setTimer(LINGER_MS, () => this.#socket.destroy());
  }

  onHeader(header: Readonly<FrameHeader>): void {
    if (this.#state === 'closed') return;
    const state = this.#state === 'leaving' ? 'open' : this.#state;
    this.#frameLimits.check(header, state);
    this.#framesIn++;
    this.#checkClock(header.clockMicros, state === 'open');
    if (header.type === FRAME.call && this.#heardGoodbye) {
      throw new ProtocolError('unexpected-frame', 'a CALL after the GOODBYE');
    }
  }

  onFrame(header: Readonly<FrameHeader>, bytes: Buffer, start: number, end: number): void {
    switch (header.type) {
      case FRAME.hello:
        this.#onHello(bytes.subarray(start, end));
        break;
      case FRAME.proof:
        this.#onProof(bytes.subarray(start, end));
        break;
      case FRAME.goodbye:
        this.#onGoodbye(bytes.subarray(start, end));
        break;
      default:
        this.#session!.frame(header, bytes, start, end);
    }
  }

  onDataFrame(header: Readonly<FrameHeader>, pieces: readonly Buffer[]): void {
    this.#session!.calls.dataFrame(header, pieces);
  }

  #attach(): void {
    const { env, limits } = this.#context;
    const socket = this.#socket;
    socket.onData = (bytes) => this.#onData(bytes);
    socket.onDrain = () => this.#outbox.drained();
    socket.onClose = (error) => this.#onClose(error);
    this.#timer = env.clock.setTimer(limits.handshakeTimeoutMs, () =>
      this.close(new ProtocolError('handshake-timeout', 'the peer did not finish its handshake')),
    );
    if (this.role === 'dials') this.#sendHello();
  }

  #onData(bytes: Buffer): void {
    if (this.#state === 'closed') return;
    this.#bytesIn += bytes.length;
    this.#session?.heartbeat.heard();
    try {
      this.#reader.push(bytes);
    } catch (error) {
      // What the peer has sent is its fault; anything else is ours, and must be seen.
      if (!(error instanceof ProtocolError)) throw error;
      this.close(error);
    }
    if (this.#outbox.waitingBytes > this.#context.limits.outputHardBytes) {
      this.close(new ProtocolError('output-overflow', 'the peer does not read its replies'));
    }
  }

  #onHello(payload: Buffer): void {
    // Before any refusal, so that the dialler can name the same reason.
    if (this.role === 'accepts') this.#sendHello();
    else this.#noteHandshake();
    this.#version = this.#handshake.acceptHello(payload);
    const refusal = this.refusal();
    if (refusal !== undefined) throw new ProtocolError('not-admitted', refusal);
    this.#state = 'proof';
    if (this.role === 'accepts') this.#sendProof();
  }

  #onProof(payload: Buffer): void {
    this.#handshake.acceptProof(payload);
    if (this.role === 'dials') this.#sendProof();
    else this.#noteHandshake();
    this.#timer?.cancel();
    this.#state = 'open';
    this.#session = new Session({
      context: this.#context,
      outbox: this.#outbox,
      peer: this.peer,
      certificate: this.#socket.peerCertificate,
      dialled: this.role === 'dials',
      handshakeMs: this.#handshakeMs,
      idle: () => this.#closeIfDone(),
      silent: () => this.close(new ProtocolError('silent', 'the peer does not answer')),
    });
    this.#session.heartbeat.start();
    this.#owner.opened(this);
  }

  #sendHello(): void {
    this.#helloMs = this.#context.env.clock.monotonicMs();
    this.#outbox.frame(FRAME.hello, 0, 0, this.#handshake.hello);
  }

  #noteHandshake(): void {
    this.#handshakeMs = this.#context.env.clock.monotonicMs() - this.#helloMs;
  }

  #sendProof(): void {
    this.#outbox.frame(FRAME.proof, 0, 0, this.#handshake.proof());
  }

  #onGoodbye(payload: Buffer): void {
    const { code, message } = decodeGoodbye(payload);
    this.#heardGoodbye = true;
    if (!isPeaceful(code) || this.#session === undefined) {
      this.#wasTold = true;
      const known = isProtocolCode(code) ? code : 'unexpected-frame';
      this.close(new ProtocolError(known, `the peer says: ${message}`, { told: code }));
      return;
    }
    this.retire(code);
    this.#owner.leaving(this);
    this.#closeIfDone();
  }

  #sayGoodbye(code: ProtocolCode, message: string): void {
    this.#saidGoodbye = true;
    this.#outbox.frame(FRAME.goodbye, 0, 0, encodeGoodbye({ code, message }));
  }

  #closeIfDone(): void {
    const saidBoth = this.#saidGoodbye && this.#heardGoodbye;
    if (!saidBoth || this.#session?.calls.isIdle === false) return;
    // Not within the frame that ended the last call: its own work is done first.
    const { clock } = this.#context.env;
    clock.defer(() => this.close(new ProtocolError('closing', 'closed in peace')));
  }

  #onClose(error: Error | undefined): void {
    const message = error === undefined ? 'the peer has closed the connection' : messageOf(error);
    const cause = error === undefined ? 'ended' : codeOf(error);
    this.#finish(new ProtocolError('socket-closed', message, { cause }));
    this.#timer?.cancel();
  }

  #finish(error: ProtocolError): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#timer?.cancel();
    this.#reader.stop();
    this.#outbox.close();
    this.#session?.lose(error);
    this.#owner.closed(this, error);
  }

  /**
   * Only a member's clock is adopted. Where the new bound can't be saved (a full disk) it is not
   * adopted: this process issues no timestamps then, but it goes on serving what needs none.
   * @throws ProtocolError `clock-drift`
   */
  #checkClock(micros: number, isMember: boolean): void {
    const { clock } = this.#context;
    try {
      if (isMember) clock.observeMicros(micros);
      else clock.checkMicros(micros);
    } catch (error) {
      if (codeOf(error) !== 'clock-drift') {
        this.#clockUnsaved(error);
        return;
      }
      const aheadMs = Math.round((micros - this.#context.env.clock.wallMicros()) / 1000);
      throw new ProtocolError('clock-drift', 'the clocks are too far apart', { aheadMs });
    }
  }

  #clockUnsaved(error: unknown): void {
    if (this.#clockWarned) return;
    this.#clockWarned = true;
    this.#context.env.log.warn('wire.clock-unsaved', { code: codeOf(error) });
  }

  #makeOutbox(summed: boolean): Outbox {
    const { env, clock } = this.#context;
    return new Outbox({
      socket: this.#socket,
      clock: env.clock,
      summed,
      micros: () => clock.peekMicros(),
      addControl: () => this.#session?.calls.confirm(),
      addData: () => this.#session?.addData(),
    });
  }
}

/** Codes that part without a failure. */
export function isPeaceful(code: string): code is PeacefulCode {
  return (PEACEFUL_CODES as readonly string[]).includes(code);
}

function ownHello(context: WireContext, role: Hello['role'], lane: number): Hello {
  const { limits, self, cluster, versions, instance, env } = context;
  return {
    minVersion: versions.min,
    maxVersion: versions.max,
    features: 0,
    initialCredit: limits.initialCreditBytes,
    dataBytes: limits.dataBytes,
    connectionWindow: limits.connectionWindowBytes,
    controlBytes: limits.controlBytes,
    lane,
    role,
    nonce: env.random.bytes(NONCE_BYTES),
    instance,
    clusterId: cluster.clusterId,
    node: self.node,
    site: self.site,
  };
}
