/**
 * Where a bucket's access log goes, as its container header `s3-logging` keeps it:
 *
 *     {"v":1,"target":"logs","prefix":"photos/","dates":"EventTime"}
 */
import { OperatingError } from '#base/errors.ts';

export const LOGGING_HEADER = 's3-logging';
const VERSION = 1;

export const LOG_DATES = ['EventTime', 'DeliveryTime'] as const;

export interface Logging {
  /** A bucket of the same account. */
  readonly target: string;
  readonly prefix: string;
  /** Names have folders of account, region, bucket and day, by one of these; absent: they have none. */
  readonly dates?: (typeof LOG_DATES)[number];
  /** The document named the plain form. */
  readonly plain?: true;
}

export function encodeLogging(logging: Logging): string {
  return JSON.stringify({ v: VERSION, ...logging });
}

/** What `encodeLogging` made. @throws OperatingError `newer-format` */
export function decodeLogging(text: string): Logging {
  const { v, ...logging } = JSON.parse(text) as Logging & { readonly v: number };
  if (v <= VERSION) return logging;
  throw new OperatingError('newer-format', 'logging of a newer version', { version: v });
}
