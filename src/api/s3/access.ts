/**
 * May this caller do this? Asked in this order: the owners of the bucket's account may everything; whom
 * a Swift ACL of the container names may what it says, the same objects being behind both APIs; S3's
 * ACLs of bucket and object grant the rest. Only a caller whom nothing else allowed costs a look at
 * the object.
 */
import { type AclOperation, decide } from '#auth/acl.ts';
import type { ObjectName } from '#base/names.ts';
import { decodeGrants, granteesFor, isGranted, type Permission } from './acl.ts';
import { type Bucket, findBucket } from './bucket.ts';
import { refuse } from './errors.ts';
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
  if (mayDo(request, bucket, action)) return;
  const permission = OBJECT_PERMISSIONS[action];
  if (permission !== undefined && key !== '') {
    const name = objectName(bucket, key);
    const state = await request.service.store.statObject(request, name);
    const grants = decodeGrants(state?.groups['acl']?.values['grants']);
    if (isGranted(grants, granteesFor(request), permission)) return;
  }
  throw refuse('AccessDenied');
}

/** What the bucket alone says. */
export function mayDo(request: S3Request, bucket: Bucket, action: Action): boolean {
  const { service, caller } = request;
  const { account, info } = bucket;
  const bySwift = decide({
    caller,
    account,
    operation: aclOperation(action),
    readAcl: info.headers['x-container-read'],
    writeAcl: info.headers['x-container-write'],
    referrer: request.header('referer'),
    accountDomainId: service.signers.accountDomain(account),
    roles: service.roles,
  });
  if (bySwift.allowed) return true;
  const permission = BUCKET_PERMISSIONS[action];
  const acl = info.headers[ACL_HEADER];
  if (permission === undefined || acl === undefined) return false;
  return isGranted(decodeGrants(acl), granteesFor(request), permission);
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

/** What the action is where only Swift's ACLs are asked; all else is the owners'. */
function aclOperation(action: Action): AclOperation {
  return SWIFT_OPERATIONS[action] ?? 'admin';
}
