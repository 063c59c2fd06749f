/**
 * CORS: which pages of other origins may use a bucket. The configuration stands beside the bucket as
 * JSON with a version; the first rule that fits origin and method decides.
 *
 *     {"v":1,"rules":[{"origins":["https://*.example.org"],"methods":["GET"],"headers":["*"],
 *       "expose":["ETag"],"maxAge":3000,"id":"x"}]}
 */
import { globMatches } from '#auth/policy/glob.ts';
import { codeOf } from '#base/errors.ts';
import { authorize } from './access.ts';
import { type Bucket, findBucket } from './bucket.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, element, leaf } from './xml.ts';
import { children, onlyChildren, readXml, textOf, type XmlElement } from './xml-reader.ts';

interface CorsRule {
  readonly id?: string;
  readonly origins: readonly string[];
  readonly methods: readonly string[];
  readonly headers: readonly string[];
  readonly expose: readonly string[];
  readonly maxAge?: number;
}

const CORS_HEADER = 's3-cors';
const METHODS = new Set(['GET', 'PUT', 'POST', 'DELETE', 'HEAD']);
const MAX_RULES = 100;
const MAX_ID = 255;
/** Headers that a page wants to send: each is compared with each that is allowed. */
const MAX_WANTED = 100;
const VARY = 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method';

export async function getBucketCors(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketCORS');
  const rules = rulesOf(bucket);
  if (rules === undefined) {
    throw refuse('NoSuchCORSConfiguration', undefined, { BucketName: request.bucket });
  }
  replyXml(request, document('CORSConfiguration', rules.map(ruleXml).join('')));
}

export async function putBucketCors(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketCORS');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, 'CORSConfiguration');
  onlyChildren(root, ['CORSRule']);
  const rules = root.children.map(parseRule);
  if (rules.length === 0 || rules.length > MAX_RULES) throw refuse('MalformedXML');
  await configure(request, bucket, { [CORS_HEADER]: JSON.stringify({ v: 1, rules }) });
  replyEmpty(request, 200);
}

export async function deleteBucketCors(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketCORS');
  await configure(request, bucket, { [CORS_HEADER]: null });
  replyEmpty(request, 204);
}

/** @throws S3Error MalformedXML, InvalidRequest */
function parseRule(rule: XmlElement): CorsRule {
  const texts = (name: string): string[] => children(rule, name).map(({ text }) => text.trim());
  onlyChildren(rule, [
    ...['ID', 'AllowedOrigin', 'AllowedMethod', 'AllowedHeader', 'ExposeHeader', 'MaxAgeSeconds'],
  ]);
  const [origins, methods, headers] = ['AllowedOrigin', 'AllowedMethod', 'AllowedHeader'].map(
    texts,
  );
  if (origins!.length === 0 || methods!.length === 0) throw refuse('MalformedXML');
  const unknown = methods!.find((method) => !METHODS.has(method));
  if (unknown !== undefined) {
    throw refuse(
      'InvalidRequest',
      `Found unsupported HTTP method in CORS config. Unsupported method is ${unknown}`,
    );
  }
  for (const text of [...origins!, ...headers!]) {
    if (text.split('*').length <= 2) continue;
    throw refuse('InvalidRequest', `AllowedOrigin "${text}" can not have more than one wildcard.`);
  }
  const expose = texts('ExposeHeader');
  const wild = expose.find((name) => name.includes('*'));
  if (wild !== undefined) {
    const why = `ExposeHeader "${wild}" contains wildcard. We currently do not support wildcard for ExposeHeader.`;
    throw refuse('InvalidRequest', why);
  }
  const id = textOf(rule, 'ID');
  if (id !== undefined && id.length > MAX_ID) throw refuse('MalformedXML');
  const age = textOf(rule, 'MaxAgeSeconds')?.trim();
  if (age !== undefined && !/^\d{1,9}$/.test(age)) throw refuse('MalformedXML');
  return {
    origins: origins!,
    methods: methods!,
    headers: headers!,
    expose,
    ...(id !== undefined && { id }),
    ...(age !== undefined && { maxAge: Number(age) }),
  };
}

function ruleXml({ id, origins, methods, headers, expose, maxAge }: CorsRule): string {
  const all = (name: string, values: readonly string[]): string =>
    values.map((value) => leaf(name, value)).join('');
  return element(
    'CORSRule',
    leaf('ID', id) +
      all('AllowedMethod', methods) +
      all('AllowedOrigin', origins) +
      all('AllowedHeader', headers) +
      leaf('MaxAgeSeconds', maxAge) +
      all('ExposeHeader', expose),
  );
}

function rulesOf({ info }: Bucket): readonly CorsRule[] | undefined {
  const text = info.headers[CORS_HEADER];
  if (text === undefined) return undefined;
  return (JSON.parse(text) as { rules: readonly CorsRule[] }).rules;
}

function ruleFor(
  rules: readonly CorsRule[],
  origin: string,
  method: string,
  headers: readonly string[],
): CorsRule | undefined {
  return rules.find(
    (rule) =>
      rule.origins.some((pattern) => globMatches(pattern, origin)) &&
      rule.methods.includes(method) &&
      headers.every((name) =>
        rule.headers.some((pattern) => globMatches(pattern.toLowerCase(), name)),
      ),
  );
}

function originHeaders(rule: CorsRule, origin: string): string[] {
  // For everybody, credentials or not, unless the rule is for all alike.
  const everybody = rule.origins.includes('*');
  return [
    ...['Access-Control-Allow-Origin', everybody ? '*' : origin],
    ...['Access-Control-Allow-Methods', rule.methods.join(', ')],
    ...(rule.expose.length > 0 ? ['Access-Control-Expose-Headers', rule.expose.join(', ')] : []),
    ...(rule.maxAge === undefined ? [] : ['Access-Control-Max-Age', String(rule.maxAge)]),
    ...(everybody ? [] : ['Access-Control-Allow-Credentials', 'true']),
    ...['Vary', VARY],
  ];
}

/** For every answer to a page of another origin, also a refusal. */
export async function addCorsHeaders(request: S3Request): Promise<void> {
  const origin = request.header('origin');
  if (origin === undefined || !request.hasBucket || request.method === 'OPTIONS') return;
  const rules = await rulesQuietly(request);
  const rule = rules && ruleFor(rules, origin, request.method, []);
  if (rule !== undefined) request.extraHeaders.push(...originHeaders(rule, origin));
}

async function rulesQuietly(request: S3Request): Promise<readonly CorsRule[] | undefined> {
  try {
    return rulesOf(await findBucket(request));
  } catch (error) {
    if (codeOf(error) === 'client-gone') throw error;
    return undefined; // The operation itself meets the same error, and tells it.
  }
}

/** OPTIONS: what a browser asks before it lets a page do something. */
export async function preflight(request: S3Request): Promise<void> {
  const origin = request.header('origin');
  const method = request.header('access-control-request-method');
  if (origin === undefined) {
    throw refuse('BadRequest', 'Insufficient information. Origin request header needed.');
  }
  if (method === undefined || !METHODS.has(method)) {
    throw refuse('BadRequest', `Invalid Access-Control-Request-Method: ${method ?? 'null'}`);
  }
  const rules = rulesOf(await findBucket(request));
  const wanted = request.header('access-control-request-headers') ?? '';
  const names = wanted.split(',').map((name) => name.trim().toLowerCase());
  const headers = names.filter((name) => name !== '');
  if (headers.length > MAX_WANTED) throw refuse('BadRequest', 'Too many headers are asked for.');
  const rule = rules && ruleFor(rules, origin, method, headers);
  if (rule === undefined) {
    const why =
      rules === undefined
        ? 'CORSResponse: CORS is not enabled for this bucket.'
        : "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
    throw refuse('AccessForbidden', why, {
      Method: method,
      ResourceType: request.key === '' ? 'BUCKET' : 'OBJECT',
    });
  }
  const allowed = headers.length > 0 ? ['Access-Control-Allow-Headers', headers.join(', ')] : [];
  replyEmpty(request, 200, [...originHeaders(rule, origin), ...allowed]);
}
