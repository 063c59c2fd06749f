/** Sets and clears headers of a bucket's container, where its configurations stand. */
import type { HeaderChanges } from '#proxy/contract.ts';
import { type Bucket, noSuchBucket } from './bucket.ts';
import type { S3Request } from './request.ts';

export async function configure(
  request: S3Request,
  bucket: Bucket,
  changes: HeaderChanges,
): Promise<void> {
  const outcome = await request.service.store.updateContainer(request, bucket, changes);
  if (outcome === 'no-container') throw noSuchBucket(bucket.container);
}
