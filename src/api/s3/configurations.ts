/**
 * A bucket's configurations. Each stands in one container header (`s3-NAME`), as its own document says.
 * Those that nothing here acts on yet are answered as not configured, and setting them is refused:
 * a rule that is accepted and not kept is worse than none.
 */
import { getBucketAccelerate, putBucketAccelerate } from './accelerate.ts';
import { type Action, authorize } from './access.ts';
import {
  deleteBucketEncryption,
  getBucketEncryption,
  putBucketEncryption,
} from './bucket-encryption.ts';
import {
  deleteBucketPolicy,
  getBucketPolicy,
  getBucketPolicyStatus,
  putBucketPolicy,
} from './bucket-policy.ts';
import { deleteBucketTagging, getBucketTagging, putBucketTagging } from './bucket-tagging.ts';
import { deleteBucketCors, getBucketCors, putBucketCors } from './cors.ts';
import { refuse } from './errors.ts';
import { deleteBucketLifecycle, getBucketLifecycle, putBucketLifecycle } from './lifecycle.ts';
import { getObjectLockConfiguration, putObjectLockConfiguration } from './lock-configuration.ts';
import { getBucketLogging, putBucketLogging } from './logging.ts';
import { getBucketNotification, putBucketNotification } from './notification.ts';
import {
  deleteOwnershipControls,
  getOwnershipControls,
  putOwnershipControls,
} from './ownership-controls.ts';
import {
  deletePublicAccessBlock,
  getPublicAccessBlock,
  putPublicAccessBlock,
} from './public-access-block.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { getRequestPayment, putRequestPayment } from './request-payment.ts';
import type { Route } from './router.ts';
import { getBucketVersioning, putBucketVersioning } from './versioning.ts';
import { deleteBucketWebsite, getBucketWebsite, putBucketWebsite } from './website.ts';
import { document, leaf } from './xml.ts';

const ABAC_OFF = leaf('Status', 'Disabled');

/** The answer to a GET of what can't be set: an error, or an empty document. */
function absent(action: Action, code: string) {
  return async (request: S3Request): Promise<void> => {
    await authorize(request, action);
    throw refuse(code, undefined, { BucketName: request.bucket });
  };
}

function empty(action: Action, root: string, content = '') {
  return async (request: S3Request): Promise<void> => {
    await authorize(request, action);
    replyXml(request, document(root, content));
  };
}

function refused(action: Action, what: string) {
  return async (request: S3Request): Promise<void> => {
    await authorize(request, action);
    throw refuse('NotImplemented', undefined, { Header: what });
  };
}

/** Deleting what was never set is no error. */
function deleted(action: Action) {
  return async (request: S3Request): Promise<void> => {
    await authorize(request, action);
    replyEmpty(request, 204);
  };
}

type Run = Route['run'];

function route(name: string, run: Run): Route {
  return { name, run };
}

/** GET, PUT and DELETE of one that can't be set here. */
function unset(
  resource: string,
  name: string,
  code: string,
  reading: Action = `s3:GetBucket${name}`,
): Record<string, Route> {
  const writing = reading.replace(':Get', ':Put') as Action;
  return {
    [`GET ${resource}`]: route(`GetBucket${name}`, absent(reading, code)),
    [`PUT ${resource}`]: route(`PutBucket${name}`, refused(writing, resource)),
    [`DELETE ${resource}`]: route(`DeleteBucket${name}`, deleted(writing)),
  };
}

/** One of several that are told apart by an id: without one, all are listed, and there are none. */
function unsetSeveral(resource: string, name: string, root: string): Record<string, Route> {
  const action = `s3:Get${name}` as const;
  const list = empty(action, root, leaf('IsTruncated', false));
  const one = absent(action, 'NoSuchConfiguration');
  return {
    ...unset(resource, name, 'NoSuchConfiguration', action),
    [`GET ${resource}`]: route(`GetBucket${name}`, (request) =>
      request.query.get('id') === undefined ? list(request) : one(request),
    ),
  };
}

/** By method and sub-resource, as in router.ts. */
export const CONFIGURATIONS: Readonly<Record<string, Route>> = {
  'GET tagging': route('GetBucketTagging', getBucketTagging),
  'PUT tagging': route('PutBucketTagging', putBucketTagging),
  'DELETE tagging': route('DeleteBucketTagging', deleteBucketTagging),
  'GET versioning': route('GetBucketVersioning', getBucketVersioning),
  'PUT versioning': route('PutBucketVersioning', putBucketVersioning),
  'GET requestPayment': route('GetBucketRequestPayment', getRequestPayment),
  'PUT requestPayment': route('PutBucketRequestPayment', putRequestPayment),
  'GET cors': route('GetBucketCors', getBucketCors),
  'PUT cors': route('PutBucketCors', putBucketCors),
  'DELETE cors': route('DeleteBucketCors', deleteBucketCors),
  'GET lifecycle': route('GetBucketLifecycleConfiguration', getBucketLifecycle),
  'PUT lifecycle': route('PutBucketLifecycleConfiguration', putBucketLifecycle),
  'DELETE lifecycle': route('DeleteBucketLifecycle', deleteBucketLifecycle),
  'GET website': route('GetBucketWebsite', getBucketWebsite),
  'PUT website': route('PutBucketWebsite', putBucketWebsite),
  'DELETE website': route('DeleteBucketWebsite', deleteBucketWebsite),
  'GET notification': route('GetBucketNotificationConfiguration', getBucketNotification),
  'PUT notification': route('PutBucketNotificationConfiguration', putBucketNotification),
  'GET logging': route('GetBucketLogging', getBucketLogging),
  'PUT logging': route('PutBucketLogging', putBucketLogging),
  'GET policy': route('GetBucketPolicy', getBucketPolicy),
  'PUT policy': route('PutBucketPolicy', putBucketPolicy),
  'DELETE policy': route('DeleteBucketPolicy', deleteBucketPolicy),
  'GET policyStatus': route('GetBucketPolicyStatus', getBucketPolicyStatus),
  'GET publicAccessBlock': route('GetPublicAccessBlock', getPublicAccessBlock),
  'PUT publicAccessBlock': route('PutPublicAccessBlock', putPublicAccessBlock),
  'DELETE publicAccessBlock': route('DeletePublicAccessBlock', deletePublicAccessBlock),
  'GET ownershipControls': route('GetBucketOwnershipControls', getOwnershipControls),
  'PUT ownershipControls': route('PutBucketOwnershipControls', putOwnershipControls),
  'DELETE ownershipControls': route('DeleteBucketOwnershipControls', deleteOwnershipControls),
  'GET accelerate': route('GetBucketAccelerateConfiguration', getBucketAccelerate),
  'PUT accelerate': route('PutBucketAccelerateConfiguration', putBucketAccelerate),
  'GET encryption': route('GetBucketEncryption', getBucketEncryption),
  'PUT encryption': route('PutBucketEncryption', putBucketEncryption),
  'DELETE encryption': route('DeleteBucketEncryption', deleteBucketEncryption),
  'GET object-lock': route('GetObjectLockConfiguration', getObjectLockConfiguration),
  'PUT object-lock': route('PutObjectLockConfiguration', putObjectLockConfiguration),
  ...unset(
    'replication',
    'Replication',
    'ReplicationConfigurationNotFoundError',
    's3:GetReplicationConfiguration',
  ),
  ...unset(
    'metadataConfiguration',
    'MetadataConfiguration',
    'MetadataConfigurationNotFound',
    's3:GetBucketMetadataTableConfiguration',
  ),
  ...unset(
    'metadataTable',
    'MetadataTableConfiguration',
    'MetadataTableConfigurationNotFound',
    's3:GetBucketMetadataTableConfiguration',
  ),
  'GET abac': route('GetBucketAbac', empty('s3:GetBucketAbac', 'AbacStatus', ABAC_OFF)),
  'PUT abac': route('PutBucketAbac', refused('s3:PutBucketAbac', 'abac')),
  ...unsetSeveral('analytics', 'AnalyticsConfiguration', 'ListBucketAnalyticsConfigurationResult'),
  ...unsetSeveral('inventory', 'InventoryConfiguration', 'ListInventoryConfigurationsResult'),
  ...unsetSeveral('metrics', 'MetricsConfiguration', 'ListMetricsConfigurationsResult'),
  ...unsetSeveral(
    'intelligent-tiering',
    'IntelligentTieringConfiguration',
    'ListBucketIntelligentTieringConfigurationsOutput',
  ),
};
