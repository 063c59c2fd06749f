/** GetObjectRetention, PutObjectRetention, GetObjectLegalHold, PutObjectLegalHold. */
import type { EntryState } from '#base/entry.ts';
import {
  HOLD_GROUP,
  holdOf,
  mayRetain,
  RETENTION_GROUP,
  type Retention,
  retentionOf,
  retentionValues,
} from '#proxy/versions/lock.ts';
import { authorize, isAllowed, objectName } from './access.ts';
import type { Bucket } from './bucket.ts';
import { changeGroups } from './change-groups.ts';
import type { WriteCondition } from './conditions.ts';
import { refuse } from './errors.ts';
import { lockRuleOf } from './lock-configuration.ts';
import { holdStatus, isMode, parseRetention, withoutLock } from './lock-headers.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { untilDate } from './shown-lock.ts';
import { versionHeaders } from './version-headers.ts';
import { isMarker, notFound, versionId } from './version-id.ts';
import { document, leaf } from './xml.ts';
import { readXml, requiredText, textOf } from './xml-reader.ts';

export async function getObjectRetention(request: S3Request): Promise<void> {
  const state = await lockedState(request, 's3:GetObjectRetention');
  const retention = retentionOf(state);
  if (retention === undefined) throw refuse('NoSuchObjectLockConfiguration');
  const content = leaf('Mode', retention.mode) + leaf('RetainUntilDate', untilDate(retention));
  replyXml(request, document('Retention', content), versionHeaders(state.data?.versionId));
}

export async function getObjectLegalHold(request: S3Request): Promise<void> {
  const state = await lockedState(request, 's3:GetObjectLegalHold');
  const hold = holdOf(state);
  if (hold === undefined) throw refuse('NoSuchObjectLockConfiguration');
  const xml = document('LegalHold', leaf('Status', hold));
  replyXml(request, xml, versionHeaders(state.data?.versionId));
}

/** Decided on what a majority agrees on, by the conditional rounds of the version. */
export async function putObjectRetention(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await lockingBucket(request, 's3:PutObjectRetention');
  const nowSeconds = (): number => request.service.env.clock.wallMicros() / 1e6;
  const wanted = await wantedRetention(request, nowSeconds());
  const bypass = await bypassesGovernance(request, bucket, request.key);
  const condition: WriteCondition = {
    holds: (state) => state !== undefined && mayRetain(state, wanted, nowSeconds(), bypass),
    failure: objectIsLocked,
  };
  const groups = { [RETENTION_GROUP]: retentionValues(wanted) };
  const name = objectName(bucket, request.key, version);
  replyEmpty(request, 200, await changeGroups(request, bucket, name, groups, condition));
}

export async function putObjectLegalHold(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await lockingBucket(request, 's3:PutObjectLegalHold');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const status = requiredText(readXml(body, 'LegalHold'), 'Status').trim();
  if (status !== 'ON' && status !== 'OFF') throw refuse('MalformedXML');
  const groups = { [HOLD_GROUP]: { status: holdStatus(status) } };
  const name = objectName(bucket, request.key, version);
  replyEmpty(request, 200, await changeGroups(request, bucket, name, groups));
}

/** Undefined: an empty document takes the retention off. */
async function wantedRetention(
  request: S3Request,
  nowSeconds: number,
): Promise<Retention | undefined> {
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, 'Retention');
  const mode = textOf(root, 'Mode');
  const until = textOf(root, 'RetainUntilDate');
  if (mode === undefined && until === undefined) return undefined;
  if (mode === undefined || until === undefined) throw refuse('MalformedXML');
  if (!isMode(mode.trim())) throw refuse('MalformedXML');
  return parseRetention(mode, until, nowSeconds);
}

/** Who says so must be allowed to. @throws S3Error AccessDenied */
export async function bypassesGovernance(
  request: S3Request,
  bucket: Bucket,
  key: string,
): Promise<boolean> {
  const asked = request.header('x-amz-bypass-governance-retention')?.toLowerCase() === 'true';
  return asked && (await isAllowed(request, bucket, 's3:BypassGovernanceRetention', key));
}

export function objectIsLocked() {
  return refuse('AccessDenied', 'Access Denied because object protected by object lock.');
}

async function lockingBucket(request: S3Request, action: `s3:${string}`): Promise<Bucket> {
  const bucket = await authorize(request, action);
  if (lockRuleOf(bucket) === undefined) throw withoutLock();
  return bucket;
}

async function lockedState(request: S3Request, action: `s3:${string}`): Promise<EntryState> {
  const version = versionId(request);
  const bucket = await lockingBucket(request, action);
  const name = objectName(bucket, request.key, version);
  const state = await request.service.store.statObject(request, name);
  if (state === undefined || isMarker(state)) throw await notFound(request, bucket, name);
  return state;
}
