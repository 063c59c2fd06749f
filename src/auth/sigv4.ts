/**
 * AWS Signature Version 4, pure: from a request and what it claims (sigv4-claim.ts) to the signature
 * that the right key would have made. Used for S3 and for STS, which canonicalize paths differently.
 *
 *     canonicalRequest   method, path, query, headers, body hash
 *     stringToSign       date, scope, SHA-256 of the above
 *     signature          HMAC-SHA256 with the key derived for day, region and service
 *
 * The path and query that are signed are computed from the bytes on the wire: decoded once, encoded
 * the one canonical way, so it does not matter which reserved characters the client left alone.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { assert } from '#base/assert.ts';
import {
  ALGORITHM,
  decode,
  headerValue,
  queryPairs,
  type SigV4Claim,
  type SigV4Headers,
  type SigV4Request,
} from './sigv4-claim.ts';

export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD';
const EMPTY_HASH = hash('sha256', '');
/** How far a signer's clock may be off. */
export const SKEW_MS = 15 * 60 * 1000;

/** What the signature is made over; the chunks of an aws-chunked body have their own below. */
export type SignedScope = Pick<SigV4Claim, 'date' | 'day' | 'region' | 'service'>;

/**
 * Whether `signingKey` (derived for the claim's day, region and service) made this signature.
 * `payload` is the body's hash where the claim says none: S3 signs UNSIGNED-PAYLOAD then, other
 * services the hash of what came.
 */
export function isSignedWith(
  signingKey: Buffer,
  request: SigV4Request,
  claim: SigV4Claim,
  payload: string = claim.payload ?? UNSIGNED_PAYLOAD,
): boolean {
  const text = stringToSign(claim, canonicalRequest(request, claim, payload));
  return sameSignature(sign(signingKey, text), claim.signature);
}

export function canonicalRequest(
  { method, target, headers }: SigV4Request,
  { form, service, signedHeaders }: Pick<SigV4Claim, 'form' | 'service' | 'signedHeaders'>,
  payload: string,
): string {
  const at = target.indexOf('?');
  const path = at < 0 ? target : target.slice(0, at);
  return [
    method,
    service === 's3' ? canonicalPath(path) : canonicalPath(normalPath(path), true),
    canonicalQuery(target, form === 'query' ? 'X-Amz-Signature' : undefined),
    ...signedHeaders.map((name) => `${name}:${canonicalValue(headers, name)}`),
    '',
    signedHeaders.join(';'),
    payload,
  ].join('\n');
}

export function stringToSign(scope: SignedScope, canonical: string): string {
  return [ALGORITHM, scope.date, scopeText(scope), sha256(canonical)].join('\n');
}

const BLOCK_BYTES = 64;
const HASH_BYTES = 32;

/**
 * HMAC-SHA256, hexadecimal. Also signs a POST form's policy (its base64 text).
 *
 * Every request comes by here, and an Hmac object costs three times what its two hashes do: it is native
 * memory that has to be made, and found again by the garbage collector.
 */
export function sign(signingKey: Buffer, text: string): string {
  assert(signingKey.length <= BLOCK_BYTES, 'a signing key is a hash');
  const inner = Buffer.allocUnsafe(BLOCK_BYTES + text.length);
  const outer = Buffer.allocUnsafe(BLOCK_BYTES + HASH_BYTES);
  for (let i = 0; i < BLOCK_BYTES; i++) {
    const byte = i < signingKey.length ? signingKey[i]! : 0;
    inner[i] = byte ^ 0x36;
    outer[i] = byte ^ 0x5c;
  }
  inner.write(text, BLOCK_BYTES, 'latin1');
  outer.write(hash('sha256', inner), BLOCK_BYTES, 'hex');
  return hash('sha256', outer);
}

/** In a time that tells nothing about where they differ. Both are hexadecimal digits. */
export function sameSignature(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1')];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** One chunk of a signed aws-chunked body; the first one follows the request's own signature. */
export function chunkStringToSign(
  scope: SignedScope,
  previousSignature: string,
  chunkHash: string,
): string {
  return [
    `${ALGORITHM}-PAYLOAD`,
    scope.date,
    scopeText(scope),
    previousSignature,
    EMPTY_HASH,
    chunkHash,
  ].join('\n');
}

/** The trailers behind the last chunk: `trailerHash` is of their lines `name:value\n`. */
export function trailerStringToSign(
  scope: SignedScope,
  previousSignature: string,
  trailerHash: string,
): string {
  const parts = [scope.date, scopeText(scope), previousSignature, trailerHash];
  return [`${ALGORITHM}-TRAILER`, ...parts].join('\n');
}

/** `skewed`: the signer's clock or the request is too far off; `expired`: a presigned URL is over. */
export function timelinessOf(claim: SigV4Claim, nowMs: number): 'now' | 'skewed' | 'expired' {
  const { dateMs, expiresSeconds } = claim;
  if (dateMs > nowMs + SKEW_MS) return 'skewed';
  if (expiresSeconds === undefined) return nowMs > dateMs + SKEW_MS ? 'skewed' : 'now';
  return nowMs > dateMs + expiresSeconds * 1000 ? 'expired' : 'now';
}

/** Names of `x-amz-*` headers that came along unsigned: somebody on the way could have added them. */
export function unsignedAmzHeaders(claim: SigV4Claim, headers: SigV4Headers): string[] {
  // Looked through, not made a set of: both are short, and every request comes by here.
  return Object.keys(headers).filter(
    (name) =>
      name.startsWith('x-amz-') &&
      !claim.signedHeaders.includes(name) &&
      headers[name] !== undefined &&
      // A presigned URL's own statement about its body may come as either.
      !(claim.form === 'query' && name === 'x-amz-content-sha256'),
  );
}

/** Nothing in it has a second spelling: what most paths are. */
const PLAIN_PATH = /^[A-Za-z0-9_.~/-]+$/;

/** `twice`: all services but S3 encode what the client has encoded already. */
function canonicalPath(path: string, twice = false): string {
  if (PLAIN_PATH.test(path)) return path;
  const once = path === '' ? '/' : encode(decode(path), '/');
  return twice ? encode(once, '/') : once;
}

/** Without empty, `.` and `..` segments: all services but S3. */
function normalPath(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/');
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  const last = kept.length > 0 && segments.at(-1) === '' ? '/' : '';
  return `/${kept.join('/')}${last}`;
}

function canonicalQuery(target: string, without: string | undefined): string {
  if (!target.includes('?')) return '';
  return queryPairs(target)
    .filter(([name]) => name !== without)
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Several values of a name are joined, each trimmed, runs of blanks made one. */
function canonicalValue(headers: SigV4Headers, name: string): string {
  const value = headerValue(headers, name) ?? '';
  return UNEVEN.test(value) ? value.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '') : value;
}

const UNEVEN = /^ |\t| {2}| $/;

/** Bytes (one character each): all but unreserved ones, and those in `also`, as %XX. */
function encode(bytes: string, also = ''): string {
  return bytes.replace(/[^A-Za-z0-9_.~-]/g, (character) =>
    also.includes(character) ? character : percent(character),
  );
}

function percent(character: string): string {
  return [...Buffer.from(character, character > '\xff' ? 'utf8' : 'latin1')]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('');
}

function scopeText({ day, region, service }: SignedScope): string {
  return `${day}/${region}/${service}/aws4_request`;
}

function sha256(text: string): string {
  return hash('sha256', Buffer.from(text, 'latin1'));
}
