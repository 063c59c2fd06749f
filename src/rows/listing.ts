/**
 * The walk of one listing over ordered names. Every question becomes a half-open range [low, high) of
 * UTF-8 bytes; a delimiter's roll-up continues after all names that share the common prefix, so the
 * cost follows what is returned, not what is stored.
 *
 * As in Swift: marker and end marker compare with names; the common prefix that equals the marker is
 * not repeated, one that the marker lies inside is; a common prefix counts as one item.
 */
import { type ListedRow, type Listing, type ListQuery, MAX_PAGE } from './query.ts';

/** Rows with low <= name < high, ascending or (reverse) descending, at most `limit`. */
export type Scan = (low: Buffer, high: Buffer, reverse: boolean, limit: number) => ListedRow[];

/** A page is one message: one of the longest names and types would be larger than the wire carries. */
export const MAX_PAGE_BYTES = 6 * 1024 * 1024;
/** Numbers, lengths and etag of one row, at most, in msgpack. */
const ROW_OVERHEAD_BYTES = 80;

/** The same page, shortened to what one message carries; at least one item stays. */
export function cutPage(page: Listing, maxBytes = MAX_PAGE_BYTES): Listing {
  const estimate = page.items.reduce(
    (sum, item) => sum + ROW_OVERHEAD_BYTES + 3 * lengthOf(item),
    0,
  );
  if (estimate <= maxBytes) return page;
  let bytes = 0;
  const end = page.items.findIndex((item, i) => {
    bytes += ROW_OVERHEAD_BYTES + bytesOf(item);
    return bytes > maxBytes && i > 0;
  });
  return end < 0 ? page : { items: page.items.slice(0, end), truncated: true };
}

function lengthOf(item: ListedRow | string): number {
  return typeof item === 'string' ? item.length : item[0].length + item[3].length + item[4].length;
}

function bytesOf(item: ListedRow | string): number {
  if (typeof item === 'string') return Buffer.byteLength(item);
  return Buffer.byteLength(item[0]) + item[3].length + Buffer.byteLength(item[4]);
}

/** Above every name: no UTF-8 text has this byte. */
const END = Buffer.from([0xff]);
/** Rows read after a roll-up: the next common prefix is probably one row away. */
const FIRST_CHUNK = 2;

interface Range {
  low: Buffer;
  high: Buffer;
}

export function listRows(query: ListQuery, scan: Scan): Listing {
  const limit = Math.min(query.limit, MAX_PAGE);
  const range = rangeOf(query);
  if (limit <= 0 || Buffer.compare(range.low, range.high) >= 0)
    return { items: [], truncated: false };
  if (!query.delimiter) {
    const rows = scan(range.low, range.high, query.reverse === true, limit + 1);
    const truncated = rows.length > limit;
    if (truncated) rows.pop();
    return { items: rows, truncated };
  }
  return rollUp(query, query.delimiter, range, limit, scan);
}

function rangeOf(query: ListQuery): Range {
  const { prefix, reverse } = query;
  const after = reverse ? query.endMarker : query.marker;
  const before = reverse ? query.marker : query.endMarker;
  const range: Range = { low: Buffer.from([0]), high: END };
  if (prefix) {
    range.low = Buffer.from(prefix);
    range.high = afterPrefix(range.low);
  }
  if (after) range.low = larger(range.low, justAfter(Buffer.from(after)));
  if (before) range.high = smaller(range.high, Buffer.from(before));
  return range;
}

function rollUp(
  query: ListQuery,
  delimiter: string,
  range: Range,
  limit: number,
  scan: Scan,
): Listing {
  const reverse = query.reverse === true;
  const items: (ListedRow | string)[] = [];
  let chunk = FIRST_CHUNK;
  for (;;) {
    const rows = scan(range.low, range.high, reverse, Math.min(chunk, limit + 1));
    const rolled = takeChunk(rows, query, delimiter, limit, items);
    if (items.length > limit) {
      items.pop();
      return { items, truncated: true };
    }
    if (rolled !== undefined) {
      skipPast(range, Buffer.from(rolled), reverse);
      chunk = FIRST_CHUNK;
    } else if (rows.length < Math.min(chunk, limit + 1)) {
      return { items, truncated: false };
    } else {
      skipRow(range, Buffer.from(rows.at(-1)![0]), reverse);
      chunk *= 4;
    }
    if (Buffer.compare(range.low, range.high) >= 0) return { items, truncated: false };
  }
}

/** Adds rows up to the first common prefix, which it returns, or until one item more than the page. */
function takeChunk(
  rows: readonly ListedRow[],
  query: ListQuery,
  delimiter: string,
  limit: number,
  items: (ListedRow | string)[],
): string | undefined {
  const from = query.prefix?.length ?? 0;
  for (const row of rows) {
    const at = row[0].indexOf(delimiter, from);
    if (at < 0) items.push(row);
    else {
      const common = row[0].slice(0, at + delimiter.length);
      if (common !== query.marker) items.push(common);
      return common;
    }
    if (items.length > limit) return undefined;
  }
  return undefined;
}

function skipPast(range: Range, common: Buffer, reverse: boolean): void {
  if (reverse) range.high = smaller(range.high, common);
  else range.low = larger(range.low, afterPrefix(common));
}

function skipRow(range: Range, name: Buffer, reverse: boolean): void {
  if (reverse) range.high = name;
  else range.low = justAfter(name);
}

/** The smallest bytes above every name that starts with `prefix`: its last byte is never 0xff. */
function afterPrefix(prefix: Buffer): Buffer {
  const bytes = Buffer.from(prefix);
  bytes[bytes.length - 1]! += 1;
  return bytes;
}

/** The smallest bytes above `name`. */
function justAfter(name: Buffer): Buffer {
  return Buffer.concat([name, Buffer.from([0])]);
}

function larger(a: Buffer, b: Buffer): Buffer {
  return Buffer.compare(a, b) >= 0 ? a : b;
}

function smaller(a: Buffer, b: Buffer): Buffer {
  return Buffer.compare(a, b) <= 0 ? a : b;
}
