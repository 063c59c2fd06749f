/** What becomes of uploads when their bucket goes. */
import type { ContainerName } from '#base/names.ts';
import type { Operation, Store } from '../contract.ts';
import { PAGE } from './attempts.ts';
import { partsContainer } from './names.ts';

/** Of a bucket that was deleted. What can't be deleted now is the sweep's. */
export async function abandonUploads(
  store: Store,
  operation: Operation,
  bucket: ContainerName,
): Promise<void> {
  const container = partsContainer(bucket);
  if ((await store.containerInfo(operation, container, false)) === undefined) return;
  const page = await store.listObjects(operation, container, { limit: PAGE });
  for (const item of page?.items ?? []) {
    if (!('prefix' in item))
      await store.deleteObject(operation, { ...container, object: item.name });
  }
  if (page?.truncated !== true) await store.deleteContainer(operation, container);
}
