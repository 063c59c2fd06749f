/**
 * What an account holds, older versions of its objects too: they are kept in containers of the store's
 * own account (versions/names.ts), so the account's own totals don't know of them. Such a container
 * holds all versions, the current ones among them, so of the two the larger one counts.
 */
import { isUserAccount, userOfAccount } from '#base/names.ts';
import type { ListQuery } from '#container/calls.ts';
import type { AccountInfo, ListedContainer, Page } from './contract.ts';
import { bucketOfParts, PARTS_ACCOUNT, partsContainer } from './multipart/names.ts';
import type { UploadsUnderWay } from './multipart/under-way.ts';
import { VERSIONS_ACCOUNT, versionsContainer } from './versions/names.ts';

export type ListContainers = (
  account: string,
  query: ListQuery,
) => Promise<Page<ListedContainer> | undefined>;

const PAGE = 10_000;
/** Of an account with more the rest is counted by its current versions alone. */
const MAX_CONTAINERS = 100_000;

export async function usageOf(
  account: string,
  totals: AccountInfo,
  list: ListContainers,
): Promise<AccountInfo> {
  // All versions of what a user has written are counted there already.
  if (isUserAccount(account)) return totals;
  const prefix = versionsContainer({ account, container: '' }).container;
  const versions = await bytesByName(list, VERSIONS_ACCOUNT, prefix);
  if (versions.size === 0) return totals;
  const current = await bytesByName(list, account, '');
  let { bytes } = totals;
  for (const [name, held] of versions) bytes += Math.max(0, held - (current.get(name) ?? 0));
  return { ...totals, bytes };
}

/** What is stored of uploads that the account's buckets, or the user, have under way. */
export async function underWayOf(
  account: string,
  uploads: Pick<UploadsUnderWay, 'of'>,
  list: ListContainers,
): Promise<number> {
  const user = userOfAccount(account);
  // The containers of a user's account are named with the accounts they are in.
  const [where, prefix] =
    user === undefined
      ? [PARTS_ACCOUNT, partsContainer({ account, container: '' }).container]
      : [account, `${PARTS_ACCOUNT}/`];
  let sum = 0;
  for (const name of (await bytesByName(list, where, prefix)).keys()) {
    const bucket = user === undefined ? { account, container: name } : bucketOfParts(name);
    if (bucket === undefined) continue;
    const { bytes, byUser } = await uploads.of(bucket);
    sum += user === undefined ? bytes : (byUser.get(user) ?? 0);
  }
  return sum;
}

/** Bytes of containers by what follows the prefix in their names. */
async function bytesByName(
  list: ListContainers,
  account: string,
  prefix: string,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  let marker: string | undefined;
  for (;;) {
    const page = await list(account, {
      limit: PAGE,
      ...(prefix !== '' && { prefix }),
      ...(marker !== undefined && { marker }),
    });
    for (const item of page?.items ?? []) {
      if ('prefix' in item) continue;
      marker = item.name;
      found.set(item.name.slice(prefix.length), item.bytes);
    }
    if (page?.truncated !== true || found.size >= MAX_CONTAINERS) return found;
  }
}
