/** The ACL that a write sets on its object, as a metadata group. */
import { encodeGrants, grantsOfHeaders, ownerIdOf } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import type { Bucket } from './bucket.ts';
import type { S3Request } from './request.ts';

export function aclGroup(
  request: S3Request,
  bucket: Bucket,
): { acl?: Readonly<Record<string, string>> } {
  const grants = grantsOfHeaders(request, ownerIdOf(bucket.account));
  if (grants === undefined) return {};
  return { acl: { grants: encodeGrants(checkGrants(request, bucket, grants)) } };
}
