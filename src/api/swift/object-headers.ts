/** From an object's state to the headers that GET and HEAD show, and back for copies. */

import { assert } from '#base/assert.ts';
import { contentTypeOf, type DataPart, type EntryState, expirySource } from '#base/entry.ts';
import { httpDate, lastModifiedSeconds, xTimestamp } from './http-date.ts';
import type { SwiftRequest } from './request.ts';
import { latin1FromUtf8, titleCase } from './utf8.ts';

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
  const { clientMicros, manifest } = dataOf(state);
  const headers = [
    'Etag',
    large ? `"${etag}"` : etag,
    'Last-Modified',
    httpDate(lastModifiedSeconds(clientMicros)),
    'X-Timestamp',
    xTimestamp(clientMicros),
    'Accept-Ranges',
    'bytes',
  ];
  if (manifest === 'static' || manifest === 'multipart') {
    headers.push('X-Static-Large-Object', 'True');
  }
  const { deleteAt } = expirySource(state);
  if (deleteAt !== undefined) headers.push('X-Delete-At', String(deleteAt));
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
