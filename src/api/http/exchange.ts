/** One request under way and its answer, as far as no dialect matters. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Env } from '#env/env.ts';
import type { Fairness, Turn } from '#proxy/fairness/fairness.ts';
import { clientGone } from './client-gone.ts';
import type { FinishedRequest } from './finished-request.ts';

/** What every dialect's service has. */
export interface ExchangeService {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly limits: {
    /** A body that does not move for this long ends its request. */
    readonly clientTimeoutMs: number;
    /** What is read and thrown away after an early refusal, before the connection is cut. */
    readonly maxDiscardBytes: number;
  };
  /** Called when a request is over, for metrics and traces. */
  readonly finished: (request: FinishedRequest) => void;
  /** Keeps tenants out of each other's way; absent: all are served at once. */
  readonly fairness?: Fairness | undefined;
}

export abstract class Exchange<Service extends ExchangeService = ExchangeService> {
  readonly service: Service;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  abstract readonly txn: string;
  abstract readonly path: string;
  /** Name of what is done, for logs and metrics: `object.get`, `s3.PutObject`. */
  abstract label: string;
  /** `100 Continue` has been sent. */
  continued = false;
  bytesSent = 0;
  bytesReceived = 0;
  /** Holds bodies back where the caller's account has a byte rate. */
  pace: Turn['pace'];
  /** Headers for any answer, also a refusal (CORS). */
  readonly extraHeaders: string[] = [];
  #abort: AbortController | undefined;

  constructor(service: Service, incoming: IncomingMessage, response: ServerResponse) {
    this.service = service;
    this.incoming = incoming;
    this.response = response;
    this.method = incoming.method ?? 'GET';
  }

  /** A header as Node gives it: bytes as Latin-1. */
  header(name: string): string | undefined {
    const value = this.incoming.headers[name];
    return typeof value === 'object' ? value.join(', ') : value;
  }

  /** A client of HTTP/1.0 would take `100 Continue` for the answer: its wish is ignored (RFC 9110). */
  get expectsContinue(): boolean {
    if (this.incoming.httpVersion === '1.0') return false;
    return this.header('expect')?.toLowerCase() === '100-continue';
  }

  /** Aborted when the client leaves. Made on demand: many requests are over before anybody asks. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const abort = new AbortController();
      this.#abort = abort;
      const gone = (): void => {
        if (!this.response.writableFinished) abort.abort(clientGone());
      };
      if (this.response.destroyed || this.incoming.socket.destroyed) gone();
      else this.response.once('close', gone);
    }
    return this.#abort.signal;
  }

  /** Ends the answer, whose head is out; `body` is left out of HEAD's. */
  finish(body: Uint8Array | undefined): void {
    if (body === undefined || this.method === 'HEAD') {
      this.response.end();
    } else {
      this.bytesSent += body.length;
      this.response.end(body);
    }
  }
}
