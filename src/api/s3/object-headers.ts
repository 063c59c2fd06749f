/** From an object's state to the headers of GET and HEAD, and from a PUT's headers to the state. */
import { assert } from '#base/assert.ts';
import { contentTypeOf, type DataPart, type EntryState } from '#base/entry.ts';
import { microsOf, type Timestamp } from '#base/timestamp.ts';
import { httpDate } from '../http/http-date.ts';
import { latin1FromUtf8, utf8FromLatin1 } from '../http/utf8.ts';
import { headerOf } from './checksums.ts';
import { mailSafe, plainText } from './encoded-words.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';
import { lockHeaders } from './shown-lock.ts';
import { shownChecksums } from './stored-checksums.ts';

/** What a PUT may set beside user metadata; the same names that Swift's API keeps. */
const SYSTEM_HEADERS = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
] as const;
export const REDIRECT_HEADER = 'x-amz-website-redirect-location';
const META = 'x-amz-meta-';
/** The form in which both APIs keep user metadata. */
const STORED_META = 'x-object-meta-';
export const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';

export function dataOf(state: EntryState): DataPart {
  assert(state.data !== undefined, 'an object that was found has a data part');
  return state.data;
}

/** A POST through Swift sets a new time, and Last-Modified shows it. */
export function shownMicros(state: EntryState): number {
  const { timestamp, clientMicros } = dataOf(state);
  let newest: Timestamp = timestamp;
  for (const name of ['user', 'system']) {
    const group = state.groups[name];
    if (group !== undefined && group.timestamp > newest) newest = group.timestamp;
  }
  return newest === timestamp ? clientMicros : microsOf(newest);
}

/** Whole seconds, as listings show them without their fraction. */
export function modifiedSeconds(state: EntryState): number {
  return Math.floor(shownMicros(state) / 1e6);
}

/** All but Content-Length, Content-Type and Content-Range, which depend on what is sent. */
export function objectHeaders(state: EntryState, etag: string): string[] {
  const headers = [
    ...['ETag', `"${etag}"`, 'Last-Modified', httpDate(modifiedSeconds(state))],
    ...['Accept-Ranges', 'bytes'],
  ];
  const { versionId } = dataOf(state);
  if (versionId !== undefined) headers.push('x-amz-version-id', versionId);
  for (const [name, value] of Object.entries(state.groups['system']?.values ?? {})) {
    if (name === 'content-type' || name === 'delete-at' || name === 'x-object-manifest') continue;
    headers.push(name, latin1FromUtf8(value));
  }
  for (const [name, value] of Object.entries(state.groups['user']?.values ?? {})) {
    if (name.startsWith(STORED_META)) {
      headers.push(META + name.slice(STORED_META.length), mailSafe(value));
    }
  }
  const tags = Object.keys(state.groups['tags']?.values ?? {}).length;
  if (tags > 0) headers.push('x-amz-tagging-count', String(tags));
  headers.push(...lockHeaders(state));
  return headers;
}

/** Where they are asked for; they are of all bytes, so a range goes without. */
export function checksumHeaders(request: S3Request, state: EntryState): string[] {
  if (request.header('x-amz-checksum-mode')?.toUpperCase() !== 'ENABLED') return [];
  const { values, type } = shownChecksums(dataOf(state));
  const headers = values.flatMap(([algorithm, value]) => [headerOf(algorithm), value]);
  if (values.length > 0) headers.push('x-amz-checksum-type', type);
  return headers;
}

export function contentTypeHeader(state: EntryState): string {
  return latin1FromUtf8(contentTypeOf(state) || DEFAULT_CONTENT_TYPE);
}

/** Overrides by response-* parameters, for signed requests only. @throws S3Error InvalidRequest */
export function overrides(request: S3Request): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (request.query.isEmpty) return found;
  for (const name of [...SYSTEM_HEADERS, 'content-type']) {
    const value = request.query.get(`response-${name}`);
    if (value === undefined || value === '') continue;
    if (request.signature === undefined) {
      throw refuse(
        'InvalidRequest',
        'Request specific response headers cannot be used for anonymous GET requests.',
      );
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a header must not break in two
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) throw refuse('InvalidArgument');
    found.set(name, latin1FromUtf8(value));
  }
  return found;
}

/** The same headers, those that are overridden replaced. */
export function withOverrides(headers: string[], over: ReadonlyMap<string, string>): string[] {
  if (over.size === 0) return headers;
  const kept: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (!over.has(headers[i]!.toLowerCase())) kept.push(headers[i]!, headers[i + 1]!);
  }
  for (const [name, value] of over) kept.push(name, value);
  return kept;
}

export interface Described {
  readonly contentType: string;
  readonly user: Record<string, string>;
  readonly system: Record<string, string>;
}

/** @throws S3Error MetadataTooLarge, InvalidArgument */
export function describedBy(request: S3Request): Described {
  return {
    contentType: request.text('content-type') || DEFAULT_CONTENT_TYPE,
    user: userMetadata(request),
    system: systemValues(request),
  };
}

function userMetadata(request: S3Request): Record<string, string> {
  const user: Record<string, string> = {};
  let bytes = 0;
  for (const name of request.headerNames(META)) {
    const own = name.slice(META.length);
    // One header several times is one list, without blanks.
    const raw = request.incoming.headersDistinct[name]?.join(',') ?? request.header(name) ?? '';
    bytes += own.length + raw.length;
    if (own === '') throw refuse('InvalidArgument', 'A metadata name is empty');
    user[STORED_META + own] = plainText(utf8FromLatin1(raw) ?? raw);
  }
  const most = request.service.limits.maxMetadataBytes;
  if (bytes > most) {
    throw refuse('MetadataTooLarge', undefined, {
      Size: String(bytes),
      MaxSizeAllowed: String(most),
    });
  }
  return user;
}

function systemValues(request: S3Request): Record<string, string> {
  const system: Record<string, string> = {};
  for (const name of SYSTEM_HEADERS) {
    const value = request.text(name);
    const kept = name === 'content-encoding' && value !== undefined ? withoutFraming(value) : value;
    if (kept !== undefined && kept !== '') system[name] = kept;
  }
  const redirect = request.text(REDIRECT_HEADER);
  if (redirect !== undefined) system[REDIRECT_HEADER] = checkRedirect(redirect);
  return system;
}

const MAX_REDIRECT = 2048;

/** @throws S3Error InvalidRedirectLocation */
export function checkRedirect(redirect: string): string {
  if (redirect.length > MAX_REDIRECT) {
    throw refuse(
      'InvalidRedirectLocation',
      `The length of website redirect location cannot exceed ${MAX_REDIRECT} characters.`,
    );
  }
  if (/^(\/|https?:\/\/)/.test(redirect)) return redirect;
  throw refuse(
    'InvalidRedirectLocation',
    "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
  );
}

/** `aws-chunked` says how the request was framed; it is no property of the object. */
function withoutFraming(coding: string): string {
  return coding
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item.toLowerCase() !== 'aws-chunked')
    .join(',');
}
