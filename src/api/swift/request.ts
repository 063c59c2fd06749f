/**
 * One request under way: what was asked for, who asks, and the proxy operation made of it. Headers
 * and query are read on demand; most requests look at few of them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ANONYMOUS, type Caller } from '#auth/caller.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import type { Operation } from '#proxy/contract.ts';
import { Exchange } from '../http/exchange.ts';
import { splitTarget } from '../http/split-target.ts';
import { utf8FromLatin1 } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import { isTrue, Query } from './query.ts';
import type { SwiftService } from './service.ts';
import { parseTarget, type Target } from './target.ts';
import type { TempUrl } from './temp-url.ts';

const ROOT: Target = { account: '', container: undefined, object: undefined };

export class SwiftRequest extends Exchange<SwiftService> implements Operation {
  readonly txn: string;
  readonly path: string;
  readonly query: Query;
  caller: Caller = ANONYMOUS;
  /** A signature in the query that counts: nothing else gives leave then, nor the token. */
  tempUrl: TempUrl | undefined;
  /** The caller owns the account: sees ACLs and sync keys. */
  owner = false;
  label = 'other';
  /** Headers that scripts of the caller's origin may see (CORS); undefined: no such answer. */
  exposed: readonly string[] | undefined;
  #target: Target = ROOT;

  constructor(service: SwiftService, incoming: IncomingMessage, response: ServerResponse) {
    super(service, incoming, response);
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

  get user(): string | undefined {
    return this.caller.kind === 'user' ? this.caller.userId : undefined;
  }

  /** The client's, as far as it can be told. */
  get address(): string {
    const { remoteAddress: address } = this.incoming.socket;
    const header = (name: string): string | undefined => this.header(name);
    return this.service.originOf({ address, isSecure: false, header }).address;
  }

  get read(): Operation['read'] {
    if (this.isTrue('x-newest')) return 'newest';
    return this.header('x-anello-read')?.toLowerCase() === 'nearest' ? 'nearest' : 'quorum';
  }
}
