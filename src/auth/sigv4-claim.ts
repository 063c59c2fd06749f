/**
 * What a request says about its own AWS Signature Version 4: whose key, for which day, region and
 * service, over which headers, made when. Read from the Authorization header or from the query of a
 * presigned URL. Nothing here is checked against a key; sigv4.ts does that.
 *
 * Text is as Node gives it: one character per byte, header names in lower case, `target` as it came.
 */
import { OperatingError } from '#base/errors.ts';

/** Node's `headersDistinct` or `headers`; several values of one name stand in their order. */
export type SigV4Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface SigV4Request {
  readonly method: string;
  /** Path and query, undecoded. */
  readonly target: string;
  readonly headers: SigV4Headers;
}

export interface SigV4Claim {
  readonly form: 'header' | 'query';
  readonly access: string;
  /** YYYYMMDD */
  readonly day: string;
  readonly region: string;
  readonly service: string;
  /** Lower case, sorted, as the signer sent them. */
  readonly signedHeaders: readonly string[];
  /** As it came; of another form it fits nothing. */
  readonly signature: string;
  /** YYYYMMDDTHHMMSSZ, and the same as Unix milliseconds. */
  readonly date: string;
  readonly dateMs: number;
  /** The query form's own lifetime. */
  readonly expiresSeconds?: number;
  /** What the signer says of the body: its SHA-256, UNSIGNED-PAYLOAD, STREAMING-...; undefined: nothing. */
  readonly payload: string | undefined;
  /** x-amz-security-token: the access key is a session's. */
  readonly sessionToken?: string;
}

/**
 * `form` says where the signature stands (S3 answers AuthorizationHeaderMalformed or
 * AuthorizationQueryParametersError), `reason` what is wrong.
 */
export type SigV4Fault =
  | { readonly form: 'header' | 'query'; readonly reason: 'malformed' | 'date' | 'expires' }
  /** The credential's day is not the date's, which may be far off, too. */
  | { readonly form: 'header' | 'query'; readonly reason: 'day'; readonly dateMs: number }
  | { readonly form: 'both'; readonly reason: 'ambiguous' };

export const ALGORITHM = 'AWS4-HMAC-SHA256';
const ACCESS = /^[\x21-\x7e]{1,128}$/;
const SCOPE_PART = /^[A-Za-z0-9_.-]{1,64}$/;
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/;
const FIELD = /^\w+=\S*$/;
const BASIC_TIME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;
const DAY = /^\d{8}$/;
const DAY_DIGITS = 8;
const MAX_SIGNED_HEADERS = 100;
const MAX_AUTHORIZATION = 8192;
/** A week, S3's own limit. */
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

const THREE_COMPONENTS =
  'the authorization header requires three components: Credential, SignedHeaders, and Signature.';
const CREDENTIAL =
  'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".';
const PARSING_CREDENTIAL = 'Error parsing the X-Amz-Credential parameter';
const SIX_PARAMETERS = [
  ...['X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Signature'],
  ...['X-Amz-Date', 'X-Amz-SignedHeaders', 'X-Amz-Expires'],
];
const MISSING_PARAMETER =
  'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.';

/**
 * Undefined: the request carries no signature of version 4.
 * @throws OperatingError `bad-signature-form`, facts: SigV4Fault
 */
export function readClaim(request: SigV4Request): SigV4Claim | undefined {
  const authorization = headerValue(request.headers, 'authorization');
  const inHeader = authorization?.startsWith(ALGORITHM) ?? false;
  const query = queryPairs(request.target);
  const inQuery = query.some(([name]) => name === 'X-Amz-Algorithm' || name === 'X-Amz-Credential');
  if (inQuery && authorization !== undefined)
    throw fault({ form: 'both', reason: 'ambiguous' }, 'Only one way to authenticate is allowed.');
  if (inHeader) return fromHeader(authorization!, request.headers);
  return inQuery ? fromQuery(query, request.headers) : undefined;
}

function fromHeader(authorization: string, headers: SigV4Headers): SigV4Claim {
  if (authorization.length > MAX_AUTHORIZATION)
    throw malformed('header', 'The header is too long.');
  const parts = commonParts('header', {
    ...fieldsOf(authorization.slice(ALGORITHM.length)),
    date: dateOfHeaders(headers),
  });
  const payload = headerValue(headers, 'x-amz-content-sha256');
  const sessionToken = headerValue(headers, 'x-amz-security-token');
  return sessionToken === undefined ? { ...parts, payload } : { ...parts, payload, sessionToken };
}

/** `Credential=..., SignedHeaders=..., Signature=...` in any order, each once; others mean nothing. */
function fieldsOf(text: string): Omit<CommonTexts, 'date'> {
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    const field = part.trim();
    const equals = FIELD.test(field) ? field.indexOf('=') : 0;
    const name = field.slice(0, equals);
    if (name === '' || fields.has(name)) throw malformed('header', THREE_COMPONENTS);
    fields.set(name, field.slice(equals + 1));
  }
  const credential = fields.get('Credential');
  const signedHeaders = fields.get('SignedHeaders');
  const signature = fields.get('Signature');
  if (credential === undefined || signedHeaders === undefined || signature === undefined)
    throw malformed('header', THREE_COMPONENTS);
  return { credential, signedHeaders, signature };
}

function fromQuery(
  pairs: readonly (readonly [string, string])[],
  headers: SigV4Headers,
): SigV4Claim {
  const field = (name: string): string | undefined => {
    const found = pairs.filter((pair) => pair[0] === name);
    if (found.length > 1) throw malformed('query', `${name} stands there more than once.`);
    return found[0]?.[1];
  };
  if (SIX_PARAMETERS.some((name) => !field(name))) throw malformed('query', MISSING_PARAMETER);
  if (field('X-Amz-Algorithm') !== ALGORITHM)
    throw malformed('query', `X-Amz-Algorithm only supports "${ALGORITHM}"`);
  const expires = field('X-Amz-Expires')!;
  const sessionToken = field('X-Amz-Security-Token');
  const parts = commonParts('query', {
    credential: field('X-Amz-Credential'),
    signedHeaders: field('X-Amz-SignedHeaders'),
    signature: field('X-Amz-Signature'),
    date: field('X-Amz-Date'),
  });
  return {
    ...parts,
    expiresSeconds: lifetimeOf(expires),
    payload: field('X-Amz-Content-Sha256') ?? signedValue(parts, headers, 'x-amz-content-sha256'),
    ...(sessionToken !== undefined && { sessionToken }),
  };
}

/** A header that the signature does not cover says nothing. */
function signedValue(parts: CommonParts, headers: SigV4Headers, name: string): string | undefined {
  return parts.signedHeaders.includes(name) ? headerValue(headers, name) : undefined;
}

function lifetimeOf(text: string): number {
  const form = 'query' as const;
  if (/^-\d+$/.test(text))
    throw fault({ form, reason: 'expires' }, 'X-Amz-Expires must be non-negative');
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(seconds))
    throw fault({ form, reason: 'expires' }, 'X-Amz-Expires should be a number');
  if (seconds > MAX_EXPIRES_SECONDS)
    throw fault(
      { form, reason: 'expires' },
      `X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than ${MAX_EXPIRES_SECONDS} seconds`,
    );
  return seconds;
}

interface CommonTexts {
  readonly credential: string | undefined;
  readonly signedHeaders: string | undefined;
  readonly signature: string | undefined;
  readonly date: string | undefined;
}

type CommonParts = Omit<SigV4Claim, 'payload' | 'sessionToken' | 'expiresSeconds'>;

function commonParts(form: SigV4Claim['form'], texts: CommonTexts): CommonParts {
  const { signature = '', date = '' } = texts;
  const scope = scopeOf(form, texts.credential ?? '');
  const signedHeaders = namesOf(form, texts.signedHeaders ?? '');
  const dateMs = parseBasicTime(date);
  if (dateMs === undefined)
    throw fault(
      { form, reason: 'date' },
      "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
    );
  if (!date.startsWith(scope.day)) {
    const [day, own] = [scope.day, date.slice(0, DAY_DIGITS)];
    throw fault(
      { form, reason: 'day', dateMs },
      `Invalid credential date "${day}". This date is not the same as X-Amz-Date: "${own}".`,
    );
  }
  return { form, ...scope, signedHeaders, signature, date, dateMs };
}

/** ACCESS/DAY/REGION/SERVICE/aws4_request; an access key may hold slashes. */
function scopeOf(
  form: SigV4Claim['form'],
  credential: string,
): Pick<SigV4Claim, 'access' | 'day' | 'region' | 'service'> {
  const parts = credential.split('/');
  const end = parts.pop();
  const [service = '', region = '', day = ''] = [parts.pop(), parts.pop(), parts.pop()];
  const access = parts.length === 1 ? parts[0]! : parts.join('/');
  const fits = ACCESS.test(access) && SCOPE_PART.test(region) && SCOPE_PART.test(service);
  if (!fits || !DAY.test(day) || end !== 'aws4_request')
    throw malformed(form, form === 'query' ? `${PARSING_CREDENTIAL}; ${CREDENTIAL}` : CREDENTIAL);
  return { access, day, region, service };
}

function namesOf(form: SigV4Claim['form'], text: string): readonly string[] {
  const names = text.split(';');
  const fits = names.length <= MAX_SIGNED_HEADERS && names.every((name) => HEADER_NAME.test(name));
  const isTwice = (name: string, i: number): boolean => names.indexOf(name) !== i;
  if (!fits || !names.includes('host') || names.some(isTwice))
    throw malformed(form, 'SignedHeaders is not a list of names with "host" among them.');
  return names;
}

/** X-Amz-Date, or Date in either of its forms. */
function dateOfHeaders(headers: SigV4Headers): string | undefined {
  const amzDate = headerValue(headers, 'x-amz-date');
  if (amzDate !== undefined) return amzDate;
  const date = headerValue(headers, 'date');
  if (date === undefined || BASIC_TIME.test(date)) return date;
  const ms = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/.test(date)
    ? Date.parse(date)
    : Number.NaN;
  return Number.isNaN(ms) ? date : basicTime(ms);
}

/** Unix milliseconds as YYYYMMDDTHHMMSSZ. */
export function basicTime(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:]|\.\d+/g, '');
}

/** Undefined: no such time. Every request has one, so it is taken apart and not written again to compare. */
export function parseBasicTime(text: string): number | undefined {
  const match = BASIC_TIME.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as Fields;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  const date = new Date(ms);
  // A field that is too large runs over into the next one, and early years are taken for later ones.
  const isDay = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1;
  const isTime = date.getUTCHours() === hour && date.getUTCMinutes() === minute;
  return isDay && isTime && date.getUTCSeconds() === second ? ms : undefined;
}

type Fields = [number, number, number, number, number, number];

/** Every `name=value` of the query, decoded, in their order. */
export function queryPairs(target: string): (readonly [string, string])[] {
  const at = target.indexOf('?');
  if (at < 0 || at === target.length - 1) return [];
  return target
    .slice(at + 1)
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      const [name, value] =
        equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)];
      return [decode(name.replaceAll('+', ' ')), decode(value.replaceAll('+', ' '))] as const;
    });
}

/** Percent-decoding to bytes, one character each. A `%` that begins no escape stands for itself. */
export function decode(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

export function headerValue(headers: SigV4Headers, name: string): string | undefined {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
  return typeof value === 'string' ? value : value?.join(',');
}

function malformed(form: SigV4Claim['form'], message: string): OperatingError {
  return fault({ form, reason: 'malformed' }, message);
}

function fault(facts: SigV4Fault, message: string): OperatingError {
  return new OperatingError('bad-signature-form', message, { ...facts });
}
