/** GetBucketAcl, PutBucketAcl. */
import { ACL_HEADER, authorize } from './access.ts';
import { decodeGrants, encodeGrants, ownerIdOf } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import { aclXml } from './acl-xml.ts';
import { acceptsAcls } from './bucket-rules.ts';
import { configure } from './configure.ts';
import { grantsOfRequest } from './given-grants.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document } from './xml.ts';

export async function getBucketAcl(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketAcl');
  const stored = acceptsAcls(bucket) ? bucket.info.headers[ACL_HEADER] : undefined;
  const grants = stored === undefined ? undefined : decodeGrants(stored);
  const xml = aclXml(request, ownerIdOf(bucket.account), grants);
  replyXml(request, document('AccessControlPolicy', xml));
}

export async function putBucketAcl(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketAcl');
  const owner = ownerIdOf(bucket.account);
  const grants = await grantsOfRequest(request, { own: owner, bucket: owner });
  checkGrants(bucket, grants, request.header('x-amz-acl'));
  await configure(request, bucket, { [ACL_HEADER]: encodeGrants(grants) });
  replyEmpty(request, 200);
}
