/**
 * The Range header (RFC 9110, 14.2). A header that is not well formed is as good as none; ranges
 * that lie outside are left out; none left is 416. Requests that ask for very many or for the same
 * bytes again and again are refused like unsatisfiable ones: they cost much and serve nobody.
 */
export interface Span {
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
}

const MAX_RANGES = 50;
const MAX_OVERLAPS = 2;
const MAX_DISORDER = 8;
const SPEC = /^\s*(?:(\d+)-(\d*)|-(\d+))\s*$/;

/** Undefined: no range counts, send everything. Empty: nothing can be satisfied. */
export function parseRange(header: string | undefined, length: number): Span[] | undefined {
  if (header === undefined || !/^bytes=/i.test(header)) return undefined;
  const specs = header.slice('bytes='.length).split(',');
  const spans: Span[] = [];
  for (const spec of specs) {
    const match = SPEC.exec(spec);
    if (match === null) return undefined;
    const [, first, last, suffix] = match;
    if (first !== undefined && last && Number(last) < Number(first)) return undefined;
    const span = spanOf(first, last, suffix, length);
    if (span !== undefined) spans.push(span);
  }
  return abusive(specs.length, spans) ? [] : spans;
}

function spanOf(
  first: string | undefined,
  last: string | undefined,
  suffix: string | undefined,
  length: number,
): Span | undefined {
  if (suffix !== undefined) {
    const start = Math.max(0, length - Number(suffix));
    return start < length ? { start, end: length } : undefined;
  }
  const start = Number(first);
  const end = last ? Math.min(Number(last) + 1, length) : length;
  return start < end ? { start, end } : undefined;
}

function abusive(count: number, spans: readonly Span[]): boolean {
  if (count > MAX_RANGES) return true;
  let overlaps = 0;
  let disorder = 0;
  for (let i = 1; i < spans.length; i++) {
    const span = spans[i]!;
    if (span.start < spans[i - 1]!.start) disorder += 1;
    if (spans.slice(0, i).some((other) => span.start < other.end && other.start < span.end)) {
      overlaps += 1;
    }
  }
  return overlaps > MAX_OVERLAPS || disorder > MAX_DISORDER;
}

export function contentRange(span: Span, length: number): string {
  return `bytes ${span.start}-${span.end - 1}/${length}`;
}

export function unsatisfied(length: number): string {
  return `bytes */${length}`;
}
