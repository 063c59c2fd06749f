/** Only who may list a bucket is told that a key is not there; others get 403 either way. */
import { isAllowed } from './access.ts';
import type { Bucket } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';

export async function mayBeTold(
  request: S3Request,
  bucket: Bucket,
  absence: S3Error,
): Promise<S3Error> {
  return (await isAllowed(request, bucket, 's3:ListBucket', '')) ? absence : refuse('AccessDenied');
}
