/**
 * Whose an object is, and what the ACL of its write grants, as metadata groups. What another project
 * writes is its writer's (group `owner`: the canonical id), where ACLs count and the bucket's owner does
 * not take it over: the writer reads it and its ACL, and may set that. The bucket's owner may all the
 * same do everything with it: the account, its bytes and its quota are theirs, through Swift, too.
 */
import type { EntryState } from '#base/entry.ts';
import { encodeGrants, grantsOfCanned, type Owners, ownerIdOf } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import { type Bucket, ownAccount } from './bucket.ts';
import { acceptsAcls, ownershipOf } from './bucket-rules.ts';
import { grantsOfHeaders } from './given-grants.ts';
import type { S3Request } from './request.ts';

interface AccessGroups {
  acl?: Readonly<Record<string, string>>;
  owner?: Readonly<Record<string, string>>;
}

/** @throws S3Error */
export function accessGroups(request: S3Request, bucket: Bucket): AccessGroups {
  const canned = request.said('x-amz-acl');
  const bucketOwner = ownerIdOf(bucket.account);
  const writer = writerOf(request, bucket, canned);
  const owners = { own: writer ?? bucketOwner, bucket: bucketOwner };
  const grants = grantsOfHeaders(request, owners);
  if (grants !== undefined) checkGrants(bucket, grants, canned);
  if (writer === undefined) {
    return grants === undefined ? {} : { acl: { grants: encodeGrants(grants) } };
  }
  const given = grants ?? grantsOfCanned('private', owners);
  return { acl: { grants: encodeGrants(given) }, owner: { id: writer } };
}

/** Undefined: the bucket's owner has it. */
function writerOf(
  request: S3Request,
  bucket: Bucket,
  canned: string | undefined,
): string | undefined {
  const account = ownAccount(request);
  if (account === undefined || account === bucket.account || !acceptsAcls(bucket)) return undefined;
  const isGiven =
    ownershipOf(bucket) === 'BucketOwnerPreferred' && canned === 'bucket-owner-full-control';
  return isGiven ? undefined : ownerIdOf(account);
}

/** Of an object that is there. */
export function ownersOf(bucket: Bucket, state: EntryState | undefined): Owners {
  const bucketOwner = ownerIdOf(bucket.account);
  const writer = acceptsAcls(bucket) ? state?.groups['owner']?.values['id'] : undefined;
  return { own: writer ?? bucketOwner, bucket: bucketOwner };
}
