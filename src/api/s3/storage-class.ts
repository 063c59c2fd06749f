/** Storage classes name storage policies: an object has its bucket's, and no other may be asked for. */
import type { StoragePolicy } from '#ring/cluster.ts';
import type { Bucket } from './bucket.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

export const STANDARD = 'STANDARD';

/** @throws S3Error InvalidStorageClass */
export function checkStorageClass(
  request: S3Request,
  bucket: Bucket,
  wanted = request.header('x-amz-storage-class'),
): void {
  if (wanted === undefined || wanted === STANDARD) return;
  if (wanted.toLowerCase() !== bucket.info.policy.name.toLowerCase()) {
    throw refuse('InvalidStorageClass', undefined, { StorageClassRequested: wanted });
  }
}

/** For CreateBucket; undefined: the cluster's default. @throws S3Error InvalidStorageClass */
export function policyOfBucket(request: S3Request): StoragePolicy | undefined {
  const wanted = request.header('x-amz-storage-class');
  if (wanted === undefined || wanted === STANDARD) return undefined;
  const { store } = request.service;
  const found = store.policies().find(({ name }) => name.toLowerCase() === wanted.toLowerCase());
  if (found === undefined) {
    throw refuse('InvalidStorageClass', undefined, { StorageClassRequested: wanted });
  }
  return found;
}
