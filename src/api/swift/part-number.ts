/** `?part-number=N`: one part of a static large object, as S3's clients ask for it. */
import { type ManifestPart, partLength } from '#proxy/manifest.ts';
import type { Span } from '../http/ranges.ts';
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

/** @throws Refusal 400 */
export function partNumber(request: SwiftRequest): number | undefined {
  const text = request.query.get('part-number');
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text) || Number(text) === 0) {
    throw refuse('bad-request', 'Part number must be an integer greater than 0');
  }
  if (request.header('range') !== undefined) {
    throw refuse('bad-request', 'Range requests are not supported with part number queries');
  }
  return Number(text);
}

/** @throws Refusal 416 where there is no such part */
export function partSpan(parts: readonly ManifestPart[], number: number): Span {
  const part = parts[number - 1];
  if (part === undefined) throw refuse('range-not-satisfiable');
  let start = 0;
  for (const before of parts.slice(0, number - 1)) start += partLength(before);
  return { start, end: start + partLength(part) };
}
