/**
 * A call that this process makes, from `Endpoint.call` to its end: it waits for a connection, is
 * sent, is answered, and lasts as long as its reply body does. It ends exactly once.
 */
import { codeOf, messageOf } from '#base/errors.ts';
import type { CallFrames } from './call-frames.ts';
import type { CallOptions, CallResult } from './contract.ts';
import { WireError } from './contract.ts';
import { IncomingBody, type ReceiveBudget } from './incoming-body.ts';
import { OutgoingBody } from './outgoing-body.ts';
import { ProtocolError } from './protocol-error.ts';

/** Whoever keeps the call at the moment: the lane while it waits, the connection afterwards. */
export interface CallHolder {
  forget(call: OutgoingCall): void;
}

/** What a connection is for its calls, in either direction. */
export interface CallLink extends CallHolder {
  readonly frames: Pick<CallFrames, 'cancel' | 'credit'>;
  readonly peerNode: string;
  readonly budget: ReceiveBudget;
  readonly ownInitialCredit: number;
  readonly peerInitialCredit: number;
  readonly windowBytes: number;
  nowMs(): number;
  rttMs(): number;
  ready(body: OutgoingBody): void;
}

export class OutgoingCall {
  readonly method: string;
  readonly args: unknown;
  readonly options: CallOptions;
  readonly #resolve: (result: CallResult) => void;
  readonly #reject: (error: Error) => void;
  deadlineAtMs: number;
  stream = 0;
  #holder: CallHolder | undefined;
  #link: CallLink | undefined;
  #requestBody: OutgoingBody | undefined;
  #replyBody: IncomingBody | undefined;
  #onAbort: (() => void) | undefined;
  #answered = false;
  #over = false;

  constructor(
    method: string,
    args: unknown,
    options: CallOptions,
    nowMs: number,
    resolve: (result: CallResult) => void,
    reject: (error: Error) => void,
  ) {
    this.method = method;
    this.args = args;
    this.options = options;
    this.deadlineAtMs = nowMs + options.deadlineMs;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Watches the caller's signal. False: it has aborted already, and the call is over. */
  open(): boolean {
    const { signal } = this.options;
    if (signal === undefined) return true;
    if (signal.aborted) {
      this.end(new WireError('cancelled', 'the call was cancelled before it was sent'));
      return false;
    }
    this.#onAbort = () => this.#interrupt(new WireError('cancelled', 'the caller has cancelled'));
    signal.addEventListener('abort', this.#onAbort, { once: true });
    return true;
  }

  waitIn(holder: CallHolder): void {
    this.#holder = holder;
  }

  /** The CALL frame has been queued. */
  sent(link: CallLink, stream: number): void {
    this.#holder = link;
    this.#link = link;
    this.stream = stream;
    const { body } = this.options;
    if (body === undefined) return;
    this.#requestBody = new OutgoingBody(stream, body, link.peerInitialCredit, {
      ready: (outgoing) => link.ready(outgoing),
      sent: () => {
        this.#requestBody = undefined;
      },
      sourceFailed: (cause) => this.#interrupt(sourceError(cause)),
      progressed: this.#progressed,
    });
  }

  /** @throws ProtocolError for a second reply */
  reply(result: unknown, hasBody: boolean): void {
    if (this.#answered) throw new ProtocolError('unexpected-frame', 'a second REPLY');
    this.#answered = true;
    if (!hasBody) {
      this.#finish();
      this.#resolve({ result, body: undefined });
      return;
    }
    const link = this.#link!;
    this.#progressed();
    const owner = {
      grant: (bytes: number) => link.frames.credit(this.stream, bytes),
      cancelled: (reason: string) => this.#cancelled(reason),
      progressed: this.#progressed,
      nowMs: () => link.nowMs(),
      rttMs: () => link.rttMs(),
    };
    const { budget, ownInitialCredit, windowBytes } = link;
    this.#replyBody = new IncomingBody(owner, budget, ownInitialCredit, windowBytes);
    this.#resolve({ result, body: this.#replyBody });
  }

  /** @throws ProtocolError for a body that was not announced */
  data(pieces: readonly Buffer[], length: number, last: boolean): void {
    const body = this.#replyBody;
    if (body === undefined) throw new ProtocolError('unexpected-frame', 'DATA before its REPLY');
    this.#progressed();
    if (last) this.#finish();
    body.push(pieces, length, last);
  }

  /** False: the credit makes no sense. */
  credit(bytes: number): boolean {
    this.#progressed();
    return this.#requestBody?.addCredit(bytes) ?? true;
  }

  /** The callee wants no more of the request body. */
  stopBody(): void {
    this.#requestBody?.stop();
    this.#requestBody = undefined;
  }

  /** Ends the call with an error; what the peer still sends for it is ignored. */
  end(error: WireError): void {
    if (this.#over) return;
    this.#finish();
    if (this.#answered) this.#replyBody?.fail(error);
    else this.#reject(error);
  }

  /** The deadline has passed. */
  expire(): void {
    const { deadlineMs } = this.options;
    const what = this.#answered ? 'the reply body made no progress' : 'no reply';
    this.#interrupt(
      new WireError('timeout', `${what} within ${deadlineMs} ms`, {
        method: this.method,
        peer: this.#link?.peerNode,
        sent: this.#link !== undefined,
      }),
    );
  }

  /** Ends it from this side: the peer is told to stop. */
  #interrupt(error: WireError): void {
    if (this.#over) return;
    this.#link?.frames.cancel(this.stream, error.code);
    this.end(error);
  }

  #cancelled(reason: string): void {
    if (this.#over) return;
    this.#link?.frames.cancel(this.stream, reason);
    this.#finish();
  }

  readonly #progressed = (): void => {
    const link = this.#link;
    if (link !== undefined) this.deadlineAtMs = link.nowMs() + this.options.deadlineMs;
  };

  #finish(): void {
    this.#over = true;
    this.#holder?.forget(this);
    this.stopBody();
    if (this.#onAbort !== undefined) {
      this.options.signal?.removeEventListener('abort', this.#onAbort);
    }
  }
}

function sourceError(cause: unknown): WireError {
  const facts = { reason: codeOf(cause) };
  const error = new WireError('cancelled', `the request body failed: ${messageOf(cause)}`, facts);
  error.cause = cause;
  return error;
}
