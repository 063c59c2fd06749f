/**
 * Where a bucket is said to be. Every bucket is at all sites; what its creator asked for is told again,
 * because clients compare it, and sign for it.
 */
import type { Bucket } from './bucket.ts';
import type { S3Request } from './request.ts';

export const LOCATION_HEADER = 's3-location';

/** Buckets of one listing that are looked up at once. */
const CONCURRENT = 16;

/** Those that are said to be in this region, in their order. */
export async function inRegion<Item extends { readonly name: string }>(
  request: S3Request,
  account: string,
  items: readonly Item[],
  region: string,
): Promise<Item[]> {
  const { store, region: own } = request.service;
  const found: Item[] = [];
  for (let at = 0; at < items.length; at += CONCURRENT) {
    const batch = items.slice(at, at + CONCURRENT);
    const infos = await Promise.all(
      batch.map(({ name }) => store.containerInfo(request, { account, container: name }, false)),
    );
    found.push(...batch.filter((_, i) => (infos[i]?.headers[LOCATION_HEADER] || own) === region));
  }
  return found;
}

/** Empty where nobody asked for one: us-east-1, the one that every client takes without asking again. */
export function locationOf({ info }: Bucket): string {
  return info.headers[LOCATION_HEADER] ?? '';
}

/** A header; without a wish it is the site that is asked. */
export function regionHeader({ service }: S3Request, bucket: Bucket): string[] {
  return ['x-amz-bucket-region', locationOf(bucket) || service.region];
}
