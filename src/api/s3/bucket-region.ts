/**
 * Where a bucket is said to be. Every bucket is at all sites; what its creator asked for is told again,
 * because clients compare it, and sign for it.
 */
import type { Bucket } from './bucket.ts';
import type { S3Request } from './request.ts';

export const LOCATION_HEADER = 's3-location';

/** Empty where nobody asked for one: us-east-1, the one that every client takes without asking again. */
export function locationOf({ info }: Bucket): string {
  return info.headers[LOCATION_HEADER] ?? '';
}

/** A header; without a wish it is the site that is asked. */
export function regionHeader({ service }: S3Request, bucket: Bucket): string[] {
  return ['x-amz-bucket-region', locationOf(bucket) || service.region];
}
