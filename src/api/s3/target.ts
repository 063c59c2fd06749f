/**
 * What a request is about: `/bucket/key`, or `/key` where the host names the bucket. Taken from the
 * raw bytes of the request line: dot segments, double slashes and encoded slashes are parts of keys.
 */
import { percentDecode } from '../http/utf8.ts';
import { refuse } from './errors.ts';

export interface Target {
  readonly bucket: string | undefined;
  readonly key: string | undefined;
}

/** The bucket in `bucket.DOMAIN[:port]`; undefined: the host is the domain itself or a foreign one. */
export function bucketOfHost(
  host: string | undefined,
  domains: readonly string[],
): string | undefined {
  if (host === undefined || domains.length === 0) return undefined;
  const name = host.replace(/:\d*$/, '').toLowerCase();
  for (const domain of domains) {
    if (name.length > domain.length + 1 && name.endsWith(`.${domain}`)) {
      return name.slice(0, -domain.length - 1);
    }
  }
  return undefined;
}

/** @throws S3Error InvalidURI */
export function parseTarget(rawPath: string, hostBucket: string | undefined): Target {
  const path = percentDecode(rawPath);
  if (path === undefined) throw refuse('InvalidURI');
  const rest = path.startsWith('/') ? path.slice(1) : path;
  if (hostBucket !== undefined) return { bucket: hostBucket, key: rest === '' ? undefined : rest };
  const slash = rest.indexOf('/');
  const bucket = slash < 0 ? rest : rest.slice(0, slash);
  const key = slash < 0 ? '' : rest.slice(slash + 1);
  if (bucket === '' && key !== '') throw refuse('InvalidBucketName');
  return { bucket: bucket === '' ? undefined : bucket, key: key === '' ? undefined : key };
}
