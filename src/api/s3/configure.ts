/** Sets and clears headers of a bucket's container, where its configurations stand. */
import type { HeaderChanges } from '#proxy/contract.ts';
import { type Bucket, noSuchBucket } from './bucket.ts';
import type { S3Request } from './request.ts';

/**
 * The same for what decides how objects are written: it is answered when every proxy knows of it, for a
 * write that still went by the old configuration would be one without a version, or without a lock.
 */
export async function configureWrites(
  request: S3Request,
  bucket: Bucket,
  changes: HeaderChanges,
): Promise<void> {
  await configure(request, bucket, changes);
  const { env, limits } = request.service;
  await env.clock.sleep(limits.bucketSettleMs, request.signal);
}

export async function configure(
  request: S3Request,
  bucket: Bucket,
  changes: HeaderChanges,
): Promise<void> {
  const outcome = await request.service.store.updateContainer(request, bucket, changes);
  if (outcome === 'no-container') throw noSuchBucket(bucket.container);
}
