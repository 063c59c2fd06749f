/** Whether a bucket takes an ACL: its ownership and its access block may be against it. */
import { type Grant, isPublicGrantee } from './acl.ts';
import type { Bucket } from './bucket.ts';
import { acceptsAcls, isBlocked } from './bucket-rules.ts';
import { refuse } from './errors.ts';

/** `canned`: the ACL's name, if it has one. @throws S3Error AccessControlListNotSupported, AccessDenied */
export function checkGrants(
  bucket: Bucket,
  grants: readonly Grant[],
  canned: string | undefined,
): readonly Grant[] {
  // What only says that the owner owns it is taken from everybody.
  const harmless = canned === 'bucket-owner-full-control' || canned === 'private';
  if (!acceptsAcls(bucket) && !harmless) throw refuse('AccessControlListNotSupported');
  const isPublic = grants.some(({ grantee }) => isPublicGrantee(grantee));
  if (isPublic && isBlocked(bucket, 'BlockPublicAcls')) throw refuse('AccessDenied');
  return grants;
}
