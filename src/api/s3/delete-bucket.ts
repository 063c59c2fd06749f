/** DeleteBucket: empty ones only; what uploads left behind goes with it, the name is free again. */
import { messageOf } from '#base/errors.ts';
import { abandonUploads } from '#proxy/multipart/abandon.ts';
import { authorize } from './access.ts';
import { noSuchBucket } from './bucket.ts';
import { refuse } from './errors.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';

export async function deleteBucket(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:DeleteBucket');
  const { service } = request;
  const { store, names } = service;
  const outcome = await store.deleteContainer(request, bucket);
  if (outcome === 'no-container') throw noSuchBucket(request.bucket);
  if (outcome === 'not-empty') {
    throw refuse('BucketNotEmpty', undefined, { BucketName: request.bucket });
  }
  await abandonUploads(store, request, bucket);
  await names.release(bucket.container, bucket.account).catch((error: unknown) => {
    // The bucket is gone all the same; its name is freed as soon as state is back.
    service.env.log.warn('bucket.release-waits', {
      name: bucket.container,
      error: messageOf(error),
    });
    names.deleted(bucket.container, bucket.account);
  });
  replyEmpty(request, 204);
}
