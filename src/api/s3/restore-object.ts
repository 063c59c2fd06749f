/** RestoreObject: nothing here is ever archived, so there is nothing to restore. */
import { authorize, objectName } from './access.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';
import { isMarker, notFound, versionId } from './version-id.ts';

export async function restoreObject(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:RestoreObject');
  const name = objectName(bucket, request.key, version);
  const state = await request.service.store.statObject(request, name);
  if (state === undefined || isMarker(state)) throw await notFound(request, bucket, name);
  throw refuse(
    'InvalidObjectState',
    "Restore is not allowed for the object's current storage class",
  );
}
