/**
 * What a proxy is given to check S3 requests by itself: the key that SigV4 derives from the secret for
 * one day, region and service, never the secret, and a token for the key's user and project that
 * lives as long. The token brings roles, disabling and revocation along: the proxy verifies it like
 * any other, and the watch ends it like any other.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { badRequest, type IdentityContext, nowMs } from './context.ts';
import type { Credentials } from './credentials.ts';
import type { IssuedToken, LogIns } from './log-ins.ts';
import { sessionSecret } from './session-keys.ts';
import type { TokenVerifier } from './token-verifier.ts';

export interface S3KeyRequest {
  readonly access: string;
  /** YYYYMMDD, UTC. */
  readonly day: string;
  readonly region: string;
  readonly service: string;
  /** x-amz-security-token: the access key is a session's (session-keys.ts). */
  readonly sessionToken?: string;
}

export interface S3Key {
  /** HMAC-SHA256 chain over day, region, service and `aws4_request`: 32 bytes. */
  readonly signingKey: Buffer;
  readonly token: string;
}

const DAY_MS = 24 * 3600 * 1000;
/** SigV4 accepts clocks that differ by this much, so a day's key is used so long after midnight. */
const SKEW_MS = 15 * 60 * 1000;
/** Tomorrow's key may be fetched from noon on; nobody needs one for a later day. */
const MAX_AHEAD_MS = DAY_MS;
/** A presigned URL lives for a week at most, so keys of past days are asked for that long. */
const MAX_PAST_MS = 7 * DAY_MS;
const SCOPE_PART = /^[A-Za-z0-9_.-]{1,64}$/;
const V4_ALGORITHM = 'AWS4-HMAC-SHA256';

export class S3Keys {
  readonly #context: IdentityContext;
  readonly #credentials: Credentials;
  readonly #logIns: LogIns;
  readonly #verifier: TokenVerifier;

  constructor(
    context: IdentityContext,
    credentials: Credentials,
    logIns: LogIns,
    verifier: TokenVerifier,
  ) {
    this.#verifier = verifier;
    this.#context = context;
    this.#credentials = credentials;
    this.#logIns = logIns;
  }

  /**
   * Undefined: no such key, or its user or project may not use it.
   * @throws OperatingError `bad-request`, `state-unavailable`
   */
  async issue(request: S3KeyRequest): Promise<S3Key | undefined> {
    const endsMs = this.#endOf(request);
    if (request.sessionToken !== undefined) return this.#ofSession(request, request.sessionToken);
    const token = await this.#tokenFor(request.access, endsMs);
    const pair = await this.#credentials.keyPair(request.access);
    if (token === undefined || pair === undefined) return undefined;
    return { signingKey: deriveSigningKey(pair.secret, request), token: token.text };
  }

  /**
   * Checks a signature over a string to sign, for SigV2, whose secret no proxy has, and for
   * Keystone's /v3/s3tokens. Undefined: it does not fit, or the key may not be used.
   */
  async check(
    access: string,
    stringToSign: Buffer,
    signature: string,
  ): Promise<IssuedToken | undefined> {
    return this.checkWith(access, (secret) =>
      sameText(signatureOf(secret, stringToSign), signature),
    );
  }

  /** The same for a session's keys: whether they signed this. */
  checkSession(
    { access, sessionToken }: { readonly access: string; readonly sessionToken: string },
    stringToSign: Buffer,
    signature: string,
  ): boolean {
    const secret = sessionSecret(this.#context.vault, access, sessionToken);
    if (secret === undefined || !this.#isGood(sessionToken)) return false;
    return sameText(signatureOf(secret, stringToSign), signature);
  }

  /** The same with a check of the caller's own. */
  async checkWith(
    access: string,
    matches: (secret: string) => boolean,
  ): Promise<IssuedToken | undefined> {
    const pair = await this.#credentials.keyPair(access);
    return pair !== undefined && matches(pair.secret) ? this.#tokenFor(access) : undefined;
  }

  #ofSession(request: S3KeyRequest, sessionToken: string): S3Key | undefined {
    const secret = sessionSecret(this.#context.vault, request.access, sessionToken);
    if (secret === undefined || !this.#isGood(sessionToken)) return undefined;
    return { signingKey: deriveSigningKey(secret, request), token: sessionToken };
  }

  /** The signing key is for S3, which keeps to what narrows the session. */
  #isGood(sessionToken: string): boolean {
    return this.#verifier.verify(sessionToken, { keepsToPolicies: true }).valid;
  }

  async #tokenFor(access: string, expiresMs?: number): Promise<IssuedToken | undefined> {
    const pair = await this.#credentials.keyPair(access);
    if (pair === undefined || !(await this.#credentials.isActive(access))) return undefined;
    const { userId, projectId } = pair;
    return this.#logIns.byKeyPair({ userId, projectId, expiresMs });
  }

  #endOf({ day, region, service }: S3KeyRequest): number {
    const form = /^(\d{4})(\d\d)(\d\d)$/.exec(day);
    const startMs = form
      ? Date.UTC(Number(form[1]), Number(form[2]) - 1, Number(form[3]))
      : Number.NaN;
    const now = nowMs(this.#context);
    const endMs = startMs + DAY_MS + SKEW_MS;
    const current = startMs < now + MAX_AHEAD_MS && endMs + MAX_PAST_MS > now;
    if (!current || !SCOPE_PART.test(region) || !SCOPE_PART.test(service)) {
      throw badRequest('Not a credential scope of this week.');
    }
    // The token of a past day's key lives as long as one made today.
    return endMs > now + SKEW_MS ? endMs : now + DAY_MS;
  }
}

export function deriveSigningKey(secret: string, request: Omit<S3KeyRequest, 'access'>): Buffer {
  return [request.day, request.region, request.service, 'aws4_request'].reduce<Buffer>(
    (key, part) => createHmac('sha256', key).update(part).digest(),
    Buffer.from(`AWS4${secret}`),
  );
}

/** The form of the string says which version signed it. */
function signatureOf(secret: string, stringToSign: Buffer): string {
  const [algorithm, , scope = ''] = stringToSign.toString().split('\n', 4);
  if (algorithm !== V4_ALGORITHM) {
    return createHmac('sha1', secret).update(stringToSign).digest('base64');
  }
  const [day = '', region = '', service = ''] = scope.split('/');
  const key = deriveSigningKey(secret, { day, region, service });
  return createHmac('sha256', key).update(stringToSign).digest('hex');
}

/** In a time that tells nothing about where they differ. */
export function sameText(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}
