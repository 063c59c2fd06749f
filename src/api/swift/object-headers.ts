/** From an object's state to the headers that GET and HEAD show, and back for copies. */

import { assert } from '#base/assert.ts';
import { contentTypeOf, type DataPart, type EntryState, expirySource } from '#base/entry.ts';
import { microsOf, type Timestamp } from '#base/timestamp.ts';
import { httpDate, lastModifiedSeconds, xTimestamp } from '../http/http-date.ts';
import { latin1FromUtf8, titleCase } from '../http/utf8.ts';
import type { SwiftRequest } from './request.ts';
import { versionHeaders } from './versions.ts';

/** What a PUT or POST may set beside the metadata; kept by PUT, replaced as a whole by POST. */
export const SYSTEM_HEADERS = [
  'content-disposition',
  'content-encoding',
  'cache-control',
  'content-language',
  'expires',
  'x-robots-tag',
] as const;

/** The header of a dynamic large object's manifest. */
export const DYNAMIC_HEADER = 'x-object-manifest';

/** The object as its headers describe it: a large object's content rather than its manifest. */
export interface Face {
  readonly state: EntryState;
  /** Unquoted. */
  readonly etag: string;
  readonly large: boolean;
  readonly contentType: string;
  readonly length: number;
}

export function dataOf(state: EntryState): DataPart {
  assert(state.data !== undefined, 'the store gave an object without a data part');
  return state.data;
}

/**
 * A static manifest keeps its etag as `MD5-PARTS`, S3's form, by which every dialect and every
 * listing can tell it from an MD5 of the bytes. Swift shows the MD5 alone, in quotes.
 */
export function shownEtag(etag: string): string {
  const dash = etag.indexOf('-');
  return dash === 32 ? etag.slice(0, 32) : etag;
}

export function isLargeEtag(etag: string): boolean {
  return etag.indexOf('-') === 32;
}

/**
 * When the object was last written as Swift counts it: a POST counts, too. Microseconds.
 * (A group no newer than the data part came with it, or was stamped again with it.)
 */
export function shownMicros(state: EntryState): number {
  const data = dataOf(state);
  let newest: Timestamp | undefined;
  for (const name of ['user', 'system']) {
    const timestamp = state.groups[name]?.timestamp;
    if (timestamp === undefined || timestamp <= data.timestamp) continue;
    if (newest === undefined || timestamp > newest) newest = timestamp;
  }
  return newest === undefined ? data.clientMicros : Math.max(data.clientMicros, microsOf(newest));
}

/** An ordinary object, or a manifest whose own size and etag are already those of its content. */
export function faceOf(state: EntryState): Face {
  const data = dataOf(state);
  const large = data.manifest === 'static' || data.manifest === 'multipart';
  const etag = large ? shownEtag(data.etag) : data.etag;
  return { state, etag, large, contentType: contentTypeOf(state), length: data.size };
}

export function systemValues(state: EntryState): Readonly<Record<string, string>> {
  return state.groups['system']?.values ?? {};
}

export function userValues(state: EntryState): Readonly<Record<string, string>> {
  return state.groups['user']?.values ?? {};
}

/** All but Content-Length, Content-Type and Content-Range, which depend on what is sent. */
export function objectHeaders(face: Face): string[] {
  const { state, etag, large } = face;
  const { manifest } = dataOf(state);
  const micros = shownMicros(state);
  const headers = [
    'Etag',
    large ? `"${etag}"` : etag,
    'Last-Modified',
    httpDate(lastModifiedSeconds(micros)),
    'X-Timestamp',
    xTimestamp(micros),
    'Accept-Ranges',
    'bytes',
  ];
  if (manifest === 'static' || manifest === 'multipart') {
    headers.push('X-Static-Large-Object', 'True');
  }
  const { deleteAt } = expirySource(state);
  if (deleteAt !== undefined) headers.push('X-Delete-At', String(deleteAt));
  headers.push(...versionHeaders(dataOf(state).versionId));
  pushValues(headers, state);
  return headers;
}

function pushValues(headers: string[], state: EntryState): void {
  const system = systemValues(state);
  for (const name in system) {
    if (name === 'content-type' || name === 'delete-at') continue;
    headers.push(titleCase(name), latin1FromUtf8(system[name]!));
  }
  const user = userValues(state);
  for (const name in user) headers.push(titleCase(name), latin1FromUtf8(user[name]!));
}

/** The system headers of a PUT or POST; empty ones are left out. */
export function systemHeaders(request: SwiftRequest): Record<string, string> {
  const values: Record<string, string> = {};
  for (const name of SYSTEM_HEADERS) {
    if (request.incoming.headers[name] === undefined) continue;
    const value = request.text(name);
    if (value !== undefined && value !== '') values[name] = value;
  }
  return values;
}
