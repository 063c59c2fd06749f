/**
 * What the policy of a bucket may speak of: S3's actions, each about buckets or about objects, and its
 * condition keys. Names that S3 does not have are mistakes that would open or close nothing, or not what
 * was meant; they are refused when the policy is set, never when it is read.
 */
import { globMatches } from './glob.ts';

export type About = 'bucket' | 'object';

/** `Get` and `Put`, as all of these come in both. */
const BOTH_OF_BUCKETS = [
  ...['AccelerateConfiguration', 'AnalyticsConfiguration', 'BucketAbac', 'BucketAcl', 'BucketCORS'],
  ...['BucketLogging', 'BucketNotification', 'BucketObjectLockConfiguration'],
  ...['BucketOwnershipControls', 'BucketPolicy', 'BucketPublicAccessBlock', 'BucketRequestPayment'],
  ...['BucketTagging', 'BucketVersioning', 'BucketWebsite', 'EncryptionConfiguration'],
  ...['IntelligentTieringConfiguration', 'InventoryConfiguration', 'LifecycleConfiguration'],
  ...['MetricsConfiguration', 'ReplicationConfiguration', 'BucketMetadataTableConfiguration'],
];
const OF_BUCKETS = [
  ...['CreateBucket', 'DeleteBucket', 'DeleteBucketOwnershipControls', 'DeleteBucketPolicy'],
  ...['DeleteBucketWebsite', 'GetBucketLocation', 'GetBucketPolicyStatus', 'ListAllMyBuckets'],
  ...['ListBucket', 'ListBucketMultipartUploads', 'ListBucketVersions', 'ListTagsForResource'],
  ...['CreateBucketMetadataTableConfiguration', 'DeleteBucketMetadataTableConfiguration'],
  ...['CreateSession', 'PauseReplication', 'TagResource', 'UntagResource'],
];
const BOTH_OF_OBJECTS = [
  ...['Object', 'ObjectAcl', 'ObjectLegalHold', 'ObjectRetention', 'ObjectTagging'],
  ...['ObjectVersionAcl', 'ObjectVersionTagging'],
];
const OF_OBJECTS = [
  ...['AbortMultipartUpload', 'BypassGovernanceRetention', 'DeleteObject', 'DeleteObjectTagging'],
  ...['DeleteObjectVersion', 'DeleteObjectVersionTagging', 'GetObjectAttributes'],
  ...['GetObjectTorrent', 'GetObjectVersion', 'GetObjectVersionAttributes'],
  ...['GetObjectVersionForReplication', 'GetObjectVersionTorrent', 'InitiateReplication'],
  ...['ListMultipartUploadParts', 'ObjectOwnerOverrideToBucketOwner', 'ReplicateDelete'],
  ...['ReplicateObject', 'ReplicateTags', 'RestoreObject', 'UpdateObjectEncryption'],
];

const ACTIONS: readonly { readonly name: string; readonly about: About }[] = [
  ...[...OF_BUCKETS, ...both(BOTH_OF_BUCKETS)].map((name) => action(name, 'bucket')),
  ...[...OF_OBJECTS, ...both(BOTH_OF_OBJECTS)].map((name) => action(name, 'object')),
];

function both(names: readonly string[]): string[] {
  return names.flatMap((name) => [`Get${name}`, `Put${name}`]);
}

function action(name: string, about: About) {
  return { name: `s3:${name.toLowerCase()}`, about };
}

/** What the actions of a name or pattern are about; empty: S3 has none of that name. */
export function aboutOf(pattern: string): ReadonlySet<About> {
  const wanted = pattern.toLowerCase();
  const found = ACTIONS.filter(({ name }) => globMatches(wanted, name));
  return new Set(found.map(({ about }) => about));
}

const RESOURCE = /^arn:[^:]*:s3:[^:]*:[^:]*:([^/]+)(\/.*)?$/s;

/** What a resource of this bucket's policy is; empty: something of another bucket. */
export function kindsOfResource(arn: string, bucket: string): ReadonlySet<About> {
  const [, name = '', rest] = RESOURCE.exec(arn) ?? [];
  if (!globMatches(name, bucket)) return new Set();
  if (rest !== undefined) return new Set(['object']);
  return new Set(name.endsWith('*') ? ['bucket', 'object'] : ['bucket']);
}

/** In lower case; those that end in `/` or `-` begin a family. */
const KEYS = [
  ...['accessgrantsinstancearn', 'accesspointnetworkorigin', 'authtype', 'bucketnamespace'],
  ...['buckettag/', 'dataaccesspointaccount', 'dataaccesspointarn', 'delimiter'],
  ...['existingobjecttag/', 'if-match', 'if-none-match', 'locationconstraint', 'max-keys'],
  ...['object-lock-legal-hold', 'object-lock-mode', 'object-lock-remaining-retention-days'],
  ...['object-lock-retain-until-date', 'prefix', 'requestobjecttag/', 'requestobjecttagkeys'],
  ...['resourceaccount', 'signatureage', 'signatureversion', 'tlsversion', 'versionid', 'x-amz-'],
];

/** Only S3's own keys are known here; `aws:` ones that nobody has are absent from every request. */
export function isConditionKey(key: string): boolean {
  const name = key.toLowerCase();
  if (!name.startsWith('s3:')) return /^[a-z][\w-]*:./.test(name);
  const own = name.slice('s3:'.length);
  return KEYS.some((known) => own === known || (/[/-]$/.test(known) && own.startsWith(known)));
}

const PRINCIPAL_ARN =
  /^arn:[^:]*:(iam|sts)::[^:*]*:(root|(user|role|group|assumed-role|federated-user)\/.+)$/;

/** A name or an id may be anybody's; an ARN must be one of somebody. */
export function isPrincipal(name: string): boolean {
  return !name.startsWith('arn:') || PRINCIPAL_ARN.test(name);
}
