/** GetBucketTagging, PutBucketTagging, DeleteBucketTagging. */
import type { HeaderChanges } from '#proxy/contract.ts';
import { authorize } from './access.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { type Tags, tagSetXml, tagsOfXml } from './tags.ts';
import { document } from './xml.ts';
import { readXml } from './xml-reader.ts';

const TAGS_HEADER = 's3-tagging';
export const MAX_BUCKET_TAGS = 50;

/** How a bucket keeps them. */
export function tagsHeader(tags: Tags): HeaderChanges {
  return { [TAGS_HEADER]: JSON.stringify(Object.entries(tags)) };
}

export async function getBucketTagging(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketTagging');
  const stored = bucket.info.headers[TAGS_HEADER];
  if (stored === undefined) throw refuse('NoSuchTagSet', undefined, { BucketName: request.bucket });
  const pairs = JSON.parse(stored) as [string, string][];
  replyXml(request, document('Tagging', tagSetXml(Object.fromEntries(pairs))));
}

export async function putBucketTagging(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketTagging');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const tags = tagsOfXml(readXml(body, 'Tagging'), MAX_BUCKET_TAGS);
  // A set without tags is none.
  const isNone = Object.keys(tags).length === 0;
  await configure(request, bucket, isNone ? { [TAGS_HEADER]: null } : tagsHeader(tags));
  // As the reference says; S3 itself answers 204, which minio's client takes for an error.
  replyEmpty(request, 200);
}

export async function deleteBucketTagging(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketTagging');
  await configure(request, bucket, { [TAGS_HEADER]: null });
  replyEmpty(request, 204);
}
