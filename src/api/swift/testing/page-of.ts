/** One page of a listing, from rows in any order: the semantics of ListQuery in plain code. */
import type { ListQuery } from '#container/calls.ts';
import type { Page } from '#proxy/contract.ts';

export function pageOf<Item extends { readonly name: string }>(
  rows: readonly Item[],
  query: ListQuery,
): Page<Item> {
  const { prefix = '', delimiter, marker, endMarker, reverse = false, limit } = query;
  const sorted = [...rows].sort((a, b) => compare(a.name, b.name));
  if (reverse) sorted.reverse();
  const items: (Item | { readonly prefix: string })[] = [];
  let last: string | undefined;
  for (const row of sorted) {
    if (!row.name.startsWith(prefix)) continue;
    if (marker !== undefined && !isAfter(row.name, marker, reverse)) continue;
    if (endMarker !== undefined && !isAfter(endMarker, row.name, reverse)) continue;
    const rolled = delimiter === undefined ? undefined : rollUp(row.name, prefix, delimiter);
    if (rolled !== undefined && (rolled === last || rolled === marker)) continue;
    if (items.length === limit) return { items, truncated: true };
    last = rolled;
    items.push(rolled === undefined ? row : { prefix: rolled });
  }
  return { items, truncated: false };
}

function rollUp(name: string, prefix: string, delimiter: string): string | undefined {
  const at = name.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : name.slice(0, at + delimiter.length);
}

function isAfter(a: string, b: string, reverse: boolean): boolean {
  const order = compare(a, b);
  return reverse ? order < 0 : order > 0;
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
