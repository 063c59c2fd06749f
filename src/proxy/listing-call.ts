/** container.list and account.list: the same call on two rings. */

import type { EntryState } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { ListArgs, ListedRow, ListQuery, ListReply, RowTotals } from '#container/calls.ts';
import { MAX_PAGE } from '#rows/query.ts';
import type { ProxyContext } from './context.ts';
import type { Operation } from './contract.ts';
import { withFreshRing } from './fresh-ring.ts';
import { askNearest } from './nearest.ts';
import { placeOf } from './placement.ts';
import { asListReply } from './replies.ts';
import type { Trace } from './trace.ts';

export type ListingRing = 'container' | 'account';

export const RING_NUMBER = { container: CONTAINER_RING, account: ACCOUNT_RING } as const;

export interface Listing {
  readonly state: EntryState | undefined;
  readonly totals: RowTotals;
  readonly items: readonly (ListedRow | string)[];
  readonly truncated: boolean;
}

/**
 * One page. Replies are cut at some megabytes; a page that long names make longer is put together
 * from several, for there are clients that take a short page for the last one.
 * @throws OperatingError `unavailable`
 */
export async function callList(
  context: ProxyContext,
  operation: Operation,
  trace: Trace,
  ring: ListingRing,
  path: string,
  query: ListQuery,
): Promise<Listing> {
  let listing = await withFreshRing(context, () =>
    callOnce(context, operation, trace, ring, path, query),
  );
  for (let calls = 1; calls < MAX_CALLS; calls++) {
    const last = listing.items.at(-1);
    const left = Math.min(query.limit, MAX_PAGE) - listing.items.length;
    if (!listing.truncated || left <= 0 || last === undefined || typeof last === 'string') break;
    const rest = { ...query, marker: last[0], limit: left };
    const more = await callOnce(context, operation, trace, ring, path, rest);
    listing = { ...more, items: [...listing.items, ...more.items] };
  }
  return listing;
}

async function callOnce(
  context: ProxyContext,
  operation: Operation,
  trace: Trace,
  ring: ListingRing,
  path: string,
  query: ListQuery,
): Promise<Listing> {
  const place = placeOf(context.cluster.current(), RING_NUMBER[ring], path);
  const read = operation.read === 'nearest' ? 'nearest' : 'quorum';
  const reply = await askNearest(context, {
    place,
    what: `${ring} listing`,
    accepts: (answer: ListReply) => read === 'nearest' || answer.complete,
    ask: async (replica) => {
      const { hash, ringVersion } = place;
      const args: ListArgs = { device: replica.device, hash, path, ringVersion, query, read };
      const { result } = await context.calls.call(trace, replica, `${ring}.list`, args, {
        ringVersion,
        deadlineMs: context.limits.readDeadlineMs,
        ...(query.limit > BULK_ROWS && { lane: 'bulk' as const }),
      });
      return asListReply(result);
    },
  });
  const { state, totals, items, truncated } = reply;
  return { state: state === null ? undefined : decodeState(state), totals, items, truncated };
}

const BULK_ROWS = 500;
const MAX_CALLS = 8;
