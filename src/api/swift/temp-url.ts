/**
 * TempURL: a signature in the query instead of a token lets anybody do one thing with one object (or
 * with all below a prefix) until a certain time. The keys stand in metadata of the account (good for
 * all its containers) or of the container (good for it alone).
 *
 *   signed     ["ip=RANGE" LF] METHOD LF EXPIRES LF ["prefix:"] "/v1/ACCOUNT/CONTAINER/OBJECT"
 *   signature  hex, or DIGEST ":" base64 (either alphabet); a HEAD may use one made for GET, PUT or POST
 *
 * What the signature does not cover stays out of reach: no other object is written, none but the parts
 * of a large object are read, no version is deleted for good, and answers show no private metadata.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { AclOperation } from '#auth/acl.ts';
import { isInRange, isRange } from '#auth/policy/ip-range.ts';
import type { ContainerName } from '#base/names.ts';
import { httpDate } from '../http/http-date.ts';
import { latin1FromUtf8 } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

export const TEMP_URL_METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'] as const;
export const TEMP_URL_DIGESTS = ['sha1', 'sha256', 'sha512'] as const;
type Digest = (typeof TEMP_URL_DIGESTS)[number];

/** With these an upload would become a window to other objects. */
const REFUSED_HEADERS = ['x-object-manifest', 'x-copy-from'];
const KEYS = ['temp-url-key', 'temp-url-key-2'];
const DIGEST_BYTES: Readonly<Record<Digest, number>> = { sha1: 20, sha256: 32, sha512: 64 };

/** What a signature that counts gives leave to. */
export interface TempUrl {
  readonly allows: (name: ContainerName, operation: AclOperation) => boolean;
  /** The headers of an answer as they may be shown: a flat list. */
  readonly shown: (status: number, headers: readonly string[]) => string[];
}

export function isTempUrl({ query }: SwiftRequest): boolean {
  return query.has('temp_url_sig') || query.has('temp_url_expires');
}

/** @throws Refusal 401 for a signature that does not count, 400 for what none may do */
export async function openTempUrl(request: SwiftRequest): Promise<TempUrl> {
  const expires = expiry(request);
  const signature = parseSignature(request.query.get('temp_url_sig') ?? '');
  const isKnown = (TEMP_URL_METHODS as readonly string[]).includes(request.method);
  if (expires === undefined || signature === undefined || !isKnown) throw invalid();
  const texts = signedTexts(request, expires);
  const { account, container } = request.containerName;
  const accountKeys = keysIn('account', await accountHeaders(request));
  const ofAccount = accountKeys.some((key) => signs(key, texts, signature));
  if (!ofAccount) {
    const containerKeys = keysIn('container', await containerHeaders(request));
    if (!containerKeys.some((key) => signs(key, texts, signature))) throw invalid();
  }
  refuseWindows(request);
  const isOwn = (name: ContainerName): boolean =>
    name.account === account && (ofAccount || name.container === container);
  return {
    allows: (name, operation) => isOwn(name) && isSigned(request, name, operation),
    shown: (status, headers) => shownHeaders(request, expires, status, headers),
  };
}

function invalid(): Error {
  return refuse('unauthorized', '401 Unauthorized: Temp URL invalid\n', [
    'WWW-Authenticate',
    'Swift realm="unknown"',
  ]);
}

function isSigned(
  { method, containerName }: SwiftRequest,
  name: ContainerName,
  operation: AclOperation,
): boolean {
  if (method === 'GET' || method === 'HEAD') return operation === 'read';
  return operation === 'write' && name.container === containerName.container;
}

/** @throws Refusal 400 */
function refuseWindows(request: SwiftRequest): void {
  const header = REFUSED_HEADERS.find((name) => request.header(name) !== undefined);
  if (header !== undefined) throw refuse('bad-request', `${header} is not for temporary URLs`);
  const isReading = request.method === 'GET' || request.method === 'HEAD';
  if (!isReading && request.query.has('version-id')) {
    throw refuse('bad-request', 'version-id is not for temporary URLs that write');
  }
}

/** Unix seconds; undefined: none, or passed. */
function expiry(request: SwiftRequest): number | undefined {
  const text = request.query.get('temp_url_expires') ?? '';
  let seconds: number | undefined;
  if (/^\d{1,12}$/.test(text)) seconds = Number(text);
  else if (/^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?Z?)?$/.test(text))
    seconds = isoSeconds(text);
  const now = request.service.env.clock.wallMicros() / 1e6;
  return seconds !== undefined && seconds >= now ? seconds : undefined;
}

/** Without a zone it is UTC. */
function isoSeconds(text: string): number | undefined {
  const ms = Date.parse(text.includes('T') && !text.endsWith('Z') ? `${text}Z` : text);
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000);
}

interface Signature {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

function parseSignature(text: string): Signature | undefined {
  const colon = text.indexOf(':');
  if (colon >= 0) {
    const digest = TEMP_URL_DIGESTS.find((known) => known === text.slice(0, colon));
    const bytes = Buffer.from(text.slice(colon + 1), 'base64url');
    return digest && bytes.length === DIGEST_BYTES[digest] ? { digest, bytes } : undefined;
  }
  if (!/^(?:[0-9a-f]{2})+$/i.test(text)) return undefined;
  const bytes = Buffer.from(text, 'hex');
  const digest = TEMP_URL_DIGESTS.find((known) => DIGEST_BYTES[known] === bytes.length);
  return digest && { digest, bytes };
}

/** What may have been signed. @throws Refusal 401 where the request is not within it */
function signedTexts(request: SwiftRequest, expires: number): string[] {
  const { account, container, object } = request.objectName;
  const prefix = request.query.get('temp_url_prefix');
  if (prefix !== undefined && !object.startsWith(prefix)) throw invalid();
  const base = `/v1/${account}/${container}/`;
  const path = prefix === undefined ? base + object : `prefix:${base}${prefix}`;
  const range = request.query.get('temp_url_ip_range');
  if (range !== undefined && !(isRange(range) && isInRange(request.address, range)))
    throw invalid();
  const from = range === undefined ? '' : `ip=${range}\n`;
  const methods = request.method === 'HEAD' ? ['HEAD', 'GET', 'PUT', 'POST'] : [request.method];
  return methods.map((method) => `${from}${method}\n${expires}\n${path}`);
}

function signs(key: string, texts: readonly string[], { digest, bytes }: Signature): boolean {
  return texts.some((text) =>
    timingSafeEqual(createHmac(digest, key).update(text).digest(), bytes),
  );
}

type Headers = Readonly<Record<string, string>>;

async function accountHeaders(request: SwiftRequest): Promise<Headers> {
  return (await request.service.store.accountInfo(request, request.account)).headers;
}

async function containerHeaders(request: SwiftRequest): Promise<Headers> {
  const { store } = request.service;
  return (await store.containerInfo(request, request.containerName, false))?.headers ?? {};
}

function keysIn(resource: 'account' | 'container', headers: Headers): string[] {
  return KEYS.map((key) => headers[`x-${resource}-meta-${key}`] ?? '').filter((key) => key !== '');
}

/** No metadata but what calls itself public; a GET is to be saved as a file, as long as the URL lives. */
function shownHeaders(
  request: SwiftRequest,
  expires: number,
  status: number,
  headers: readonly string[],
): string[] {
  const isContent = (status === 200 || status === 206) && isReading(request);
  let disposition: string | undefined;
  const shown: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const [name = '', value = ''] = headers.slice(i, i + 2);
    const lower = name.toLowerCase();
    if (lower.startsWith('x-object-meta-') && !lower.startsWith('x-object-meta-public-')) continue;
    if (isContent && lower === 'content-disposition') disposition = value;
    else if (!isContent || lower !== 'expires') shown.push(name, value);
  }
  if (!isContent) return shown;
  shown.push('Content-Disposition', dispositionOf(request, disposition));
  shown.push('Expires', httpDate(expires));
  return shown;
}

function isReading({ method }: SwiftRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}

function dispositionOf(request: SwiftRequest, stored: string | undefined): string {
  const name = request.query.get('filename') || undefined;
  if (request.query.has('inline')) return name === undefined ? 'inline' : named('inline', name);
  if (name !== undefined) return named('attachment', name);
  if (stored !== undefined) return stored;
  const { object } = request.objectName;
  return named('attachment', object.replace(/\/+$/, '').split('/').at(-1) ?? object);
}

function named(type: string, name: string): string {
  const quoted = encodeURIComponent(name);
  const plain = quoted.replaceAll('%20', ' ').replaceAll('%2F', '/');
  return latin1FromUtf8(`${type}; filename="${plain}"; filename*=UTF-8''${quoted}`);
}
