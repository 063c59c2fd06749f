/** Retention and legal hold: of buckets without object lock, which is what all buckets are so far. */
import { authorize, objectName } from './access.ts';
import { noSuchKey } from './bucket.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

async function withoutLock(request: S3Request, action: `s3:${string}`): Promise<never> {
  const bucket = await authorize(request, action);
  const state = await request.service.store.statObject(request, objectName(bucket, request.key));
  if (state === undefined) throw noSuchKey(request.key);
  throw refuse('InvalidRequest', 'Bucket is missing Object Lock Configuration');
}

export async function getObjectRetention(request: S3Request): Promise<void> {
  await withoutLock(request, 's3:GetObjectRetention');
}

export async function putObjectRetention(request: S3Request): Promise<void> {
  await withoutLock(request, 's3:PutObjectRetention');
}

export async function getObjectLegalHold(request: S3Request): Promise<void> {
  await withoutLock(request, 's3:GetObjectLegalHold');
}

export async function putObjectLegalHold(request: S3Request): Promise<void> {
  await withoutLock(request, 's3:PutObjectLegalHold');
}
