/**
 * `path=`, the older way to walk pseudo-directories: the objects right below a path, without the
 * rolled-up names, but with the objects that stand for directories themselves (`photos/2024/`).
 */
import type { ListQuery } from '#container/calls.ts';
import type { ContainerInfo, Found, ListedObject, Page } from '#proxy/contract.ts';
import type { SwiftRequest } from './request.ts';

type Listing = Page<ListedObject> & { info: ContainerInfo };

/** Pages asked for until one answer is full: a path may have many directories and few objects. */
const MAX_ROUNDS = 20;

export async function listPath(
  request: SwiftRequest,
  path: string,
  query: ListQuery,
): Promise<Found<Listing>> {
  const prefix = path === '' ? '' : `${path.replace(/\/+$/, '')}/`;
  const items: ListedObject[] = [];
  let marker = query.marker;
  for (let round = 1; ; round++) {
    const wanted = { ...query, prefix, delimiter: '/', marker, limit: query.limit - items.length };
    const page = await request.service.store.listObjects(request, request.containerName, wanted);
    if (page === undefined) return undefined;
    for (const item of page.items) {
      const object = 'prefix' in item ? await directoryObject(request, item.prefix) : item;
      if (object !== undefined && object.name !== prefix) items.push(object);
      marker = 'prefix' in item ? item.prefix : item.name;
    }
    const done = !page.truncated || page.items.length === 0 || items.length >= query.limit;
    if (done || round === MAX_ROUNDS) return { ...page, items };
  }
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
