/** GET of a container: a page of its objects. */
import { authorize } from './access.ts';
import { containerHeaders } from './container-headers.ts';
import { objectListing, sendListing } from './listing-format.ts';
import { listingQuery, listingType } from './listing-query.ts';
import { listPath } from './path-listing.ts';
import { replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function containerGet(request: SwiftRequest): Promise<void> {
  await authorize(request, 'list');
  const type = listingType(request);
  const query = listingQuery(request);
  const name = request.containerName;
  const path = request.query.get('path');
  const page =
    path === undefined
      ? await request.service.store.listObjects(request, name, query)
      : await listPath(request, path, query);
  if (page === undefined) return replyNotFound(request);
  const headers = containerHeaders(request, page.info);
  sendListing(request, type, headers, objectListing(type, name.container, page.items));
}
