/**
 * What an account holds, older versions of its objects too: they are kept in containers of the store's
 * own account (versions/names.ts), so the account's own totals don't know of them. Such a container
 * holds all versions, the current ones among them, so of the two the larger one counts.
 */
import { isUserAccount } from '#base/names.ts';
import type { ListQuery } from '#container/calls.ts';
import type { AccountInfo, ListedContainer, Page } from './contract.ts';
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
