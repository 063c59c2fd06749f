/** Versions of a bucket by whole keys: what was replaced when is told by the version before it. */
import type { ContainerName } from '#base/names.ts';
import type { Operation } from '../contract.ts';
import type { ListedVersion, VersionedStore } from '../versions/contract.ts';

export interface KeyPage {
  /** All versions of each key, newest first. */
  readonly keys: readonly (readonly ListedVersion[])[];
  /** The last key; undefined: there are no more. */
  readonly last: string | undefined;
}

export async function versionsByKey(
  store: VersionedStore,
  operation: Operation,
  bucket: ContainerName,
  query: { readonly limit: number; readonly prefix: string; readonly after: string },
): Promise<KeyPage> {
  const { limit, prefix, after } = query;
  const found: ListedVersion[] = [];
  let truncated = true;
  // On until there is a whole key: one may have more versions than a page.
  while (truncated && found[0]?.key === found.at(-1)?.key) {
    const last = found.at(-1);
    const page = await store.listVersions(operation, bucket, {
      limit,
      ...(prefix !== '' && { prefix }),
      ...(last === undefined
        ? after !== '' && { keyMarker: after }
        : { keyMarker: last.key, versionMarker: last.versionId }),
    });
    const items = (page?.items ?? []).flatMap((item) => ('prefix' in item ? [] : [item]));
    found.push(...items);
    truncated = page?.truncated === true && items.length > 0;
  }
  const keys = grouped(found);
  if (truncated) keys.pop();
  return { keys, last: truncated ? keys.at(-1)?.[0]?.key : undefined };
}

function grouped(versions: readonly ListedVersion[]): ListedVersion[][] {
  const keys: ListedVersion[][] = [];
  for (const version of versions) {
    const present = keys.at(-1);
    if (present?.[0]?.key === version.key) present.push(version);
    else keys.push([version]);
  }
  return keys;
}
