/**
 * A bucket's lifecycle: GetBucketLifecycleConfiguration, Put..., DeleteBucketLifecycle, and what answers
 * about objects and uploads say of it. What rules mean, and the job that does it: src/proxy/lifecycle.
 */
import type { EntryState } from '#base/entry.ts';
import {
  abortOf,
  type Expiry,
  encodeLifecycle,
  expiryOf,
  LIFECYCLE_HEADER,
  type Lifecycle,
  MINIMUM_SIZES,
  type MinimumSize,
} from '#proxy/lifecycle/rules.ts';
import { httpDate } from '../http/http-date.ts';
import { authorize } from './access.ts';
import type { Bucket } from './bucket.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { rulesOfXml, ruleXml } from './lifecycle-xml.ts';
import { dataOf } from './object-headers.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document } from './xml.ts';
import { readXml } from './xml-reader.ts';

const MINIMUM_HEADER = 'x-amz-transition-default-minimum-object-size';
const ID_BYTES = 24;

export async function getBucketLifecycle(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetLifecycleConfiguration');
  const lifecycle = lifecycleOf(request, bucket);
  if (lifecycle === undefined) {
    throw refuse('NoSuchLifecycleConfiguration', undefined, { BucketName: request.bucket });
  }
  const { rules, minimum } = lifecycle;
  const xml = document('LifecycleConfiguration', rules.map(ruleXml).join(''));
  replyXml(request, xml, [MINIMUM_HEADER, minimum]);
}

export async function putBucketLifecycle(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutLifecycleConfiguration');
  const { env, limits } = request.service;
  const minimum = minimumSize(request);
  const root = readXml(
    await readDocument(request, limits.maxDocumentBytes),
    'LifecycleConfiguration',
  );
  const rules = rulesOfXml(root, () => env.random.bytes(ID_BYTES).toString('base64url'));
  // Deletions by rules are conditional ones, which only `strict` containers can keep.
  if (bucket.info.mode !== 'strict') {
    throw refuse('NotImplemented', 'The consistency mode of this bucket does not allow lifecycles');
  }
  await configure(request, bucket, { [LIFECYCLE_HEADER]: encodeLifecycle({ rules, minimum }) });
  replyEmpty(request, 200, [MINIMUM_HEADER, minimum]);
}

export async function deleteBucketLifecycle(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutLifecycleConfiguration');
  await configure(request, bucket, { [LIFECYCLE_HEADER]: null });
  replyEmpty(request, 204);
}

function minimumSize(request: S3Request): MinimumSize {
  const wanted = request.header(MINIMUM_HEADER);
  if (wanted === undefined) return MINIMUM_SIZES[0];
  const known = MINIMUM_SIZES.find((size) => size === wanted);
  if (known !== undefined) return known;
  throw refuse('InvalidArgument', `Invalid value for ${MINIMUM_HEADER}`, {
    ArgumentName: MINIMUM_HEADER,
    ArgumentValue: wanted,
  });
}

function lifecycleOf({ service }: S3Request, { info }: Bucket): Lifecycle | undefined {
  const text = info.headers[LIFECYCLE_HEADER];
  return text === undefined ? undefined : service.lifecycles.of(text);
}

/** What is known of an object where its end is told. */
export interface Ending {
  readonly size: number;
  readonly clientMicros: number;
  readonly tags: Readonly<Record<string, string>> | undefined;
}

/** x-amz-expiration. */
export function expirationHeader(
  request: S3Request,
  bucket: Bucket,
  { size, clientMicros, tags = {} }: Ending,
): string[] {
  const lifecycle = lifecycleOf(request, bucket);
  if (lifecycle === undefined) return [];
  const subject = { name: request.key, size, createdMs: clientMicros / 1000, tags };
  const end = expiryOf(lifecycle, subject, request.service.dayMs);
  if (end === undefined) return [];
  return ['x-amz-expiration', `expiry-date="${dateOf(end)}", rule-id="${idOf(end)}"`];
}

/** The same of an object that was read. */
export function expirationOf(request: S3Request, bucket: Bucket, state: EntryState): string[] {
  // Of the current version; one that is named may end by other rules.
  if (request.query.has('versionId')) return [];
  const { size, clientMicros } = dataOf(state);
  const tags = state.groups['tags']?.values;
  return expirationHeader(request, bucket, { size, clientMicros, tags });
}

/** x-amz-abort-date and x-amz-abort-rule-id. */
export function abortHeaders(request: S3Request, bucket: Bucket, startedMicros: number): string[] {
  const lifecycle = lifecycleOf(request, bucket);
  if (lifecycle === undefined) return [];
  const upload = { name: request.key, startedMs: startedMicros / 1000 };
  const end = abortOf(lifecycle, upload, request.service.dayMs);
  if (end === undefined) return [];
  return ['x-amz-abort-date', dateOf(end), 'x-amz-abort-rule-id', idOf(end)];
}

/** Dates may be far beyond what a calendar has. */
function dateOf({ atMs }: Expiry): string {
  return httpDate(Math.min(atMs / 1000, MAX_SECONDS));
}

const MAX_SECONDS = 253_402_214_400;

function idOf({ rule }: Expiry): string {
  return encodeURIComponent(rule.id);
}
