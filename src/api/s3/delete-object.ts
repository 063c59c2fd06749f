/** DeleteObject: deleting what is not there is no error. */
import { authorize, objectName } from './access.ts';
import { noSuchBucket } from './bucket.ts';
import { deleteCondition } from './conditions.ts';
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
  const bypassGovernance = await bypassesGovernance(request, bucket, request.key);
  const { store } = request.service;
  const removal = await store.removeObject(request, name, condition, { bypassGovernance });
  if (removal.kind === 'locked') throw objectIsLocked();
  if (removal.kind === 'no-container') throw noSuchBucket(request.bucket);
  if (removal.kind === 'precondition-failed') throw condition!.failure();
  replyEmpty(request, 204, removalHeaders({ versionId: version, ...removal }));
}
