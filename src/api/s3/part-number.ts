/** GET and HEAD of one part of a large object, by its number. */
import { partLength } from '#proxy/manifest.ts';
import type { Span } from '../http/ranges.ts';
import type { Content } from './content.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

export interface WantedPart {
  readonly number: number;
  readonly span: Span;
  readonly headers: readonly string[];
}

/** Undefined: none was asked for. @throws S3Error InvalidArgument, InvalidRequest, InvalidPartNumber */
export function wantedPart(request: S3Request, content: Content): WantedPart | undefined {
  const text = request.query.get('partNumber');
  if (text === undefined) return undefined;
  if (request.header('range') !== undefined) {
    throw refuse(
      'InvalidRequest',
      'Cannot specify both Range header and partNumber query parameter',
    );
  }
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > request.service.limits.maxParts) {
    throw refuse(
      'InvalidArgument',
      'Part number must be an integer between 1 and 10000, inclusive',
    );
  }
  const { parts, length } = content;
  // What was not made of parts is its own first one.
  if (parts === undefined) {
    if (number > 1) throw refuse('InvalidPartNumber');
    return { number, span: { start: 0, end: length }, headers: [] };
  }
  if (number > parts.length) throw refuse('InvalidPartNumber');
  let start = 0;
  for (const part of parts.slice(0, number - 1)) start += partLength(part);
  const end = start + partLength(parts[number - 1]!);
  return { number, span: { start, end }, headers: ['x-amz-mp-parts-count', String(parts.length)] };
}
