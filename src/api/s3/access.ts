/**
 * May this caller do this? Asked in this order:
 *
 * 1. The bucket's policy: what it denies nobody may (its owners may still change the policy), what it
 *    allows is allowed.
 * 2. The owners of the bucket's account may everything; whom a Swift ACL of the container names may what
 *    that says, the same objects being behind both APIs.
 * 3. S3's ACLs of bucket and object, unless the bucket's ownership or access block switch them off.
 *
 * Only a caller whom nothing else allowed, or a policy about tags, costs a look at the object.
 */
import { type AclOperation, decide } from '#auth/acl.ts';
import { evaluate } from '#auth/policy/policy.ts';
import type { EntryState } from '#base/entry.ts';
import type { ObjectName } from '#base/names.ts';
import { decodeGrants, granteesFor, isGranted, isPublicGrantee, type Permission } from './acl.ts';
import { type Bucket, findBucket, ownAccount } from './bucket.ts';
import { acceptsAcls, isBlocked, type ParsedPolicy, resourceOf } from './bucket-rules.ts';
import { refuse } from './errors.ts';
import { EXISTING_TAG, factsOf, principalsOf } from './policy-facts.ts';
import type { S3Request } from './request.ts';

/** As in policies: `s3:GetObject`. */
export type Action = `s3:${string}`;

export const ACL_HEADER = 's3-acl';

/** The request's bucket, and that the caller may do this to it or to its key. @throws S3Error */
export async function authorize(request: S3Request, action: Action): Promise<Bucket> {
  const bucket = await findBucket(request);
  await checkAccess(request, bucket, action, request.key);
  return bucket;
}

/** Another bucket and key: the source of a copy. @throws S3Error */
export async function authorizeOther(
  request: S3Request,
  name: string,
  key: string,
  action: Action,
): Promise<Bucket> {
  const bucket = await findBucket(request, name);
  await checkAccess(request, bucket, action, key);
  return bucket;
}

/** @throws S3Error AccessDenied */
export async function checkAccess(
  request: S3Request,
  bucket: Bucket,
  action: Action,
  key: string,
): Promise<void> {
  if (!(await isAllowed(request, bucket, action, key))) throw refuse('AccessDenied');
}

/** `key`: '' for the bucket itself. */
export async function isAllowed(
  request: S3Request,
  bucket: Bucket,
  action: Action,
  key: string,
): Promise<boolean> {
  let looked: Promise<EntryState | undefined> | undefined;
  const object = (): Promise<EntryState | undefined> => {
    looked ??= request.service.store.statObject(request, objectName(bucket, key));
    return looked;
  };
  const parsed = request.service.policies.of(bucket);
  if (parsed !== undefined) {
    const tags =
      asksTags(parsed) && key !== '' ? (await object())?.groups['tags']?.values : undefined;
    const verdict = byPolicy(request, bucket, parsed, { action, key, tags });
    if (verdict !== 'none') return verdict === 'allow';
  }
  if (bySwift(request, bucket, action) || byBucketAcl(request, bucket, action)) return true;
  const permission = OBJECT_PERMISSIONS[action];
  if (permission === undefined || key === '') return false;
  return isGrantedBy(
    request,
    bucket,
    (await object())?.groups['acl']?.values['grants'],
    permission,
  );
}

function byPolicy(
  request: S3Request,
  bucket: Bucket,
  { policy, isPublic }: ParsedPolicy,
  { action, key, tags }: { action: Action; key: string; tags?: Readonly<Record<string, string>> },
): 'allow' | 'deny' | 'none' {
  const verdict = evaluate(policy, {
    principals: principalsOf(request),
    action,
    resource: resourceOf(bucket.container, key),
    facts: factsOf(request, tags),
  });
  const isOwner = ownsAccount(request, bucket.account);
  // Nobody locks himself out of his own bucket for good.
  if (verdict === 'deny' && isOwner && OWNERS_ALWAYS.has(action)) return 'allow';
  const restricted = isPublic && isBlocked(bucket, 'RestrictPublicBuckets');
  const own = ownAccount(request) === bucket.account;
  return verdict === 'allow' && restricted && !own ? 'none' : verdict;
}

const OWNERS_ALWAYS = new Set<Action>([
  's3:GetBucketPolicy',
  's3:PutBucketPolicy',
  's3:DeleteBucketPolicy',
]);

function asksTags({ policy }: ParsedPolicy): boolean {
  return policy.statements.some(({ conditions }) =>
    conditions.some(({ key }) => key.startsWith(EXISTING_TAG)),
  );
}

function bySwift(request: S3Request, { account, info }: Bucket, action: Action): boolean {
  const { service, caller } = request;
  return decide({
    caller,
    account,
    operation: SWIFT_OPERATIONS[action] ?? 'admin',
    readAcl: info.headers['x-container-read'],
    writeAcl: info.headers['x-container-write'],
    referrer: request.header('referer'),
    accountDomainId: service.signers.accountDomain(account),
    roles: service.roles,
  }).allowed;
}

function byBucketAcl(request: S3Request, bucket: Bucket, action: Action): boolean {
  const permission = BUCKET_PERMISSIONS[action];
  if (permission === undefined) return false;
  return isGrantedBy(request, bucket, bucket.info.headers[ACL_HEADER], permission);
}

function isGrantedBy(
  request: S3Request,
  bucket: Bucket,
  acl: string | undefined,
  permission: Permission,
): boolean {
  if (acl === undefined || !acceptsAcls(bucket)) return false;
  const grants = decodeGrants(acl);
  const counted = isBlocked(bucket, 'IgnorePublicAcls')
    ? grants.filter(({ grantee }) => !isPublicGrantee(grantee))
    : grants;
  return isGranted(counted, granteesFor(request), permission);
}

/** Whether the caller owns this account: sees and sets everything in it. */
export function ownsAccount(request: S3Request, account: string): boolean {
  const { service, caller } = request;
  return decide({ caller, account, operation: 'admin', roles: service.roles }).allowed;
}

export function objectName(bucket: Bucket, key: string): ObjectName {
  return { account: bucket.account, container: bucket.container, object: key };
}

const OBJECT_PERMISSIONS: Readonly<Record<string, Permission>> = {
  's3:GetObject': 'READ',
  's3:GetObjectAttributes': 'READ',
  's3:GetObjectAcl': 'READ_ACP',
  's3:PutObjectAcl': 'WRITE_ACP',
};

const BUCKET_PERMISSIONS: Readonly<Record<string, Permission>> = {
  's3:ListBucket': 'READ',
  's3:ListBucketVersions': 'READ',
  's3:ListBucketMultipartUploads': 'READ',
  's3:PutObject': 'WRITE',
  's3:DeleteObject': 'WRITE',
  's3:AbortMultipartUpload': 'WRITE',
  's3:ListMultipartUploadParts': 'WRITE',
  's3:GetBucketAcl': 'READ_ACP',
  's3:PutBucketAcl': 'WRITE_ACP',
};

/** What the action is where Swift's ACLs are asked; all else is the owners'. */
const SWIFT_OPERATIONS: Readonly<Record<string, AclOperation>> = {
  's3:GetObject': 'read',
  's3:GetObjectAttributes': 'read',
  's3:GetObjectTagging': 'read',
  's3:ListBucket': 'list',
  's3:ListBucketVersions': 'list',
  's3:ListBucketMultipartUploads': 'list',
  's3:GetBucketLocation': 'list',
  's3:PutObject': 'write',
  's3:DeleteObject': 'write',
  's3:AbortMultipartUpload': 'write',
  's3:ListMultipartUploadParts': 'write',
  's3:PutObjectTagging': 'write',
  's3:DeleteObjectTagging': 'write',
};
