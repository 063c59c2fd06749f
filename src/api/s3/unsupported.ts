/** What a write may ask for and does not get here is refused, never ignored. */
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

const REFUSED = ['x-amz-write-offset-bytes'] as const;

/** @throws S3Error NotImplemented */
export function refuseUnsupported(request: S3Request): void {
  for (const name of REFUSED) {
    if (request.header(name) !== undefined) {
      throw refuse('NotImplemented', undefined, { Header: name });
    }
  }
}
