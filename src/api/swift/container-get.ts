/** GET of a container: a page of its objects. */
import type { ListQuery } from '#container/calls.ts';
import { authorize } from './access.ts';
import { containerHeaders } from './container-headers.ts';
import { objectListing, sendListing } from './listing-format.ts';
import { type ListingType, listingQuery, listingType } from './listing-query.ts';
import { listPath } from './path-listing.ts';
import { replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { listVersions } from './version-listing.ts';

export async function containerGet(request: SwiftRequest): Promise<void> {
  await authorize(request, 'list');
  const type = listingType(request);
  const query = listingQuery(request);
  const name = request.containerName;
  if (request.query.has('versions')) return await getVersions(request, type, query);
  const path = request.query.get('path');
  const page =
    path === undefined
      ? await request.service.store.listObjects(request, name, query)
      : await listPath(request, path, query);
  if (page === undefined) return replyNotFound(request);
  const headers = containerHeaders(request, page.info);
  sendListing(request, type, headers, objectListing(type, name.container, page.items));
}

async function getVersions(
  request: SwiftRequest,
  type: ListingType,
  query: ListQuery,
): Promise<void> {
  const name = request.containerName;
  const info = await request.service.store.containerInfo(request, name, true);
  const items = info && (await listVersions(request, query));
  if (items === undefined) return replyNotFound(request);
  sendListing(
    request,
    type,
    containerHeaders(request, info!),
    objectListing(type, name.container, items),
  );
}
