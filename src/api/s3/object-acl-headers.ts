/** The ACL that a write sets on its object, as a metadata group. */
import { encodeGrants, grantsOfHeaders, ownerIdOf } from './acl.ts';
import type { Bucket } from './bucket.ts';
import type { S3Request } from './request.ts';

export function aclGroup(
  request: S3Request,
  bucket: Bucket,
): { acl?: Readonly<Record<string, string>> } {
  const grants = grantsOfHeaders(request, ownerIdOf(bucket.account));
  return grants === undefined ? {} : { acl: { grants: encodeGrants(grants) } };
}
