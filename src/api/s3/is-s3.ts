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

const FORM = 'application/x-www-form-urlencoded';

export function isS3(
  { headers, url, method }: IncomingMessage,
  domains: readonly string[],
): boolean {
  const { path, query } = splitTarget(url ?? '/');
  const authorization = headers.authorization ?? '';
  // STS is signed like S3, for a service of its own.
  if (authorization.startsWith('AWS4-') && OTHER_SERVICE.test(authorization)) return false;
  if (authorization.startsWith('AWS4-') || authorization.startsWith('AWS ')) return true;
  if (SIGNED_QUERY.test(query) || bucketOfHost(headers.host, domains) !== undefined) return true;
  // STS unsigned: a certificate or a web identity token is the proof.
  const form = headers['content-type']?.startsWith(FORM) ?? false;
  if (method === 'POST' && form && (path === '/' || path === '/sts')) return false;
  for (const name in headers) {
    if (name.startsWith('x-amz-') || name === 'amz-sdk-invocation-id') return true;
  }
  return !OTHERS.test(path);
}
