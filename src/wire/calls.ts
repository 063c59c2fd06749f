/**
 * The calls of one open connection, in both directions: which stream is whose, and what the peer's
 * frames mean for them.
 */
import type { PeerCertificate } from '#env/env.ts';
import {
  CallFrames,
  type CallPayload,
  decodeCall,
  decodeFailure,
  MAX_DEADLINE_MS,
} from './call-frames.ts';
import { type Handler, WireError } from './contract.ts';
import type { DataScheduler } from './data-scheduler.ts';
import { DeadlineTimer } from './deadline-timer.ts';
import {
  callerCancelled,
  failureError,
  notPermitted,
  OVERLOADED,
  unknownMethod,
} from './failure.ts';
import { FLAG_BODY, FLAG_END, FLAG_WIRE, FRAME, type FrameHeader } from './format.ts';
import type { Hello } from './hello.ts';
import { IncomingCall } from './incoming-call.ts';
import type { Outbox } from './outbox.ts';
import type { OutgoingBody } from './outgoing-body.ts';
import type { CallLink, OutgoingCall } from './outgoing-call.ts';
import { ProtocolError } from './protocol-error.ts';
import { PeerStreamIds, StreamIds } from './stream-ids.ts';
import { decodeValue } from './value-codec.ts';
import type { WireContext } from './wire-context.ts';

/** DATA is confirmed in steps of at least this; well below the smallest window. */
const CONFIRM_BYTES = 32 * 1024;

export interface CallsOptions {
  readonly context: WireContext;
  readonly outbox: Outbox;
  readonly scheduler: DataScheduler;
  readonly peer: Hello;
  readonly certificate: PeerCertificate | undefined;
  readonly dialled: boolean;
  readonly rttMs: () => number;
  /** The last call has ended. */
  readonly idle: () => void;
}

export class Calls implements CallLink {
  readonly frames: CallFrames;
  readonly peerNode: string;
  readonly peerInitialCredit: number;
  readonly ownInitialCredit: number;
  readonly windowBytes: number;
  readonly budget: WireContext['budget'];
  readonly #options: CallsOptions;
  readonly #context: WireContext;
  readonly #outgoing = new Map<number, OutgoingCall>();
  readonly #incoming = new Map<number, IncomingCall>();
  readonly #ids: StreamIds;
  readonly #peerIds: PeerStreamIds;
  readonly #deadlines: DeadlineTimer;
  readonly #isOpen = (id: number): boolean => this.#outgoing.has(id);
  /** Handlers at work, those included whose caller has gone. */
  #running = 0;
  #unconfirmed = 0;
  callsOut = 0;
  callsIn = 0;

  constructor(options: CallsOptions) {
    const { context, outbox, peer, dialled } = options;
    const { limits, self, env } = context;
    this.#options = options;
    this.#context = context;
    this.frames = new CallFrames(outbox, Math.min(limits.controlBytes, peer.controlBytes));
    this.peerNode = peer.node;
    this.peerInitialCredit = peer.initialCredit;
    this.ownInitialCredit = limits.initialCreditBytes;
    this.windowBytes = peer.site === self.site ? limits.siteWindowBytes : limits.farWindowBytes;
    this.budget = context.budget;
    this.#ids = new StreamIds(dialled ? 1 : 2);
    this.#peerIds = new PeerStreamIds(dialled ? 2 : 1);
    this.#deadlines = new DeadlineTimer(env.clock, (now) => this.#sweep(now));
  }

  get outgoingCount(): number {
    return this.#outgoing.size;
  }

  get incomingCount(): number {
    return this.#incoming.size;
  }

  get handlersActive(): number {
    return this.#running;
  }

  get isIdle(): boolean {
    return this.#outgoing.size === 0 && this.#incoming.size === 0;
  }

  nowMs(): number {
    return this.#context.env.clock.monotonicMs();
  }

  rttMs(): number {
    return this.#options.rttMs();
  }

  ready(body: OutgoingBody): void {
    this.#options.scheduler.ready(body);
  }

  /** Sends a call; what prevents that ends the call, not the connection. */
  send(call: OutgoingCall): void {
    const isFull = this.#outgoing.size >= this.#context.limits.callsPerConnection;
    const now = this.nowMs();
    const remainingMs = Math.min(Math.ceil(call.deadlineAtMs - now), MAX_DEADLINE_MS);
    if (isFull || this.#hasFullOutput()) call.end(failureError(OVERLOADED));
    else if (!(remainingMs > 0)) call.expire();
    else this.#send(call, remainingMs, now);
  }

  #send(call: OutgoingCall, remainingMs: number, now: number): void {
    const { options, method, args } = call;
    const stream = this.#ids.issue(this.#isOpen);
    const payload: CallPayload = { method, txn: options.txn, remainingMs, args };
    const problem = this.frames.call(stream, options.body !== undefined, payload);
    if (problem !== undefined) {
      call.end(new WireError('refused', `the arguments are ${problem}`, { method }));
      return;
    }
    this.#outgoing.set(stream, call);
    this.callsOut++;
    this.#deadlines.note(call.deadlineAtMs, now);
    call.sent(this, stream);
  }

  /** @throws ProtocolError */
  frame(header: Readonly<FrameHeader>, bytes: Buffer, start: number, end: number): void {
    const { type, flags, stream } = header;
    switch (type) {
      case FRAME.call:
        this.#onCall(stream, (flags & FLAG_BODY) !== 0, decodeCall(bytes, start, end));
        break;
      case FRAME.reply: {
        const result = decodeValue(bytes, start, end);
        this.#outgoingCall(stream)?.reply(result, (flags & FLAG_BODY) !== 0);
        break;
      }
      case FRAME.failure: {
        const failure = decodeFailure(bytes, start, end, (flags & FLAG_WIRE) !== 0);
        this.#outgoingCall(stream)?.end(failureError(failure));
        break;
      }
      case FRAME.credit:
        this.#onCredit(stream, bytes.readUInt32BE(start));
        break;
      case FRAME.cancel:
        this.#onCancel(stream, bytes.toString('utf8', start, end));
        break;
      default:
        throw new ProtocolError('unexpected-frame', 'a frame of another state', { type });
    }
  }

  /** @throws ProtocolError */
  dataFrame(header: Readonly<FrameHeader>, pieces: readonly Buffer[]): void {
    const { length, stream } = header;
    const last = (header.flags & FLAG_END) !== 0;
    if (length === 0 && !last) throw new ProtocolError('malformed-frame', 'an empty DATA frame');
    this.#unconfirmed += length;
    if (this.#unconfirmed >= CONFIRM_BYTES) this.#options.outbox.schedule();
    if (this.#peerIds.isPeers(stream)) this.#incomingCall(stream)?.data(pieces, length, last);
    else this.#outgoingCall(stream)?.data(pieces, length, last);
  }

  /** Once in a turn: confirms what has arrived, whoever reads it and when. */
  confirm(): void {
    if (this.#unconfirmed < CONFIRM_BYTES) return;
    this.frames.credit(0, this.#unconfirmed);
    this.#unconfirmed = 0;
  }

  /** The connection is gone. */
  loseAll(error: ProtocolError): void {
    this.#deadlines.stop();
    const facts = { reason: error.code, peer: this.peerNode };
    const lost = new WireError('connection-lost', `connection lost: ${error.message}`, facts);
    for (const call of [...this.#outgoing.values()]) call.end(lost);
    for (const call of [...this.#incoming.values()]) call.end(lost);
  }

  forget(call: OutgoingCall): void {
    this.#outgoing.delete(call.stream);
    if (this.isIdle) this.#options.idle();
  }

  closed(call: IncomingCall): void {
    this.#incoming.delete(call.stream);
    if (this.isIdle) this.#options.idle();
  }

  settled(): void {
    this.#running--;
  }

  #onCall(stream: number, hasBody: boolean, payload: CallPayload): void {
    if (!this.#peerIds.open(stream) || this.#incoming.has(stream)) {
      throw new ProtocolError('unexpected-frame', 'a CALL on a stream of its own past', { stream });
    }
    const handler = this.#context.handler(payload.method);
    if (handler === undefined) this.frames.failure(stream, unknownMethod(payload.method));
    else if (!this.#mayCall(payload.method)) {
      this.frames.failure(stream, notPermitted(payload.method, this.peerNode));
    } else if (this.#isFull()) this.frames.failure(stream, OVERLOADED);
    else this.#run(stream, hasBody, payload, handler);
  }

  #mayCall(method: string): boolean {
    return this.#context.guard?.permits(this.#options.certificate, method) ?? true;
  }

  #run(stream: number, hasBody: boolean, payload: CallPayload, handler: Handler): void {
    const { txn, remainingMs, args } = payload;
    const now = this.nowMs();
    const call = new IncomingCall(this, stream, txn, remainingMs, now, hasBody);
    this.#incoming.set(stream, call);
    this.callsIn++;
    this.#running++;
    this.#deadlines.note(call.deadlineAtMs, now);
    call.run(handler, args);
  }

  #onCredit(stream: number, bytes: number): void {
    let isSane: boolean;
    if (stream === 0) isSane = this.#options.scheduler.confirmed(bytes);
    else if (!this.#peerIds.isPeers(stream))
      isSane = this.#outgoingCall(stream)?.credit(bytes) ?? true;
    else isSane = this.#incomingCall(stream)?.credit(bytes) ?? true;
    if (!isSane) throw new ProtocolError('credit-exceeded', 'a CREDIT that makes no sense');
  }

  #onCancel(stream: number, reason: string): void {
    if (!this.#peerIds.isPeers(stream)) this.#outgoingCall(stream)?.stopBody();
    else this.#incomingCall(stream)?.end(callerCancelled(reason));
  }

  /** Undefined for a call that is over; a stream that was never opened ends the connection. */
  #outgoingCall(stream: number): OutgoingCall | undefined {
    const call = this.#outgoing.get(stream);
    if (call === undefined && (this.#peerIds.isPeers(stream) || !this.#ids.wasIssued(stream))) {
      throw new ProtocolError('unexpected-frame', 'a frame for no call of ours', { stream });
    }
    return call;
  }

  #incomingCall(stream: number): IncomingCall | undefined {
    const call = this.#incoming.get(stream);
    if (call === undefined && !this.#peerIds.wasOpened(stream)) {
      throw new ProtocolError('unexpected-frame', 'a frame before its CALL', { stream });
    }
    return call;
  }

  #isFull(): boolean {
    return this.#running >= this.#context.limits.callsPerConnection || this.#hasFullOutput();
  }

  #hasFullOutput(): boolean {
    return this.#options.outbox.waitingBytes > this.#context.limits.outputSoftBytes;
  }

  #sweep(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const calls of [this.#outgoing, this.#incoming]) {
      for (const call of calls.values()) {
        if (call.deadlineAtMs <= now) call.expire();
        else next = Math.min(next, call.deadlineAtMs);
      }
    }
    return next;
  }
}
