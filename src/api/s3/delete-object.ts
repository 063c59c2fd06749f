/** DeleteObject: deleting what is not there is no error. */
import type { VersionedName } from '#proxy/contract.ts';
import type { Removal } from '#proxy/versions/contract.ts';
import { authorize, objectName } from './access.ts';
import { type Bucket, noSuchBucket } from './bucket.ts';
import { deleteCondition, type WriteCondition } from './conditions.ts';
import { bypassesGovernance, objectIsLocked } from './object-lock.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { removalHeaders } from './version-headers.ts';
import { versionId } from './version-id.ts';

export async function deleteObject(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:DeleteObject', version);
  const condition = deleteCondition(request);
  const name = objectName(bucket, request.key, version);
  const removal = await remove(request, bucket, name, condition);
  replyEmpty(request, 204, removalHeaders({ versionId: version, ...removal }));
}

/** A version that is not there is as good as deleted, but to who asks what it is. @throws S3Error */
export async function remove(
  request: S3Request,
  bucket: Bucket,
  name: VersionedName,
  condition: WriteCondition | undefined,
): Promise<Removal> {
  const bypassGovernance = await bypassesGovernance(request, bucket, name.object);
  const { store } = request.service;
  const removal = await store.removeObject(request, name, condition, { bypassGovernance });
  if (removal.kind === 'locked') throw objectIsLocked();
  if (removal.kind === 'no-container') throw noSuchBucket(request.bucket);
  const failed =
    removal.kind === 'precondition-failed' ||
    (removal.kind === 'not-found' && condition?.holds(undefined) === false);
  if (failed) throw condition!.failure();
  return removal;
}
