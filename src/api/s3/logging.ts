/** GetBucketLogging and PutBucketLogging; the logs themselves: access-log.ts. */
import { authorize } from './access.ts';
import { type Bucket, findBucketAt } from './bucket.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import {
  decodeLogging,
  encodeLogging,
  LOG_DATES,
  LOGGING_HEADER,
  type Logging,
} from './logging-rules.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, element, leaf } from './xml.ts';
import { child, onlyChildren, readXml, requiredText, type XmlElement } from './xml-reader.ts';

const MAX_PREFIX = 800;

export async function getBucketLogging(request: S3Request): Promise<void> {
  const { info } = await authorize(request, 's3:GetBucketLogging');
  const text = info.headers[LOGGING_HEADER];
  const content = text === undefined ? '' : loggingXml(decodeLogging(text));
  replyXml(request, document('BucketLoggingStatus', content));
}

export async function putBucketLogging(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketLogging');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, 'BucketLoggingStatus');
  onlyChildren(root, ['LoggingEnabled']);
  const enabled = child(root, 'LoggingEnabled');
  const logging = enabled && parseLogging(enabled);
  if (logging !== undefined) await checkTarget(request, bucket, logging);
  const text = logging === undefined ? null : encodeLogging(logging);
  await configure(request, bucket, { [LOGGING_HEADER]: text });
  replyEmpty(request, 200);
}

/** The target is the same owner's: nobody fills the bucket of another. @throws S3Error */
async function checkTarget(
  request: S3Request,
  { account }: Bucket,
  { target }: Logging,
): Promise<void> {
  if ((await findBucketAt(request, account, target)) !== undefined) return;
  const owner = await request.service.names.ownerOf(target);
  throw refuse(
    'InvalidTargetBucketForLogging',
    owner === undefined
      ? undefined
      : 'The owner for the bucket to be logged and the target bucket must be the same.',
    { TargetBucket: target },
  );
}

/** @throws S3Error MalformedXML, NotImplemented, InvalidArgument */
function parseLogging(enabled: XmlElement): Logging {
  onlyChildren(enabled, ['TargetBucket', 'TargetPrefix', 'TargetGrants', 'TargetObjectKeyFormat']);
  const target = requiredText(enabled, 'TargetBucket').trim();
  const prefix = requiredText(enabled, 'TargetPrefix');
  if (prefix.length > MAX_PREFIX) throw refuse('InvalidArgument', 'The prefix is too long');
  // Who reads logs is said by the policy of their bucket.
  if ((child(enabled, 'TargetGrants')?.children.length ?? 0) > 0) {
    throw refuse('NotImplemented', undefined, { Header: 'TargetGrants' });
  }
  return { target, prefix, ...parseFormat(child(enabled, 'TargetObjectKeyFormat')) };
}

function parseFormat(format: XmlElement | undefined): Pick<Logging, 'dates' | 'plain'> {
  if (format === undefined) return {};
  onlyChildren(format, ['SimplePrefix', 'PartitionedPrefix']);
  const [simple, partitioned] = [child(format, 'SimplePrefix'), child(format, 'PartitionedPrefix')];
  if ((simple === undefined) === (partitioned === undefined)) throw refuse('MalformedXML');
  if (partitioned === undefined) return { plain: true };
  onlyChildren(partitioned, ['PartitionDateSource']);
  const source = requiredText(partitioned, 'PartitionDateSource').trim();
  const dates = LOG_DATES.find((known) => known === source);
  if (dates === undefined) throw refuse('MalformedXML');
  return { dates };
}

function loggingXml({ target, prefix, dates, plain }: Logging): string {
  const format =
    dates === undefined
      ? element('SimplePrefix', '')
      : element('PartitionedPrefix', leaf('PartitionDateSource', dates));
  const isNamed = plain === true || dates !== undefined;
  return element(
    'LoggingEnabled',
    leaf('TargetBucket', target) +
      leaf('TargetPrefix', prefix) +
      (isNamed ? element('TargetObjectKeyFormat', format) : ''),
  );
}
