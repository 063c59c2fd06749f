/**
 * A call that a peer makes here: it is the handler's context, its deadline, and the sender of the
 * answer. The stream ends with the answer, a cancellation, the deadline, or the connection; what
 * the handler returns after that is dropped (and the source of its body is closed).
 */
import { AssertionError } from '#base/assert.ts';
import { OperatingError } from '#base/errors.ts';
import type { CallFrames } from './call-frames.ts';
import type { CallContext, Deadline, Handler, Reply } from './contract.ts';
import { WireError } from './contract.ts';
import { failureOf } from './failure.ts';
import { IncomingBody } from './incoming-body.ts';
import { OutgoingBody } from './outgoing-body.ts';
import type { CallLink } from './outgoing-call.ts';
import { ProtocolError } from './protocol-error.ts';

/** What a connection does for a call that came in on it. */
export interface AnswerLink extends Omit<CallLink, 'forget' | 'frames'> {
  readonly frames: Pick<CallFrames, 'reply' | 'failure' | 'cancel' | 'credit'>;
  /** The stream is over. */
  closed(call: IncomingCall): void;
  /** The handler has settled; it may do so long after its stream was closed. */
  settled(): void;
}

export class IncomingCall implements CallContext, Deadline {
  readonly txn: string;
  readonly stream: number;
  readonly body: IncomingBody | undefined;
  deadlineAtMs: number;
  readonly #deadlineMs: number;
  readonly #link: AnswerLink;
  #replyBody: OutgoingBody | undefined;
  #abort: AbortController | undefined;
  #reason: WireError | undefined;
  #replied = false;
  #bodyEnded = false;

  constructor(
    link: AnswerLink,
    stream: number,
    txn: string,
    deadlineMs: number,
    nowMs: number,
    hasBody: boolean,
  ) {
    this.#link = link;
    this.stream = stream;
    this.txn = txn;
    this.#deadlineMs = deadlineMs;
    this.deadlineAtMs = nowMs + deadlineMs;
    this.body = hasBody ? this.#openBody() : undefined;
  }

  get peer(): string {
    return this.#link.peerNode;
  }

  get deadline(): Deadline {
    return this;
  }

  remainingMs(): number {
    return this.deadlineAtMs - this.#link.nowMs();
  }

  /** Made when it is asked for: most handlers never look, and it costs a microsecond. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#reason !== undefined) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }

  run(handler: Handler, args: unknown): void {
    let reply: Promise<Reply> | Reply;
    try {
      reply = handler(args, this);
    } catch (error) {
      this.#failed(error);
      return;
    }
    if ('then' in reply) reply.then(this.#succeeded, this.#failed);
    else this.#succeeded(reply);
  }

  data(pieces: readonly Buffer[], length: number, last: boolean): void {
    if (this.body === undefined || this.#bodyEnded) {
      throw new ProtocolError('unexpected-frame', 'DATA without a body, or after its end');
    }
    this.#progressed();
    this.#bodyEnded = last;
    // The handler may have cancelled its body: what was under way by then is dropped.
    if (!this.body.ended) this.body.push(pieces, length, last);
  }

  credit(bytes: number): boolean {
    this.#progressed();
    return this.#replyBody?.addCredit(bytes) ?? true;
  }

  expire(): void {
    const message = `the deadline of ${this.#deadlineMs} ms has passed`;
    this.#link.frames.failure(this.stream, { code: 'timeout', message, facts: {}, isWire: true });
    this.end(new WireError('timeout', message));
  }

  /** Ends the call without an answer: the caller has cancelled, or is gone. */
  end(reason: WireError): void {
    if (this.#reason !== undefined) return;
    this.#close(reason);
    this.#abort?.abort(reason);
  }

  readonly #succeeded = (reply: Reply): void => {
    this.#link.settled();
    if (this.#reason !== undefined) {
      closeSource(reply);
      return;
    }
    const hasBody = reply.body !== undefined;
    this.#replied = true;
    const problem = this.#link.frames.reply(this.stream, hasBody, reply.result);
    if (problem !== undefined) {
      closeSource(reply);
      this.#fail(new OperatingError('bad-reply', `the result is ${problem}`));
    } else if (reply.body === undefined) this.#close(OVER);
    else this.#sendBody(reply.body);
  };

  readonly #failed = (error: unknown): void => {
    this.#link.settled();
    this.#fail(error);
    // A programmer error is not an answer: the process ends, as it would anywhere else.
    if (error instanceof AssertionError) queueMicrotask(() => raise(error));
  };

  #fail(error: unknown): void {
    if (this.#reason !== undefined) return;
    this.#link.frames.failure(this.stream, failureOf(error));
    this.#close(OVER);
  }

  #openBody(): IncomingBody {
    const link = this.#link;
    const owner = {
      grant: (bytes: number) => link.frames.credit(this.stream, bytes),
      cancelled: (reason: string) => {
        if (this.#reason === undefined) link.frames.cancel(this.stream, reason);
      },
      progressed: this.#progressed,
      nowMs: () => link.nowMs(),
      rttMs: () => link.rttMs(),
    };
    return new IncomingBody(owner, link.budget, link.ownInitialCredit, link.windowBytes);
  }

  #sendBody(source: NonNullable<Reply['body']>): void {
    const link = this.#link;
    this.#replyBody = new OutgoingBody(this.stream, source, link.peerInitialCredit, {
      ready: (body) => link.ready(body),
      sent: () => this.#close(OVER),
      sourceFailed: (error) => this.#fail(error),
      progressed: this.#progressed,
    });
  }

  readonly #progressed = (): void => {
    this.deadlineAtMs = this.#link.nowMs() + this.#deadlineMs;
  };

  #close(reason: WireError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#link.closed(this);
    this.#replyBody?.stop();
    if (this.body?.ended === false) this.body.fail(this.#replied ? OVER : reason);
  }
}

/** For what comes after the end: a handler that goes on reading its body after it has replied. */
const OVER = new WireError('cancelled', 'the call is over');

function closeSource(reply: Reply): void {
  const iterator = reply.body?.[Symbol.asyncIterator]();
  iterator?.return?.()?.then(undefined, ignore);
}

/** Nobody waits for this source any more; how it closes changes nothing. */
function ignore(_error: unknown): void {}

function raise(error: Error): never {
  throw error;
}
