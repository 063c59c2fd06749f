/**
 * May this caller do this? Asked in this order:
 *
 * 1. The policies of the caller's user, groups or role, and of their session: what one denies they may
 *    not, nor what the session's policy does not allow.
 * 2. The bucket's policy: what it denies nobody may (its owners may still change the policy), what it
 *    allows is allowed.
 * 3. What the caller's own policies allow, in the buckets of their own project.
 * 4. The owners of the bucket's account may everything; whom a Swift ACL of the container names may what
 *    that says, the same objects being behind both APIs.
 * 5. S3's ACLs of bucket and object, unless the bucket's ownership or access block switch them off.
 *
 * A governed caller (made for policies, or in a role) is not the project: what is meant for the whole
 * project counts for them only as far as their own policies allow it, too.
 *
 * Only a caller whom nothing else allowed, or a policy about tags, costs a look at the object.
 */
import { type AclOperation, decide } from '#auth/acl.ts';
import { ANONYMOUS, projectOf } from '#auth/caller.ts';
import { evaluate, isPublic, type Policy, type PolicyRequest } from '#auth/policy/policy.ts';
import type { Principals } from '#auth/policy/principals.ts';
import { ownVerdict } from '#auth/policy/verdict.ts';
import type { EntryState } from '#base/entry.ts';
import type { VersionedName } from '#proxy/contract.ts';
import { absenceOf } from './absent-object.ts';
import {
  decodeGrants,
  granteesFor,
  isGranted,
  isPublicGrantee,
  ownerIdOf,
  type Permission,
} from './acl.ts';
import { type Bucket, findBucket, ownAccount } from './bucket.ts';
import { acceptsAcls, isBlocked, policyOf, resourceOf } from './bucket-rules.ts';
import { refuse } from './errors.ts';
import { checkPayer } from './payer.ts';
import { EXISTING_TAG, factsOf } from './policy-facts.ts';
import type { S3Request } from './request.ts';

/** As in policies: `s3:GetObject`. */
export type Action = `s3:${string}`;

export const ACL_HEADER = 's3-acl';

/** The request's bucket, and that the caller may do this to it or to its key. @throws S3Error */
export async function authorize(
  request: S3Request,
  action: Action,
  version?: string,
): Promise<Bucket> {
  const bucket = await expectedBucket(request);
  await checkAccess(request, bucket, action, request.key, version);
  return bucket;
}

/**
 * That the caller may write the request's object. An object's tags and ACL belong to its writing: they
 * need no permission of their own, but what denies setting them denies it here, too. @throws S3Error
 */
export async function authorizeWrite(request: S3Request): Promise<Bucket> {
  const bucket = await authorize(request, 's3:PutObject');
  const also: Action[] = [];
  if (request.said('x-amz-tagging')) also.push('s3:PutObjectTagging');
  if (ACL_HEADERS.some((name) => request.said(name))) also.push('s3:PutObjectAcl');
  for (const action of also) {
    const access = await accessTo(request, bucket, action, request.key);
    if (access === 'denied') throw refuse('AccessDenied');
  }
  return bucket;
}

const ACL_HEADERS = [
  ...['x-amz-acl', 'x-amz-grant-full-control', 'x-amz-grant-read', 'x-amz-grant-read-acp'],
  ...['x-amz-grant-write', 'x-amz-grant-write-acp'],
];

/** Another bucket and key: the source of a copy. @throws S3Error */
export async function authorizeOther(
  request: S3Request,
  name: string,
  key: string,
  action: Action,
  version?: string,
): Promise<Bucket> {
  const bucket = await findBucket(request, name);
  checkOwner(bucket, request.header('x-amz-source-expected-bucket-owner'));
  await checkAccess(request, bucket, action, key, version);
  return bucket;
}

/** The request's bucket, of the owner that the request expects. @throws S3Error */
export async function expectedBucket(request: S3Request): Promise<Bucket> {
  const bucket = await findBucket(request);
  checkOwner(bucket, request.header('x-amz-expected-bucket-owner'));
  return bucket;
}

/** An account may be told as a project's id, as `AUTH_ID`, or as the owner's canonical id. */
function checkOwner({ account }: Bucket, expected: string | undefined): void {
  if (expected === undefined || expected === account) return;
  if (expected !== projectOf(account) && expected !== ownerIdOf(account))
    throw refuse('AccessDenied');
}

/** @throws S3Error AccessDenied */
export async function checkAccess(
  request: S3Request,
  bucket: Bucket,
  action: Action,
  key: string,
  version?: string,
): Promise<void> {
  const access = await accessTo(request, bucket, action, key, version);
  if (access === 'absent' && (await isAllowed(request, bucket, 's3:ListBucket', ''))) {
    throw await absenceOf(request, bucket, objectName(bucket, key, version));
  }
  if (access !== 'allowed') throw refuse('AccessDenied');
  checkPayer(request, bucket);
}

/** `key`: '' for the bucket itself. */
export async function isAllowed(
  request: S3Request,
  bucket: Bucket,
  action: Action,
  key: string,
  version?: string,
): Promise<boolean> {
  return (await accessTo(request, bucket, action, key, version)) === 'allowed';
}

/**
 * `refused`: by nobody's word; `denied`: by a policy. `absent`: an object's own ACL would say, and there
 * is none; who may list is told that.
 */
export type Access = 'allowed' | 'refused' | 'denied' | 'absent';

export async function accessTo(
  request: S3Request,
  bucket: Bucket,
  plainAction: Action,
  key: string,
  version?: string,
): Promise<Access> {
  const action = version === undefined ? plainAction : versionAction(plainAction);
  let looked: Promise<EntryState | undefined> | undefined;
  const object = (): Promise<EntryState | undefined> => {
    looked ??= request.service.store.statObject(request, objectName(bucket, key, version));
    return looked;
  };
  const policy = policyOf(bucket, request.service.policies);
  const asksTags = key !== '' && policiesOf(request, policy).some(asksForTags);
  const tags = asksTags ? (await object())?.groups['tags']?.values : undefined;
  const principals = request.service.policies.principalsOf(request.caller);
  const asked: PolicyRequest = {
    principals: principals.all,
    action,
    resource: resourceOf(bucket.container, key),
    facts: factsOf(request, { account: bucket.account, tags }),
  };
  const own = byOwnPolicies(request, asked);
  if (own === 'deny') return 'denied';
  const inOwnAccount = ownAccount(request) === bucket.account;
  const isProject = own === 'allow' || !isGoverned(request);
  if (policy !== undefined) {
    const verdict = byPolicy(request, bucket, policy, { asked, principals, isProject });
    if (verdict !== 'none') return verdict === 'allow' ? 'allowed' : 'denied';
  }
  if (own === 'allow' && inOwnAccount) return 'allowed';
  if (bySwift(request, bucket, action, isProject)) return 'allowed';
  if (byBucketAcl(request, bucket, action, isProject)) return 'allowed';
  const permission = OBJECT_PERMISSIONS[plain(action)];
  if (permission === undefined || key === '') return 'refused';
  const state = await object();
  if (state === undefined || state.data?.deleteMarker === true) return 'absent';
  return byObjectAcl(request, bucket, state, { permission, isProject }) ? 'allowed' : 'refused';
}

/** What no bucket decides: creating one, listing all. `account`: the one it is done in. */
export function mayInAccount(
  request: S3Request,
  account: string,
  action: Action,
  resource: string,
): boolean {
  const { all: principals } = request.service.policies.principalsOf(request.caller);
  const asked = { principals, action, resource, facts: factsOf(request, { account }) };
  const own = byOwnPolicies(request, asked);
  if (own === 'deny') return false;
  if (own === 'allow' && ownAccount(request) === account) return true;
  return ownsAccount(request, account);
}

/** Those of the caller and of their session, in one word. */
function byOwnPolicies({ caller, service }: S3Request, asked: PolicyRequest) {
  if (caller.kind !== 'user') return 'none';
  const { identity, inSession } = ownVerdict(caller, service.policies, asked);
  return inSession ? identity : 'deny';
}

function isGoverned({ caller }: S3Request): boolean {
  return caller.kind === 'user' && caller.governed === true;
}

function policiesOf({ caller, service }: S3Request, ofBucket: Policy | undefined): Policy[] {
  const { policies = [], sessionPolicy } = caller.kind === 'user' ? caller : {};
  const texts = sessionPolicy === undefined ? policies : [...policies, sessionPolicy];
  const own = texts.map((text) => service.policies.of(text));
  return ofBucket === undefined ? own : [ofBucket, ...own];
}

function byPolicy(
  request: S3Request,
  bucket: Bucket,
  policy: Policy,
  given: { asked: PolicyRequest; principals: Principals; isProject: boolean },
): 'allow' | 'deny' | 'none' {
  const { asked, principals, isProject } = given;
  const verdict = evaluate(policy, asked);
  // Nobody locks himself out of his own bucket for good.
  if (verdict === 'deny') {
    const kept = OWNERS_ALWAYS.has(asked.action) && ownsAccount(request, bucket.account);
    return kept ? 'allow' : 'deny';
  }
  if (verdict === 'none') return 'none';
  const inOwnAccount = ownAccount(request) === bucket.account;
  if (!inOwnAccount && isBlocked(bucket, 'RestrictPublicBuckets') && isPublic(policy))
    return 'none';
  if (isProject) return 'allow';
  if (!inOwnAccount) return 'none';
  return evaluate(policy, { ...asked, principals: principals.personal });
}

const OWNERS_ALWAYS: ReadonlySet<string> = new Set<Action>([
  's3:GetBucketPolicy',
  's3:PutBucketPolicy',
  's3:DeleteBucketPolicy',
]);

function asksForTags({ statements }: Policy): boolean {
  return statements.some(({ conditions }) =>
    conditions.some(({ key }) => key.startsWith(EXISTING_TAG)),
  );
}

function bySwift(
  request: S3Request,
  { account, info }: Bucket,
  action: Action,
  isProject: boolean,
): boolean {
  const { service, caller } = request;
  return decide({
    caller: isProject ? caller : ANONYMOUS,
    account,
    operation: SWIFT_OPERATIONS[plain(action)] ?? 'admin',
    readAcl: info.headers['x-container-read'],
    writeAcl: info.headers['x-container-write'],
    referrer: request.header('referer'),
    accountDomainId: service.signers.accountDomain(account),
    roles: service.roles,
  }).allowed;
}

function byBucketAcl(
  request: S3Request,
  bucket: Bucket,
  action: Action,
  isProject: boolean,
): boolean {
  const permission = BUCKET_PERMISSIONS[plain(action)];
  if (permission === undefined) return false;
  return isGrantedBy(request, bucket, bucket.info.headers[ACL_HEADER], { permission, isProject });
}

/** Who wrote it may read and set its ACL whatever that says. */
function byObjectAcl(
  request: S3Request,
  bucket: Bucket,
  { groups }: EntryState,
  asked: { permission: Permission; isProject: boolean },
): boolean {
  if (isGrantedBy(request, bucket, groups['acl']?.values['grants'], asked)) return true;
  if (!acceptsAcls(bucket) || !asked.permission.endsWith('_ACP')) return false;
  const writer = groups['owner']?.values['id'];
  return writer !== undefined && granteesFor(request, asked.isProject).has(`id:${writer}`);
}

function isGrantedBy(
  request: S3Request,
  bucket: Bucket,
  acl: string | undefined,
  { permission, isProject }: { permission: Permission; isProject: boolean },
): boolean {
  if (acl === undefined || !acceptsAcls(bucket)) return false;
  const grants = decodeGrants(acl);
  const counted = isBlocked(bucket, 'IgnorePublicAcls')
    ? grants.filter(({ grantee }) => !isPublicGrantee(grantee))
    : grants;
  return isGranted(counted, granteesFor(request, isProject), permission);
}

/** Whether the caller owns this account: sees and sets everything in it. */
function ownsAccount(request: S3Request, account: string): boolean {
  const { service, caller } = request;
  return decide({ caller, account, operation: 'admin', roles: service.roles }).allowed;
}

export function objectName(bucket: Bucket, key: string, version?: string): VersionedName {
  const { account, container } = bucket;
  return { account, container, object: key, ...(version !== undefined && { version }) };
}

/** What policies call it where a version is named: `s3:GetObjectVersion` for `s3:GetObject`. */
function versionAction(action: Action): Action {
  return action.replace('Object', 'ObjectVersion') as Action;
}

/** Who may do it with an object may do it with any of its versions; but to delete one is the owners'. */
function plain(action: Action): Action {
  if (action === 's3:DeleteObjectVersion') return action;
  return action.replace('ObjectVersion', 'Object') as Action;
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
