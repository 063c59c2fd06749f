/**
 * One request under way: what was asked for, who asks, and the proxy operation made of it. Headers
 * and query are read on demand.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ANONYMOUS, type Caller } from '#auth/caller.ts';
import type { SigV4Request } from '#auth/sigv4-claim.ts';
import type { Operation } from '#proxy/contract.ts';
import { Exchange } from '../http/exchange.ts';
import type { Origin } from '../http/origin.ts';
import { splitTarget } from '../http/split-target.ts';
import { utf8FromLatin1 } from '../http/utf8.ts';
import type { Bucket } from './bucket.ts';
import { refuse } from './errors.ts';
import { Query } from './query.ts';
import type { S3Service } from './service.ts';
import { bucketOfHost, parseTarget, type Target } from './target.ts';
import { headersOfUrl } from './url-headers.ts';

/** How the request's signature binds its body. */
export interface Signature {
  readonly access: string;
  /** SigV4 only: what x-amz-content-sha256 said under the signature. */
  readonly payload: string | undefined;
  /** For signed chunks. */
  readonly chunks?: {
    readonly signingKey: Buffer;
    readonly scope: { date: string; day: string; region: string; service: string };
    readonly seed: string;
  };
  readonly version: 2 | 4;
  readonly form: 'header' | 'query' | 'post';
}

/** Fields of forms that are called otherwise than headers. */
const FIELDS: Readonly<Record<string, string>> = { 'x-amz-acl': 'acl', 'x-amz-tagging': 'tagging' };

export class S3Request extends Exchange<S3Service> implements Operation {
  readonly txn: string;
  /** Path and query as they came, without scheme and host. */
  readonly target: string;
  readonly path: string;
  readonly query: Query;
  readonly hostBucket: string | undefined;
  /** The host names a bucket as a website. */
  readonly isWebsite: boolean;
  caller: Caller = ANONYMOUS;
  /** Undefined: nobody signed. */
  signature: Signature | undefined;
  /** The request's bucket, once it has been looked up: for its access log. */
  found: Bucket | undefined;
  /** S3's code of what the request was refused with. */
  errorCode: string | undefined;
  /** `s3.PutObject` */
  label = 's3.other';
  readonly read = 'quorum';
  /** Opens what the request reads (encryption-headers.ts). */
  customerKey: Uint8Array | undefined;
  #located: Target = { bucket: undefined, key: undefined };
  #signed: SigV4Request | undefined;
  #fields: ReadonlyMap<string, string> | undefined;
  #inUrl: ReadonlyMap<string, string> | undefined;
  /** Tags that the request gives in its body. */
  givenTags: Readonly<Record<string, string>> | undefined;
  /** The region that it gives there. */
  givenLocation: string | undefined;

  constructor(service: S3Service, incoming: IncomingMessage, response: ServerResponse) {
    super(service, incoming, response);
    const { path, query } = splitTarget(incoming.url ?? '/');
    this.path = path;
    this.target = query === '' ? path : `${path}?${query}`;
    this.query = new Query(this.target);
    const site = bucketOfHost(incoming.headers.host, service.websiteDomains());
    this.isWebsite = site !== undefined;
    this.hostBucket = site ?? bucketOfHost(incoming.headers.host, service.domains());
    this.txn = service.requestIds.next(undefined);
  }

  /** @throws S3Error InvalidURI, InvalidBucketName, KeyTooLongError, InvalidArgument */
  locate(): Target {
    this.#inUrl = headersOfUrl(this.query);
    this.#located = parseTarget(this.path, this.hostBucket);
    checkKey(this, this.key);
    return this.#located;
  }

  /** Also what stands in a presigned URL for a header. */
  override header(name: string): string | undefined {
    return super.header(name) ?? this.#inUrl?.get(name);
  }

  /** Names of headers that begin so. */
  headerNames(prefix: string): string[] {
    const names = new Set([...Object.keys(this.incoming.headers), ...(this.#inUrl?.keys() ?? [])]);
    return [...names].filter((name) => name.startsWith(prefix));
  }

  /** A form names its key in a field, and says in others what headers say elsewhere. */
  nameForm(key: string, fields: ReadonlyMap<string, string>): void {
    checkKey(this, key);
    this.#located = { ...this.#located, key };
    this.#fields = fields;
  }

  /** What the request says under a header's name, also as a form: what policies are asked about. */
  said(name: string): string | undefined {
    if (this.#fields === undefined) return this.text(name);
    return this.#fields.get(FIELDS[name] ?? name);
  }

  /** What is signed. */
  get signed(): SigV4Request {
    const { method, target, incoming } = this;
    this.#signed ??= { method, target, headers: distinctHeaders(incoming) };
    return this.#signed;
  }

  get hasBucket(): boolean {
    return this.#located.bucket !== undefined;
  }

  get bucket(): string {
    return this.#located.bucket ?? '';
  }

  get key(): string {
    return this.#located.key ?? '';
  }

  /** Bytes that are no UTF-8 are taken as Latin-1. */
  text(name: string): string | undefined {
    const value = this.header(name);
    return value === undefined ? undefined : (utf8FromLatin1(value) ?? value);
  }

  sendContinue(): void {
    if (this.continued || !this.expectsContinue) return;
    this.continued = true;
    this.response.writeContinue();
  }

  get by(): { readonly principal: string; readonly address: string } {
    const { caller, origin } = this;
    const principal = caller.kind === 'user' ? caller.userId : 'Anonymous';
    return { principal, address: origin.address };
  }

  get user(): string | undefined {
    return this.caller.kind === 'user' ? this.caller.userId : undefined;
  }

  get origin(): Origin {
    const { remoteAddress: address } = this.incoming.socket;
    const isSecure = 'encrypted' in this.incoming.socket;
    return this.service.originOf({ address, isSecure, header: (name) => this.header(name) });
  }

  /** The service's address as the client knows it, `https://host:port`. */
  get address(): string {
    return `${this.origin.isSecure ? 'https' : 'http'}://${this.header('host') ?? ''}`;
  }

  get nowMicros(): number {
    return this.service.env.clock.wallMicros();
  }
}

/** Every value that came. Node joins or drops those of a name that comes twice, which few requests have. */
function distinctHeaders(incoming: IncomingMessage): SigV4Request['headers'] {
  const { headers, rawHeaders } = incoming;
  const isDistinct = Object.keys(headers).length * 2 === rawHeaders.length;
  return isDistinct ? headers : incoming.headersDistinct;
}

/** @throws S3Error KeyTooLongError */
export function checkKey(request: S3Request, key: string): void {
  const size = Buffer.byteLength(key);
  const most = request.service.limits.maxKeyBytes;
  if (size <= most) return;
  throw refuse('KeyTooLongError', undefined, { Size: String(size), MaxSizeAllowed: String(most) });
}
