/** What a write may ask for and does not get here is refused, never ignored. */
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

const REFUSED = ['x-amz-write-offset-bytes'] as const;

const LOCK_HEADERS = [
  'x-amz-object-lock-mode',
  'x-amz-object-lock-retain-until-date',
  'x-amz-object-lock-legal-hold',
] as const;

/** @throws S3Error NotImplemented, InvalidRequest */
export function refuseUnsupported(request: S3Request): void {
  for (const name of REFUSED) {
    if (request.header(name) !== undefined) {
      throw refuse('NotImplemented', undefined, { Header: name });
    }
  }
  if (LOCK_HEADERS.some((name) => request.header(name) !== undefined)) {
    throw refuse('InvalidRequest', 'Bucket is missing Object Lock Configuration');
  }
}
