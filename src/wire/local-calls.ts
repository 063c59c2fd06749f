/**
 * Calls to one's own node: no socket and no msgpack, but the same two ends as over a socket, joined
 * here directly. So deadlines, cancellation, credit and errors can't differ, and neither a handler
 * nor a caller can tell.
 */
import type { Clock } from '#env/env.ts';
import { arrivedValue, asBuffer } from './arrived-value.ts';
import type { Problem } from './call-frames.ts';
import { type Handler, WireError } from './contract.ts';
import { DeadlineTimer } from './deadline-timer.ts';
import {
  callerCancelled,
  type Failure,
  failureError,
  OVERLOADED,
  unknownMethod,
} from './failure.ts';
import { type AnswerLink, IncomingCall } from './incoming-call.ts';
import type { OutgoingBody } from './outgoing-body.ts';
import type { CallLink, OutgoingCall } from './outgoing-call.ts';
import type { WireContext } from './wire-context.ts';

const NO_STREAM = 0;
const FRAME_BYTES = 256 * 1024;

export class LocalCalls {
  readonly #context: WireContext;
  readonly #pairs = new Set<Pair>();
  readonly #deadlines: DeadlineTimer;
  #running = 0;

  constructor(context: WireContext) {
    this.#context = context;
    this.#deadlines = new DeadlineTimer(context.env.clock, (now) => this.#sweep(now));
  }

  get count(): number {
    return this.#pairs.size;
  }

  submit(call: OutgoingCall): void {
    const { method } = call;
    const handler = this.#context.handler(method);
    const isFull = this.#running >= this.#context.limits.callsPerConnection;
    const args = arrived(call.args);
    if (handler === undefined) call.end(failureError(unknownMethod(method)));
    else if (isFull) call.end(failureError(OVERLOADED));
    else if (args === undefined) {
      call.end(new WireError('refused', 'the arguments are not encodable', { method }));
    } else this.#start(call, handler, args.value);
  }

  #start(call: OutgoingCall, handler: Handler, args: unknown): void {
    const pair: Pair = new Pair(this.#context, call, {
      ended: () => this.#pairs.delete(pair),
      settled: () => this.#running--,
    });
    this.#pairs.add(pair);
    this.#running++;
    this.#deadlines.note(call.deadlineAtMs, this.#context.env.clock.monotonicMs());
    pair.start(handler, args);
  }

  #sweep(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const pair of [...this.#pairs]) next = Math.min(next, pair.sweep(now));
    return next;
  }
}

interface PairOwner {
  ended(): void;
  settled(): void;
}

/** Both ends of one call. */
class Pair {
  readonly #clock: Clock;
  readonly #outgoing: OutgoingCall;
  readonly #incoming: IncomingCall;
  readonly #owner: PairOwner;
  readonly #common: Omit<CallLink, 'frames' | 'ready' | 'forget'>;
  #isCalling = true;
  #isAnswering = true;

  constructor(context: WireContext, call: OutgoingCall, owner: PairOwner) {
    const { limits, budget, self, env } = context;
    this.#clock = env.clock;
    this.#outgoing = call;
    this.#owner = owner;
    this.#common = {
      peerNode: self.node,
      budget,
      ownInitialCredit: limits.initialCreditBytes,
      peerInitialCredit: limits.initialCreditBytes,
      windowBytes: limits.siteWindowBytes,
      nowMs: () => env.clock.monotonicMs(),
      rttMs: () => 0,
    };
    const now = env.clock.monotonicMs();
    const remainingMs = call.deadlineAtMs - now;
    const hasBody = call.options.body !== undefined;
    const { txn } = call.options;
    this.#incoming = new IncomingCall(
      this.#answerLink(),
      NO_STREAM,
      txn,
      remainingMs,
      now,
      hasBody,
    );
  }

  start(handler: Handler, args: unknown): void {
    this.#outgoing.sent(this.#callLink(), NO_STREAM);
    queueMicrotask(() => this.#incoming.run(handler, args));
  }

  /** Ends what has expired; the earliest deadline that is left. */
  sweep(now: number): number {
    if (this.#isAnswering && this.#incoming.deadlineAtMs <= now) this.#incoming.expire();
    if (this.#isCalling && this.#outgoing.deadlineAtMs <= now) this.#outgoing.expire();
    const answering = this.#isAnswering ? this.#incoming.deadlineAtMs : Number.POSITIVE_INFINITY;
    const calling = this.#isCalling ? this.#outgoing.deadlineAtMs : Number.POSITIVE_INFINITY;
    return Math.min(answering, calling);
  }

  #callLink(): CallLink {
    return {
      ...this.#common,
      frames: {
        cancel: (_stream, reason) => this.#incoming.end(callerCancelled(reason)),
        credit: (_stream, bytes) => this.#incoming.credit(bytes),
      },
      ready: (body) =>
        this.#handOver(body, (pieces, length, last) => {
          if (this.#isAnswering) this.#incoming.data(pieces, length, last);
        }),
      forget: () => {
        this.#isCalling = false;
        this.#checkEnd();
      },
    };
  }

  #answerLink(): AnswerLink {
    return {
      ...this.#common,
      frames: {
        reply: (_stream, hasBody, result) => this.#reply(hasBody, result),
        failure: (_stream, failure) => this.#outgoing.end(failureError(arrivedFailure(failure))),
        cancel: () => this.#outgoing.stopBody(),
        credit: (_stream, bytes) => this.#outgoing.credit(bytes),
      },
      ready: (body) =>
        this.#handOver(body, (pieces, length, last) => {
          if (this.#isCalling) this.#outgoing.data(pieces, length, last);
        }),
      closed: () => {
        this.#isAnswering = false;
        this.#checkEnd();
      },
      settled: () => this.#owner.settled(),
    };
  }

  #reply(hasBody: boolean, result: unknown): Problem | undefined {
    const value = arrived(result);
    if (value === undefined) return 'not encodable';
    if (this.#isCalling) this.#outgoing.reply(value.value, hasBody);
    return undefined;
  }

  /** In a later turn, as over a socket: a source never runs inside its reader. */
  #handOver(body: OutgoingBody, deliver: Deliver): void {
    if (body.isQueued) return;
    body.isQueued = true;
    this.#clock.defer(() => {
      body.isQueued = false;
      while (body.isReady) {
        const { parts, length, last } = body.take(FRAME_BYTES);
        deliver(parts.map(asBuffer), length, last);
        body.written(last);
      }
    });
  }

  #checkEnd(): void {
    if (!this.#isCalling && !this.#isAnswering) this.#owner.ended();
  }
}

type Deliver = (pieces: readonly Buffer[], length: number, last: boolean) => void;

function arrived(value: unknown): { readonly value: unknown } | undefined {
  try {
    return { value: arrivedValue(value) };
  } catch {
    return undefined;
  }
}

function arrivedFailure(failure: Failure): Failure {
  const facts = arrived(failure.facts);
  return { ...failure, facts: facts === undefined ? {} : (facts.value as Failure['facts']) };
}
