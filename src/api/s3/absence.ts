/** Only who may list a bucket is told that a key is not there; others get 403 either way. */
import { mayDo } from './access.ts';
import type { Bucket } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';

export function mayBeTold(request: S3Request, bucket: Bucket, absence: S3Error): S3Error {
  return mayDo(request, bucket, 's3:ListBucket') ? absence : refuse('AccessDenied');
}
