/** From a method, a located target and its sub-resources to the operation behind them. */
import { abortMultipartUpload } from './abort-multipart-upload.ts';
import { getBucketAcl, putBucketAcl } from './bucket-acl.ts';
import { completeMultipartUpload } from './complete-multipart-upload.ts';
import { CONFIGURATIONS } from './configurations.ts';
import { copyObject } from './copy-object.ts';
import { preflight } from './cors.ts';
import { createBucket } from './create-bucket.ts';
import { createMultipartUpload } from './create-multipart-upload.ts';
import { deleteBucket } from './delete-bucket.ts';
import { deleteObject } from './delete-object.ts';
import { deleteObjects } from './delete-objects.ts';
import { refuse } from './errors.ts';
import { getBucketLocation } from './get-bucket-location.ts';
import { getObject } from './get-object.ts';
import { getObjectAttributes } from './get-object-attributes.ts';
import { headBucket } from './head-bucket.ts';
import { headObject } from './head-object.ts';
import { listBuckets } from './list-buckets.ts';
import { listMultipartUploads } from './list-multipart-uploads.ts';
import { listObjectVersions } from './list-object-versions.ts';
import { listObjects } from './list-objects.ts';
import { listObjectsV2 } from './list-objects-v2.ts';
import { listParts } from './list-parts.ts';
import { getObjectAcl, putObjectAcl } from './object-acl.ts';
import {
  getObjectLegalHold,
  getObjectRetention,
  putObjectLegalHold,
  putObjectRetention,
} from './object-lock.ts';
import { deleteObjectTagging, getObjectTagging, putObjectTagging } from './object-tagging.ts';
import { postObject } from './post-object.ts';
import { putObject } from './put-object.ts';
import type { S3Request } from './request.ts';
import { restoreObject } from './restore-object.ts';
import { uploadPart } from './upload-part.ts';
import { uploadPartCopy } from './upload-part-copy.ts';

export type OperationHandler = (request: S3Request) => Promise<void>;

export interface Route {
  /** As S3 names the operation. */
  readonly name: string;
  readonly run: OperationHandler;
}

type Table = Readonly<Record<string, Route>>;

function route(name: string, run: OperationHandler): Route {
  return { name, run };
}

/** By method and sub-resource; `GET ` without one. */
const BUCKET: Table = {
  'GET location': route('GetBucketLocation', getBucketLocation),
  'GET acl': route('GetBucketAcl', getBucketAcl),
  'PUT acl': route('PutBucketAcl', putBucketAcl),
  'GET uploads': route('ListMultipartUploads', listMultipartUploads),
  'GET versions': route('ListObjectVersions', listObjectVersions),
  'POST delete': route('DeleteObjects', deleteObjects),
  ...CONFIGURATIONS,
  'GET ': route('ListObjects', listObjects),
  'PUT ': route('CreateBucket', createBucket),
  'HEAD ': route('HeadBucket', headBucket),
  'DELETE ': route('DeleteBucket', deleteBucket),
  'POST ': route('PostObject', postObject),
};

const OBJECT: Table = {
  'GET acl': route('GetObjectAcl', getObjectAcl),
  'PUT acl': route('PutObjectAcl', putObjectAcl),
  'GET attributes': route('GetObjectAttributes', getObjectAttributes),
  'GET legal-hold': route('GetObjectLegalHold', getObjectLegalHold),
  'PUT legal-hold': route('PutObjectLegalHold', putObjectLegalHold),
  'GET retention': route('GetObjectRetention', getObjectRetention),
  'PUT retention': route('PutObjectRetention', putObjectRetention),
  'POST restore': route('RestoreObject', restoreObject),
  'GET tagging': route('GetObjectTagging', getObjectTagging),
  'PUT tagging': route('PutObjectTagging', putObjectTagging),
  'DELETE tagging': route('DeleteObjectTagging', deleteObjectTagging),
  'POST uploads': route('CreateMultipartUpload', createMultipartUpload),
  'GET uploadId': route('ListParts', listParts),
  'POST uploadId': route('CompleteMultipartUpload', completeMultipartUpload),
  'DELETE uploadId': route('AbortMultipartUpload', abortMultipartUpload),
  'PUT uploadId': route('UploadPart', uploadPart),
  'GET ': route('GetObject', getObject),
  'HEAD ': route('HeadObject', headObject),
  'PUT ': route('PutObject', putObject),
  'DELETE ': route('DeleteObject', deleteObject),
};

/** Sub-resources that name another thing than the bucket or object itself; not all are offered. */
const SUBRESOURCES = [
  ...['abac', 'accelerate', 'acl', 'analytics', 'annotation', 'attributes', 'cors', 'delete'],
  ...['encryption', 'intelligent-tiering', 'inventory', 'legal-hold', 'lifecycle', 'location'],
  ...[
    'logging',
    'metadataConfiguration',
    'metadataTable',
    'metrics',
    'notification',
    'object-lock',
  ],
  ...['ownershipControls', 'policy', 'policyStatus', 'publicAccessBlock', 'renameObject'],
  ...['replication', 'requestPayment', 'restore', 'retention', 'select', 'session', 'tagging'],
  ...['torrent', 'uploads', 'uploadId', 'versioning', 'versions', 'website'],
] as const;

/** @throws S3Error MethodNotAllowed, NotImplemented */
export function findRoute(request: S3Request): Route {
  const { method, query } = request;
  if (!request.hasBucket) {
    if (method === 'GET') return route('ListBuckets', listBuckets);
    throw methodNotAllowed(request, ['GET']);
  }
  if (method === 'OPTIONS') return route('Preflight', preflight);
  const isObject = request.key !== '';
  const subresource = query.isEmpty ? '' : (SUBRESOURCES.find((name) => query.has(name)) ?? '');
  const found = (isObject ? OBJECT : BUCKET)[`${method} ${subresource}`];
  if (found === undefined) throw unknownRoute(request, subresource);
  return variant(request, found);
}

/** Operations that share method and target with another one. */
function variant(request: S3Request, found: Route): Route {
  const isCopy = request.header('x-amz-copy-source') !== undefined;
  if (found.name === 'PutObject' && request.query.has('partNumber')) throw partOfNothing(request);
  if (found.name === 'PutObject' && isCopy) return route('CopyObject', copyObject);
  if (found.name === 'UploadPart' && isCopy) return route('UploadPartCopy', uploadPartCopy);
  if (found.name === 'ListObjects') return listing(request, found);
  return found;
}

/** Who asks for a version that is not there must not take the answer of another for it. */
function listing(request: S3Request, first: Route): Route {
  const version = request.query.get('list-type') || '1';
  if (version === '1') return first;
  if (version === '2') return route('ListObjectsV2', listObjectsV2);
  throw refuse('InvalidArgument', 'Invalid List Type specified in Request', {
    ArgumentName: 'list-type',
    ArgumentValue: version,
  });
}

/** A part whose upload was left out must not become the object. */
function partOfNothing(request: S3Request) {
  return refuse('InvalidArgument', 'This operation does not accept partNumber without uploadId', {
    ArgumentName: 'partNumber',
    ArgumentValue: request.query.get('partNumber') ?? '',
  });
}

function unknownRoute(request: S3Request, subresource: string) {
  const isKnown = [OBJECT, BUCKET].some((table) => methodsOf(table, subresource).length > 0);
  if (!isKnown) return refuse('NotImplemented', undefined, { Header: subresource });
  return methodNotAllowed(request, methodsOf(request.key !== '' ? OBJECT : BUCKET, subresource));
}

function methodsOf(table: Table, subresource: string): string[] {
  const end = ` ${subresource}`;
  return Object.keys(table).flatMap((key) =>
    key.endsWith(end) ? [key.slice(0, -end.length)] : [],
  );
}

function methodNotAllowed(request: S3Request, allowed: readonly string[]) {
  const resource = request.key !== '' ? 'OBJECT' : request.hasBucket ? 'BUCKET' : 'SERVICE';
  const facts = { Method: request.method, ResourceType: resource };
  return refuse('MethodNotAllowed', undefined, facts, ['Allow', allowed.join(', ')]);
}
