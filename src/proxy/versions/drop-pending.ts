/**
 * What writes that were broken off have left among the versions of a container, before it is deleted: no
 * version of it is shown, so what is there was never current. Younger ones may still become it.
 */
import type { ContainerName } from '#base/names.ts';
import type { Operation } from '../contract.ts';
import type { Keeping } from './keeping.ts';

const YOUNG_MICROS = 900_000_000;
const PAGE = 1000;
/** What more there is goes with the next attempt. */
const MAX_PAGES = 100;

export async function dropPending(
  { store, env }: Keeping,
  operation: Operation,
  container: ContainerName,
): Promise<void> {
  const before = env.clock.wallMicros() - YOUNG_MICROS;
  let marker: string | undefined;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await store.listObjects(operation, container, {
      limit: PAGE,
      ...(marker !== undefined && { marker }),
    });
    for (const item of page?.items ?? []) {
      if ('prefix' in item) continue;
      marker = item.name;
      if (item.clientMicros > before) continue;
      await store.deleteObject(operation, { ...container, object: item.name });
    }
    if (page?.truncated !== true) return;
  }
}
