/** GetBucketAcl, PutBucketAcl. */
import { ACL_HEADER, authorize } from './access.ts';
import { aclXml, decodeGrants, encodeGrants, ownerIdOf } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import { noSuchBucket } from './bucket.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { grantsOfRequest } from './wanted-grants.ts';
import { document } from './xml.ts';

export async function getBucketAcl(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketAcl');
  const stored = bucket.info.headers[ACL_HEADER];
  const grants = stored === undefined ? undefined : decodeGrants(stored);
  replyXml(request, document('AccessControlPolicy', aclXml(ownerIdOf(bucket.account), grants)));
}

export async function putBucketAcl(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketAcl');
  const grants = await grantsOfRequest(request, ownerIdOf(bucket.account));
  const changes = { [ACL_HEADER]: encodeGrants(checkGrants(request, bucket, grants)) };
  const outcome = await request.service.store.updateContainer(request, bucket, changes);
  if (outcome === 'no-container') throw noSuchBucket(request.bucket);
  replyEmpty(request, 200);
}
