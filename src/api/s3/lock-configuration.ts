/**
 * GetObjectLockConfiguration, PutObjectLockConfiguration. The container header `s3-object-lock` is JSON,
 * with a version: {"lock": 1, "mode": "GOVERNANCE", "days": 30}; mode and days or years: of objects for
 * which nothing else is asked. Once there, it stays: a lock that could be taken off would be none.
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { versioningOf } from '#proxy/versions/contract.ts';
import { LOCK_HEADER, RETENTION_MODES, type Retention } from '#proxy/versions/lock.ts';
import { authorize } from './access.ts';
import type { Bucket } from './bucket.ts';
import { configureWrites } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, element, leaf } from './xml.ts';
import { child, readXml, requiredText, textOf, type XmlElement } from './xml-reader.ts';

const VERSION = 1;
const DAY_SECONDS = 86_400;
const YEAR_DAYS = 365;
const MAX_DAYS = 36_500;

const schema = z.object({
  lock: z.literal(VERSION),
  mode: z.enum(RETENTION_MODES).optional(),
  days: z.number().int().positive().optional(),
  years: z.number().int().positive().optional(),
});
type LockRule = Omit<z.infer<typeof schema>, 'lock'>;

export const LOCK_ENABLED = encodeRule({});

function encodeRule(rule: LockRule): string {
  return JSON.stringify({ lock: VERSION, ...rule });
}

/** Undefined: the bucket locks nothing. @throws OperatingError `malformed`: rather than to lock nothing */
export function lockRuleOf({ info }: Pick<Bucket, 'info'>): LockRule | undefined {
  const text = info.headers[LOCK_HEADER];
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new OperatingError('malformed', "damaged setting of a bucket's object lock");
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // refused by the schema
  }
}

/** Of an object that is written now, where its request asks for nothing. */
export function defaultRetention(bucket: Bucket, nowSeconds: number): Retention | undefined {
  const { mode, days = 0, years = 0 } = lockRuleOf(bucket) ?? {};
  if (mode === undefined) return undefined;
  return { mode, untilSeconds: nowSeconds + (days + years * YEAR_DAYS) * DAY_SECONDS };
}

export async function getObjectLockConfiguration(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketObjectLockConfiguration');
  const rule = lockRuleOf(bucket);
  if (rule === undefined) {
    const fields = { BucketName: request.bucket };
    throw refuse('ObjectLockConfigurationNotFoundError', undefined, fields);
  }
  const { mode, days, years } = rule;
  const retention = leaf('Mode', mode) + leaf('Days', days) + leaf('Years', years);
  const rules = mode === undefined ? '' : element('Rule', element('DefaultRetention', retention));
  replyXml(
    request,
    document('ObjectLockConfiguration', leaf('ObjectLockEnabled', 'Enabled') + rules),
  );
}

export async function putObjectLockConfiguration(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketObjectLockConfiguration');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, 'ObjectLockConfiguration');
  if (requiredText(root, 'ObjectLockEnabled').trim() !== 'Enabled') throw refuse('MalformedXML');
  const rule = ruleOf(root);
  // As it is now: a cached answer could be older than the suspension.
  const info = await request.service.store.containerInfo(request, bucket, true);
  if (versioningOf(info) !== 'Enabled') {
    throw refuse('InvalidBucketState', 'Versioning must be enabled on the bucket to lock objects.');
  }
  await configureWrites(request, bucket, { [LOCK_HEADER]: encodeRule(rule) });
  replyEmpty(request, 200);
}

/** @throws S3Error MalformedXML, InvalidArgument */
function ruleOf(root: XmlElement): LockRule {
  const rule = child(root, 'Rule');
  if (rule === undefined) return {};
  const retention = child(rule, 'DefaultRetention');
  const text = retention && requiredText(retention, 'Mode').trim();
  const mode = RETENTION_MODES.find((known) => known === text);
  if (retention === undefined || mode === undefined) throw refuse('MalformedXML');
  const days = countOf(retention, 'Days', MAX_DAYS);
  const years = countOf(retention, 'Years', MAX_DAYS / YEAR_DAYS);
  if ((days === undefined) === (years === undefined)) throw refuse('MalformedXML');
  return { mode, ...(days !== undefined && { days }), ...(years !== undefined && { years }) };
}

function countOf(retention: XmlElement, name: 'Days' | 'Years', most: number): number | undefined {
  const text = textOf(retention, name)?.trim();
  if (text === undefined) return undefined;
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= most) return count;
  throw refuse('InvalidArgument', 'Default retention period must be a positive integer value.');
}
