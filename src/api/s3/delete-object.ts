/** DeleteObject: deleting what is not there is no error. */
import { authorize, objectName } from './access.ts';
import { noSuchBucket } from './bucket.ts';
import { deleteCondition } from './conditions.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { versionId } from './version-id.ts';

export async function deleteObject(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:DeleteObject');
  const version = versionId(request);
  const condition = deleteCondition(request);
  const name = objectName(bucket, request.key);
  const outcome = await request.service.store.deleteObject(request, name, condition);
  if (outcome === 'no-container') throw noSuchBucket(request.bucket);
  if (outcome === 'precondition-failed') throw condition!.failure();
  replyEmpty(request, 204, version === undefined ? [] : ['x-amz-version-id', version]);
}
