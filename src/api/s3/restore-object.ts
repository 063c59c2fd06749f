/** RestoreObject: nothing here is ever archived, so there is nothing to restore. */
import { authorize, objectName } from './access.ts';
import { noSuchKey } from './bucket.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

export async function restoreObject(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:RestoreObject');
  const state = await request.service.store.statObject(request, objectName(bucket, request.key));
  if (state === undefined) throw noSuchKey(request.key);
  throw refuse(
    'InvalidObjectState',
    "Restore is not allowed for the object's current storage class",
  );
}
