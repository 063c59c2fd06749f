/**
 * `GET container?versions`: all versions and delete markers, by name, then from the newest to the
 * oldest. `version_marker` goes on within the name that `marker` says. (Forwards only.)
 */
import type { ListQuery } from '#container/calls.ts';
import type { ListedVersion } from '#proxy/versions/contract.ts';
import { refuse } from './errors.ts';
import type { ObjectItem } from './listing-format.ts';
import type { SwiftRequest } from './request.ts';

/** What Swift says of a delete marker, which has no bytes. */
const MARKER = {
  contentType: 'application/x-deleted;swift_versions_deleted=1',
  etag: 'd41d8cd98f00b204e9800998ecf8427e',
} as const;

/** Undefined: there is no such container. */
export async function listVersions(
  request: SwiftRequest,
  query: ListQuery,
): Promise<readonly ObjectItem[] | undefined> {
  if (query.reverse) throw refuse('bad-request', 'versions are not listed in reverse');
  const { limit, prefix, delimiter, marker, endMarker } = query;
  const versionMarker = request.query.get('version_marker') || undefined;
  if (versionMarker !== undefined && marker === undefined) {
    throw refuse('bad-request', 'version_marker param requires marker');
  }
  const page = await request.service.store.listVersions(request, request.containerName, {
    limit,
    ...(prefix !== undefined && { prefix }),
    ...(delimiter !== undefined && { delimiter }),
    ...(marker !== undefined && isAbove(marker, prefix ?? '') && { keyMarker: marker }),
    ...(versionMarker !== undefined && { versionMarker }),
  });
  const items = page?.items.map((item) => ('prefix' in item ? item : versionItem(item)));
  return items?.filter((item) => endMarker === undefined || isAbove(endMarker, nameOf(item)));
}

function versionItem(version: ListedVersion): ObjectItem {
  const { key: name, isMarker, ...facts } = version;
  return { name, ...facts, ...(isMarker && MARKER) };
}

function nameOf(item: ObjectItem): string {
  return 'prefix' in item ? item.prefix : item.name;
}

/** In the order of bytes, which is not that of JavaScript's strings. */
function isAbove(a: string, b: string): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) > 0;
}
