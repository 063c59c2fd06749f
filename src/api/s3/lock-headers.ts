/** Retention and hold that a write asks for. */
import type { MetadataGroups } from '#proxy/contract.ts';
import {
  HOLD_GROUP,
  RETENTION_GROUP,
  RETENTION_MODES,
  type Retention,
  retentionValues,
} from '#proxy/versions/lock.ts';
import { checkAccess } from './access.ts';
import type { Bucket } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import { defaultRetention, lockRuleOf } from './lock-configuration.ts';
import type { S3Request } from './request.ts';
import { HOLD_HEADER as HOLD, MODE_HEADER as MODE, UNTIL_HEADER as UNTIL } from './shown-lock.ts';

const MILLIS = 1000;

/** The groups of a new object: as the request says, else as the bucket does. @throws S3Error */
export async function lockGroups(
  request: S3Request,
  bucket: Bucket,
  /** The fields of a form stand for headers. */
  read: (name: string) => string | undefined = (name) => request.header(name),
): Promise<MetadataGroups> {
  const nowSeconds = Math.ceil(request.nowMicros / 1e6);
  const retention = wantedRetention(read(MODE), read(UNTIL), nowSeconds);
  const hold = read(HOLD);
  if ((retention !== undefined || hold !== undefined) && lockRuleOf(bucket) === undefined) {
    throw withoutLock();
  }
  const { key } = request;
  if (retention !== undefined) await checkAccess(request, bucket, 's3:PutObjectRetention', key);
  if (hold !== undefined) await checkAccess(request, bucket, 's3:PutObjectLegalHold', key);
  const counts = retention ?? defaultRetention(bucket, nowSeconds);
  return {
    ...(counts !== undefined && { [RETENTION_GROUP]: retentionValues(counts) }),
    ...(hold !== undefined && { [HOLD_GROUP]: { status: holdStatus(hold) } }),
  };
}

export function withoutLock(): S3Error {
  return refuse('InvalidRequest', 'Bucket is missing Object Lock Configuration');
}

function wantedRetention(
  mode: string | undefined,
  until: string | undefined,
  nowSeconds: number,
): Retention | undefined {
  if (mode === undefined && until === undefined) return undefined;
  if (mode === undefined || until === undefined) {
    throw refuse('InvalidArgument', `${MODE} and ${UNTIL} must both be supplied`);
  }
  return parseRetention(mode, until, nowSeconds);
}

export function isMode(text: string): text is Retention['mode'] {
  return (RETENTION_MODES as readonly string[]).includes(text);
}

/** @throws S3Error InvalidArgument */
export function parseRetention(modeText: string, until: string, nowSeconds: number): Retention {
  const mode = modeText.trim();
  if (!isMode(mode)) throw refuse('InvalidArgument', 'Unknown wormMode directive.');
  const text = until.trim();
  const millis = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(millis)) {
    throw refuse('InvalidArgument', 'The retain until date must be provided in ISO 8601 format');
  }
  const untilSeconds = Math.ceil(millis / MILLIS);
  if (untilSeconds > nowSeconds) return { mode, untilSeconds };
  throw refuse('InvalidArgument', 'The retain until date must be in the future!');
}

/** @throws S3Error InvalidArgument */
export function holdStatus(text: string): 'ON' | 'OFF' {
  if (text === 'ON' || text === 'OFF') return text;
  throw refuse('InvalidArgument', 'Legal Hold must be either of ON or OFF.');
}
