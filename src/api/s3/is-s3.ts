/**
 * Whose request is it? Swift's and Keystone's paths are theirs, unless the request says by its
 * signature, its x-amz-* headers or its host that it is S3's. Everything else is S3's.
 */
import type { IncomingMessage } from 'node:http';
import { splitTarget } from '../http/split-target.ts';
import { bucketOfHost } from './target.ts';

/** /v1/..., /v3/..., /auth/..., /info, /healthcheck, /sts, and the root: discovery. */
const OTHERS = /^\/(?:$|v1(?:\.0)?(?:\/|$)|v3(?:\/|$)|auth(?:\/|$)|info$|healthcheck$|sts$)/i;
const SIGNED_QUERY = /(?:^|&)(?:X-Amz-Algorithm|X-Amz-Credential|AWSAccessKeyId)=/;
const OTHER_SERVICE = /Credential=[^,\s]*\/(?:sts|iam)\/aws4_request/;

export function isS3({ headers, url }: IncomingMessage, domains: readonly string[]): boolean {
  const { path, query } = splitTarget(url ?? '/');
  const authorization = headers.authorization ?? '';
  // STS is signed like S3, for a service of its own.
  if (authorization.startsWith('AWS4-') && OTHER_SERVICE.test(authorization)) return false;
  if (authorization.startsWith('AWS4-') || authorization.startsWith('AWS ')) return true;
  if (SIGNED_QUERY.test(query) || bucketOfHost(headers.host, domains) !== undefined) return true;
  for (const name in headers) {
    if (name.startsWith('x-amz-') || name === 'amz-sdk-invocation-id') return true;
  }
  return !OTHERS.test(path);
}
