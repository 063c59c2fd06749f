/**
 * `path=`, the older way to walk pseudo-directories: the objects right below a path, without the
 * rolled-up names, but with the objects that stand for directories themselves (`photos/2024/`).
 */
import type { ListQuery } from '#container/calls.ts';
import type { ContainerInfo, Found, ListedObject, Page } from '#proxy/contract.ts';
import { parallel } from '../http/parallel.ts';
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

type Listing = Page<ListedObject> & { info: ContainerInfo };

export async function listPath(
  request: SwiftRequest,
  path: string,
  query: ListQuery,
): Promise<Found<Listing>> {
  const prefix = path === '' ? '' : `${path.replace(/\/+$/, '')}/`;
  const items: ListedObject[] = [];
  let marker = query.marker;
  let lookups = 0;
  for (;;) {
    const wanted = { ...query, prefix, delimiter: '/', marker, limit: query.limit - items.length };
    const page = await request.service.store.listObjects(request, request.containerName, wanted);
    if (page === undefined) return undefined;
    lookups += page.items.filter((item) => 'prefix' in item).length;
    if (lookups > request.service.limits.maxPathLookups) {
      throw refuse('precondition-failed', 'Too many directories below the path: use delimiter');
    }
    const objects = await objectsOf(request, page.items);
    items.push(...objects.filter((object) => object.name !== prefix));
    const last = page.items.at(-1);
    if (last === undefined || !page.truncated || items.length >= query.limit) {
      return { ...page, items };
    }
    marker = 'prefix' in last ? last.prefix : last.name;
  }
}

/** In order: the objects themselves, and those that stand for a rolled-up name. */
async function objectsOf(
  request: SwiftRequest,
  items: Listing['items'],
): Promise<readonly ListedObject[]> {
  const found: (ListedObject | undefined)[] = [];
  await parallel(items.entries(), request.service.limits.bulkConcurrency, async ([i, item]) => {
    found[i] = 'prefix' in item ? await directoryObject(request, item.prefix) : item;
  });
  return found.filter((object) => object !== undefined);
}

/** The object whose name is the rolled-up name itself, if there is one. */
async function directoryObject(
  request: SwiftRequest,
  name: string,
): Promise<ListedObject | undefined> {
  const query = { limit: 1, prefix: name };
  const page = await request.service.store.listObjects(request, request.containerName, query);
  const [first] = page?.items ?? [];
  return first !== undefined && 'name' in first && first.name === name ? first : undefined;
}
