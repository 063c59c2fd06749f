/**
 * CreateBucket. The name is claimed across the cluster first, so of two creators one wins; a claim whose
 * container could not be made is its own account's, and making it again succeeds.
 */
import type { ContainerName } from '#base/names.ts';
import { isBucketName } from '#proxy/bucket-names.ts';
import type { HeaderChanges } from '#proxy/contract.ts';
import { VERSIONING_HEADER } from '#proxy/versions/contract.ts';
import { LOCK_HEADER } from '#proxy/versions/lock.ts';
import { ACL_HEADER, authorize, mayInAccount } from './access.ts';
import { encodeGrants, type Grant, ownerIdOf } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import { ownAccount } from './bucket.ts';
import { LOCATION_HEADER } from './bucket-region.ts';
import { OWNERSHIP_HEADER, OWNERSHIPS, resourceOf } from './bucket-rules.ts';
import { MAX_BUCKET_TAGS, tagsHeader } from './bucket-tagging.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { grantsOfHeaders } from './given-grants.ts';
import { LOCK_ENABLED } from './lock-configuration.ts';
import { readDocument } from './payload.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { policyOfBucket } from './storage-class.ts';
import { type Tags, tagsOfSet } from './tags.ts';
import { child, onlyChildren, readXml, textOf } from './xml-reader.ts';

const LOCKS = 'x-amz-bucket-object-lock-enabled';
const OWNERSHIP = 'x-amz-object-ownership';
/** There, making one's own bucket again is no error, and sets its ACL anew. */
const CLASSIC_REGION = 'us-east-1';

export async function createBucket(request: S3Request): Promise<void> {
  const account = ownAccount(request);
  const { bucket: container, service } = request;
  if (account === undefined) throw refuse('AccessDenied');
  // Policies may ask where it is to be.
  const configuration = await readConfiguration(request);
  if (configuration.location !== '') request.givenLocation = configuration.location;
  if (!mayCreate(request, account, 's3:CreateBucket')) throw refuse('AccessDenied');
  if (!isBucketName(container)) {
    throw refuse('InvalidBucketName', undefined, { BucketName: container });
  }
  const policy = policyOfBucket(request);
  const wanted = wantedBucket(request, account, configuration);
  const owner = await service.names.claim(container, account);
  if (owner !== account) throw refuse('BucketAlreadyExists', undefined, { BucketName: container });
  const outcome = await service.store.createContainer(
    request,
    { account, container },
    {
      mode: 'strict',
      leaveExisting: true,
      changes: { ...wanted.acl, ...wanted.others },
      ...(policy !== undefined && { policy: policy.index }),
    },
  );
  if (outcome === 'policy-conflict') await expectThere(request, { account, container });
  if (outcome !== 'created') await again(request, outcome, wanted);
  replyEmpty(request, 200, ['Location', `/${container}`]);
}

interface Wanted {
  readonly location: string;
  readonly grants: readonly Grant[] | undefined;
  readonly acl: HeaderChanges;
  readonly others: HeaderChanges;
}

/** What headers and body ask for. @throws S3Error for what can't be had, and for who may not have it */
function wantedBucket(
  request: S3Request,
  account: string,
  { location, tags }: Configuration,
): Wanted {
  const ownership = ownershipHeader(request);
  const owner = ownerIdOf(account);
  const grants = grantsOfHeaders(request, { own: owner, bucket: owner });
  const isPrivate = request.header('x-amz-acl') === 'private';
  if (grants !== undefined && ownership === 'BucketOwnerEnforced' && !isPrivate) {
    throw refuse('InvalidBucketAclWithObjectOwnership');
  }
  const locks = booleanHeader(request, LOCKS);
  if (tags !== undefined && !mayCreate(request, account, 's3:TagResource')) {
    throw refuse('AccessDenied');
  }
  return {
    location,
    grants,
    acl: { [ACL_HEADER]: grants === undefined ? null : encodeGrants(grants) },
    others: {
      ...(location !== '' && { [LOCATION_HEADER]: location }),
      ...(ownership !== undefined && { [OWNERSHIP_HEADER]: ownership }),
      ...(tags !== undefined && tagsHeader(tags)),
      // What is locked can't be overwritten: every write makes a version.
      ...(locks && { [LOCK_HEADER]: LOCK_ENABLED, [VERSIONING_HEADER]: 'Enabled' }),
    },
  };
}

function mayCreate(request: S3Request, account: string, action: `s3:${string}`): boolean {
  return mayInAccount(request, account, action, resourceOf(request.bucket));
}

/** One that was deleted is not made again in a storage policy that it had left, for some days. @throws S3Error OperationAborted */
async function expectThere(request: S3Request, name: ContainerName): Promise<void> {
  const info = await request.service.store.containerInfo(request, name, true);
  if (info === undefined) throw refuse('OperationAborted');
}

/** What it is by now may be against the ACL, as with any other. @throws S3Error BucketAlreadyOwnedByYou */
async function again(
  request: S3Request,
  outcome: 'exists' | 'policy-conflict',
  { location, grants, acl }: Wanted,
): Promise<void> {
  const isClassic = location === '' && request.signature?.chunks?.scope.region === CLASSIC_REGION;
  if (!isClassic || outcome !== 'exists') {
    throw refuse('BucketAlreadyOwnedByYou', undefined, { BucketName: request.bucket });
  }
  const bucket = await authorize(request, 's3:PutBucketAcl');
  if (grants !== undefined) checkGrants(bucket, grants, request.header('x-amz-acl'));
  await configure(request, bucket, acl);
}

function ownershipHeader(request: S3Request) {
  const wanted = request.header(OWNERSHIP);
  const known = OWNERSHIPS.find((one) => one === wanted);
  if (wanted === undefined || known !== undefined) return known;
  throw invalidHeader(OWNERSHIP, wanted);
}

function booleanHeader(request: S3Request, name: string): boolean {
  const text = request.header(name);
  const value = text?.toLowerCase() ?? 'false';
  if (value === 'true' || value === 'false') return value === 'true';
  throw invalidHeader(name, text!);
}

function invalidHeader(name: string, value: string) {
  return refuse('InvalidArgument', `Invalid value for ${name}`, {
    ArgumentName: name,
    ArgumentValue: value,
  });
}

interface Configuration {
  readonly location: string;
  readonly tags?: Tags;
}

/** Any region's name is taken: buckets live at all sites. @throws S3Error MalformedXML, InvalidTag */
async function readConfiguration(request: S3Request): Promise<Configuration> {
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  if (body.length === 0) return { location: '' };
  const root = readXml(body, 'CreateBucketConfiguration');
  for (const name of ['Location', 'Bucket']) {
    if (child(root, name) !== undefined) {
      throw refuse('NotImplemented', undefined, { Header: name }); // directory buckets
    }
  }
  onlyChildren(root, ['LocationConstraint', 'Tags']);
  const location = textOf(root, 'LocationConstraint') ?? '';
  if (!/^[\w.-]{0,64}$/.test(location)) {
    throw refuse('InvalidLocationConstraint', undefined, { LocationConstraint: location });
  }
  const tags = child(root, 'Tags');
  return { location, ...(tags && { tags: tagsOfSet(tags, MAX_BUCKET_TAGS) }) };
}
