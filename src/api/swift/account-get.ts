/** GET of an account: its containers. */
import { authorizeAccount } from './access.ts';
import { accountHeaders, emptyAccount } from './account-headers.ts';
import { containerListing, sendListing } from './listing-format.ts';
import { listingQuery, listingType } from './listing-query.ts';
import type { SwiftRequest } from './request.ts';

export async function accountGet(request: SwiftRequest): Promise<void> {
  authorizeAccount(request, 'account-read');
  const type = listingType(request);
  const query = listingQuery(request);
  const page = await request.service.store.listContainers(request, request.account, query);
  const headers = accountHeaders(request, page?.info ?? emptyAccount());
  const items = page?.items ?? [];
  sendListing(request, type, headers, containerListing(type, request.account, items));
}
