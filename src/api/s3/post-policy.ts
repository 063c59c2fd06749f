/**
 * The policy of a POST form: until when it is good, and what each field must be. Everything in the form
 * must be named by it, but for the signature's own fields and those that begin with x-ignore-; and the
 * bucket, which no field names: a policy is good for one bucket, not for all that its signer has.
 *
 *     {"expiration": "2026-12-01T12:00:00.000Z", "conditions": [
 *       {"acl": "public-read"}, ["eq", "$bucket", "b"], ["starts-with", "$key", "user/"],
 *       ["content-length-range", 0, 1048576]]}
 */
import { refuse, type S3Error } from './errors.ts';

export interface PostPolicy {
  readonly expiresMs: number;
  readonly conditions: readonly FieldCondition[];
  readonly length: readonly [least: number, most: number] | undefined;
}

interface FieldCondition {
  readonly field: string;
  readonly prefix: boolean;
  readonly value: string;
}

const MAX_CONDITIONS = 200;
/** Fields that need not be in the policy. */
const FREE = new Set(['policy', 'x-amz-signature', 'signature', 'awsaccesskeyid', 'file']);

/** `text`: the policy field, base64. @throws S3Error InvalidPolicyDocument */
export function parsePostPolicy(text: string): PostPolicy {
  let value: unknown;
  try {
    value = JSON.parse(withoutOwnEscapes(Buffer.from(text, 'base64').toString('utf8')));
  } catch {
    throw invalid('Invalid JSON.');
  }
  if (typeof value !== 'object' || value === null) throw invalid('Invalid JSON.');
  const { expiration, conditions } = value as Record<string, unknown>;
  const expiresMs = typeof expiration === 'string' ? parseDate(expiration) : Number.NaN;
  if (Number.isNaN(expiresMs)) throw invalid('Policy document must specify an expiration.');
  if (!Array.isArray(conditions)) throw invalid('Policy document must specify conditions.');
  if (conditions.length > MAX_CONDITIONS) throw invalid('Too many conditions.');
  let length: PostPolicy['length'];
  const fields: FieldCondition[] = [];
  for (const condition of conditions as unknown[]) {
    const range = rangeOf(condition);
    if (range !== undefined) length = range;
    else fields.push(...fieldConditions(condition));
  }
  return { expiresMs, conditions: fields, length };
}

/** S3 has two escapes more than JSON: a dollar sign, and the vertical tab. */
function withoutOwnEscapes(json: string): string {
  return json.replace(/\\(.)/gs, (whole, character: string) =>
    character === '$' ? '$' : character === 'v' ? '\\u000b' : whole,
  );
}

function parseDate(text: string): number {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/.test(text) ? Date.parse(text) : Number.NaN;
}

function rangeOf(condition: unknown): readonly [number, number] | undefined {
  const [operator, least, most] = Array.isArray(condition) ? (condition as unknown[]) : [];
  if (typeof operator !== 'string' || operator.toLowerCase() !== 'content-length-range') {
    return undefined;
  }
  const [from, to] = [Number(least), Number(most)];
  const size = (condition as unknown[]).length;
  if (
    size !== 3 ||
    !Number.isSafeInteger(from) ||
    !Number.isSafeInteger(to) ||
    from < 0 ||
    to < from
  ) {
    throw invalid('Invalid content-length-range.');
  }
  return [from, to];
}

function fieldConditions(condition: unknown): FieldCondition[] {
  if (Array.isArray(condition)) return [listCondition(condition as unknown[])];
  if (typeof condition !== 'object' || condition === null) throw invalid('Invalid condition.');
  const entries = Object.entries(condition);
  if (entries.length === 0) throw invalid('Invalid condition.');
  return entries.map(([name, value]) => {
    if (typeof value !== 'string') throw invalid('Invalid condition.');
    return { field: name.toLowerCase(), prefix: false, value };
  });
}

function listCondition([operator, field, value, ...rest]: unknown[]): FieldCondition {
  const kind = typeof operator === 'string' ? operator.toLowerCase() : '';
  const known = kind === 'eq' || kind === 'starts-with';
  const named = typeof field === 'string' && field.startsWith('$');
  if (!known || !named || typeof value !== 'string' || rest.length > 0)
    throw invalid('Invalid condition.');
  return { field: field.slice(1).toLowerCase(), prefix: kind === 'starts-with', value };
}

/** @throws S3Error AccessDenied */
export function checkPostPolicy(
  policy: PostPolicy,
  fields: ReadonlyMap<string, string>,
  bucket: string,
  nowMs: number,
): void {
  if (policy.expiresMs < nowMs)
    throw refuse('AccessDenied', 'Invalid according to Policy: Policy expired.');
  const named = new Set(policy.conditions.map(({ field }) => field));
  for (const name of new Set(['bucket', ...fields.keys()])) {
    if (named.has(name) || FREE.has(name) || name.startsWith('x-ignore-')) continue;
    throw refuse('AccessDenied', `Invalid according to Policy: Extra input fields: ${name}`);
  }
  for (const condition of policy.conditions) {
    const given = condition.field === 'bucket' ? bucket : (fields.get(condition.field) ?? '');
    if (condition.prefix ? startsWith(condition, given) : given === condition.value) continue;
    const { prefix, field, value } = condition;
    const shown = JSON.stringify([prefix ? 'starts-with' : 'eq', `$${field}`, value]);
    throw refuse('AccessDenied', `Invalid according to Policy: Policy Condition failed: ${shown}`);
  }
}

/** Several content types may be named, each must fit. */
function startsWith({ field, value }: FieldCondition, given: string): boolean {
  const items = field === 'content-type' ? given.split(',') : [given];
  return items.every((item) => item.trim().startsWith(value));
}

function invalid(why: string): S3Error {
  return refuse('InvalidPolicyDocument', `Invalid Policy: ${why}`);
}
