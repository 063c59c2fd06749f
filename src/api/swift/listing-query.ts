/** Parameters of a listing and the form it is wanted in. */
import type { ListQuery } from '#container/calls.ts';
import { bestMatch } from './accept.ts';
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

const TYPES = ['text/plain', 'application/json', 'application/xml', 'text/xml'] as const;
export type ListingType = (typeof TYPES)[number];

const BY_FORMAT: Readonly<Record<string, ListingType>> = {
  plain: 'text/plain',
  json: 'application/json',
  xml: 'application/xml',
};

/** `format=` counts before Accept. @throws Refusal 406 */
export function listingType(request: SwiftRequest): ListingType {
  const format = request.query.get('format');
  if (format) return BY_FORMAT[format.toLowerCase()] ?? 'text/plain';
  const type = bestMatch(request.header('accept'), TYPES);
  if (type === undefined) throw refuse('not-acceptable');
  return type;
}

/** @throws Refusal 412 for a limit above the maximum, 400 for what is not UTF-8 */
export function listingQuery(request: SwiftRequest): ListQuery {
  const { query } = request;
  const text = (name: string): string | undefined => query.get(name) || undefined;
  return {
    limit: listingLimit(request),
    prefix: text('prefix'),
    delimiter: text('delimiter'),
    marker: text('marker'),
    endMarker: text('end_marker'),
    ...(query.isTrue('reverse') && { reverse: true }),
  };
}

function listingLimit(request: SwiftRequest): number {
  const most = request.service.limits.listingLimit;
  const text = request.query.get('limit');
  if (text === undefined || !/^\d+$/.test(text)) return most;
  if (Number(text) > most) throw refuse('precondition-failed', `Maximum limit is ${most}`);
  return Number(text);
}
