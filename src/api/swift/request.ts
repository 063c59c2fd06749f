/**
 * One request under way: what was asked for, who asks, and the proxy operation made of it. Headers
 * and query are read on demand; most requests look at few of them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ANONYMOUS, type Caller } from '#auth/caller.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import type { Operation } from '#proxy/contract.ts';
import { clientGone } from '../http/client-gone.ts';
import { splitTarget } from '../http/split-target.ts';
import { utf8FromLatin1 } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import { isTrue, Query } from './query.ts';
import type { SwiftService } from './service.ts';
import { parseTarget, type Target } from './target.ts';

const ROOT: Target = { account: '', container: undefined, object: undefined };

export class SwiftRequest implements Operation {
  readonly service: SwiftService;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly txn: string;
  readonly method: string;
  readonly path: string;
  readonly query: Query;
  caller: Caller = ANONYMOUS;
  /** The caller owns the account: sees ACLs and sync keys. */
  owner = false;
  /** Name of what is done, for logs and metrics: `object.get`. */
  label = 'other';
  /** `100 Continue` has been sent. */
  continued = false;
  bytesSent = 0;
  bytesReceived = 0;
  /** Headers for any answer, also a refusal (CORS). */
  readonly extraHeaders: string[] = [];
  #target: Target = ROOT;
  #abort: AbortController | undefined;

  constructor(service: SwiftService, incoming: IncomingMessage, response: ServerResponse) {
    this.service = service;
    this.incoming = incoming;
    this.response = response;
    this.method = incoming.method ?? 'GET';
    const { path, query } = splitTarget(incoming.url ?? '/');
    this.path = path;
    this.query = new Query(query);
    this.txn = service.transactionIds.next(this.header('x-trans-id-extra'));
  }

  /** @throws Refusal for a path that names nothing */
  locate(): Target {
    this.#target = parseTarget(this.path);
    return this.#target;
  }

  get account(): string {
    return this.#target.account;
  }

  get containerName(): ContainerName {
    return { account: this.#target.account, container: this.#target.container ?? '' };
  }

  get objectName(): ObjectName {
    const { account, container, object } = this.#target;
    return { account, container: container ?? '', object: object ?? '' };
  }

  /** A header as Node gives it (Latin-1); `text()` for what may hold UTF-8. */
  header(name: string): string | undefined {
    const value = this.incoming.headers[name];
    return typeof value === 'object' ? value.join(', ') : value;
  }

  /** @throws Refusal when the header is not UTF-8 */
  text(name: string): string | undefined {
    const value = this.header(name);
    if (value === undefined) return undefined;
    const text = utf8FromLatin1(value);
    if (text === undefined) throw refuse('bad-request', `Header ${name} must be valid UTF-8`);
    return text;
  }

  isTrue(name: string): boolean {
    return isTrue(this.header(name));
  }

  get expectsContinue(): boolean {
    return this.header('expect')?.toLowerCase() === '100-continue';
  }

  get read(): Operation['read'] {
    if (this.isTrue('x-newest')) return 'newest';
    return this.header('x-anello-read')?.toLowerCase() === 'nearest' ? 'nearest' : 'quorum';
  }

  /**
   * Aborted when the client leaves. Made on demand: many requests are over before anybody asks.
   */
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
}
