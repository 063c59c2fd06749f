/**
 * AWS Signature Version 2 of S3, pure: what a request claims, and the string that its signer signed.
 * Old clients use it; the secret is needed to check it, so identity does (`s3Keys.check`).
 *
 *     method \n Content-MD5 \n Content-Type \n Date or Expires \n
 *     x-amz-* headers, sorted, one a line
 *     /bucket/key as it came, and the sub-resources of the query
 */
import {
  decode,
  headerValue,
  queryPairs,
  type SigV4Headers,
  type SigV4Request,
} from './sigv4-claim.ts';

export interface SigV2Claim {
  readonly form: 'header' | 'query';
  readonly access: string;
  /** Base64. */
  readonly signature: string;
  /** Unix milliseconds of the Date header; undefined: none, or no date. */
  readonly dateMs?: number;
  /** Of a presigned URL, Unix seconds. */
  readonly expires?: number;
  /** The access key is a session's. */
  readonly sessionToken?: string;
}

const SESSION_TOKEN = 'x-amz-security-token';

/**
 * `malformed`: there is such a signature, but it can't be read; `incomplete`: parameters of a presigned
 * URL are not there, or no number. Undefined: there is none.
 */
export function readSigV2(
  request: SigV4Request,
): SigV2Claim | 'malformed' | 'incomplete' | undefined {
  const authorization = headerValue(request.headers, 'authorization');
  if (authorization?.startsWith('AWS ')) return fromHeader(authorization, request.headers);
  const pairs = queryPairs(request.target);
  const value = (name: string): string | undefined => pairs.find((pair) => pair[0] === name)?.[1];
  const access = value('AWSAccessKeyId');
  const signature = value('Signature');
  if (access === undefined && signature === undefined) return undefined;
  const expires = value('Expires') ?? '';
  if (!/^\d{1,12}$/.test(expires) || !access || !signature) return 'incomplete';
  const sessionToken = value(SESSION_TOKEN);
  return {
    ...{ form: 'query', access, signature, expires: Number(expires) },
    ...(sessionToken !== undefined && { sessionToken }),
  };
}

function fromHeader(authorization: string, headers: SigV4Headers): SigV2Claim | 'malformed' {
  const match = /^AWS ([\x21-\x39\x3b-\x7e]{1,128}):([A-Za-z0-9+/=]{1,64})$/.exec(authorization);
  if (match === null) return 'malformed';
  const text = headerValue(headers, 'x-amz-date') ?? headerValue(headers, 'date');
  const dateMs = text === undefined ? Number.NaN : parseDate(text);
  const sessionToken = headerValue(headers, SESSION_TOKEN);
  return {
    form: 'header',
    access: match[1]!,
    signature: match[2]!,
    ...(!Number.isNaN(dateMs) && { dateMs }),
    ...(sessionToken !== undefined && { sessionToken }),
  };
}

/** RFC 1123, or ISO 8601 in its basic form. */
function parseDate(text: string): number {
  const basic = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (basic === null) return Date.parse(text);
  const [, year, month, day, hour, minute, second] = basic;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

/** Parameters that change what a request means; sorted. */
const SUBRESOURCES = new Set([
  ...['accelerate', 'acl', 'analytics', 'cors', 'delete', 'encryption', 'inventory', 'legal-hold'],
  ...['lifecycle', 'location', 'logging', 'metrics', 'notification', 'object-lock'],
  ...['ownershipControls', 'partNumber', 'policy', 'policyStatus', 'publicAccessBlock'],
  ...['replication', 'requestPayment', 'response-cache-control', 'response-content-disposition'],
  ...['response-content-encoding', 'response-content-language', 'response-content-type'],
  ...['response-expires', 'restore', 'retention', 'select', 'select-type', 'tagging', 'torrent'],
  ...['uploadId', 'uploads', 'versionId', 'versioning', 'versions', 'website'],
]);

/** What botocore signs of them: it never learned of those that came after SigV4. */
const CLASSIC = new Set([
  ...['accelerate', 'acl', 'analytics', 'cors', 'delete', 'inventory', 'lifecycle', 'location'],
  ...['logging', 'metrics', 'notification', 'object-lock', 'partNumber', 'policy', 'replication'],
  ...['requestPayment', 'response-cache-control', 'response-content-disposition'],
  ...['response-content-encoding', 'response-content-language', 'response-content-type'],
  ...['response-expires', 'restore', 'select', 'select-type', 'tagging', 'torrent', 'uploadId'],
  ...['uploads', 'versionId', 'versioning', 'versions', 'website'],
]);

/**
 * What may have been signed: of a bucket alone, `/bucket` or, as old clients write it, `/bucket/`; of a
 * header, without the newer sub-resources (a URL could be handed on, and turned into another request
 * by one that is not signed). `hostBucket`: the bucket that the host named, which is part of it.
 */
export function sigV2StringsToSign(
  request: SigV4Request,
  claim: SigV2Claim,
  hostBucket: string | undefined,
): string[] {
  const { target } = request;
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const targets = [target];
  if (/^\/[^/]+$/.test(path)) targets.push(`${path}/${mark < 0 ? '' : target.slice(mark)}`);
  const known = claim.form === 'header' ? [SUBRESOURCES, CLASSIC] : [SUBRESOURCES];
  const texts = targets.flatMap((each) =>
    known.map((names) => stringToSign({ ...request, target: each }, claim, { hostBucket, names })),
  );
  return [...new Set(texts)];
}

function stringToSign(
  { method, target, headers }: SigV4Request,
  claim: SigV2Claim,
  resource: SignedResource,
): string {
  // Where x-amz-date stands among the headers, the date's own line is empty.
  const date = headerValue(headers, 'x-amz-date') === undefined ? headerValue(headers, 'date') : '';
  return [
    method,
    headerValue(headers, 'content-md5') ?? '',
    headerValue(headers, 'content-type') ?? '',
    claim.form === 'query' ? String(claim.expires) : (date ?? ''),
    ...amzHeaders(withToken(headers, claim)),
    resourceOf(target, resource),
  ].join('\n');
}

/** In a presigned URL the session's token is a parameter, and signed as if it were a header. */
function withToken(headers: SigV4Headers, { form, sessionToken }: SigV2Claim): SigV4Headers {
  if (form !== 'query' || sessionToken === undefined) return headers;
  return { ...headers, [SESSION_TOKEN]: sessionToken };
}

function amzHeaders(headers: SigV4Headers): string[] {
  return Object.keys(headers)
    .filter((name) => name.startsWith('x-amz-') && headers[name] !== undefined)
    .sort()
    .map((name) => `${name}:${headerValue(headers, name)!.trim()}`);
}

interface SignedResource {
  readonly hostBucket: string | undefined;
  readonly names: ReadonlySet<string>;
}

function resourceOf(target: string, { hostBucket, names }: SignedResource): string {
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const bucket = hostBucket === undefined ? '' : `/${hostBucket}`;
  const parts = (mark < 0 ? [] : target.slice(mark + 1).split('&'))
    .map((part): [string, string | undefined] => {
      const equals = part.indexOf('=');
      if (equals < 0) return [part, undefined];
      return [part.slice(0, equals), decode(part.slice(equals + 1).replaceAll('+', ' '))];
    })
    .filter(([name]) => names.has(name))
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, value]) => (value === undefined || value === '' ? name : `${name}=${value}`));
  return `${bucket}${path}${parts.length === 0 ? '' : `?${parts.join('&')}`}`;
}
