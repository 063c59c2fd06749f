/** Conditional requests (RFC 9110, 13) on an object that exists. */
import { parseHttpDate } from '../http/http-date.ts';
import type { SwiftRequest } from './request.ts';

export type Verdict = 'proceed' | 'not-modified' | 'failed';

export interface Validators {
  /** Unquoted. */
  readonly etag: string;
  readonly lastModified: number;
}

export function checkConditions(request: SwiftRequest, validators: Validators): Verdict {
  const { headers } = request.incoming;
  const ifMatch = headers['if-match'];
  const ifNoneMatch = headers['if-none-match'];
  const unmodifiedSince = headers['if-unmodified-since'];
  const modifiedSince = headers['if-modified-since'];
  if (ifMatch !== undefined && !etagMatches(ifMatch, validators.etag)) return 'failed';
  if (ifMatch === undefined && unmodifiedSince !== undefined) {
    const limit = parseHttpDate(unmodifiedSince);
    if (limit !== undefined && validators.lastModified > limit) return 'failed';
  }
  if (ifNoneMatch !== undefined) {
    return etagMatches(ifNoneMatch, validators.etag) ? 'not-modified' : 'proceed';
  }
  const since = parseHttpDate(modifiedSince);
  return since !== undefined && validators.lastModified <= since ? 'not-modified' : 'proceed';
}

/** If-Range: false means that the representation has changed, so the range does not count. */
export function rangeApplies(request: SwiftRequest, validators: Validators): boolean {
  const condition = request.header('if-range');
  if (condition === undefined) return true;
  const date = /^[A-Z][a-z]{2}/.test(condition) ? parseHttpDate(condition) : undefined;
  if (date !== undefined) return date === validators.lastModified;
  return unquote(condition) === validators.etag;
}

/** Of a list of tags, or `*`. */
export function etagMatches(list: string, etag: string): boolean {
  return list.split(',').some((item) => {
    const tag = item.trim();
    return tag === '*' || unquote(tag) === etag;
  });
}

/** `"x"`, `W/"x"` and, as Swift's clients write it, bare `x`. */
export function unquote(tag: string): string {
  const text = tag.trim();
  const strong = text.startsWith('W/') ? text.slice(2) : text;
  return strong.length >= 2 && strong.startsWith('"') && strong.endsWith('"')
    ? strong.slice(1, -1)
    : strong;
}
