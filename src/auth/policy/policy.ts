/**
 * Access policies in IAM's language, pure: parsed once, checked strictly, evaluated for one request. A
 * statement that could not be understood would be a hole, so everything unknown is refused when the
 * policy is set.
 *
 *     {"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow" | "Deny",
 *       "Principal" | "NotPrincipal": "*" | {"AWS": [...], "CanonicalUser": [...]},
 *       "Action" | "NotAction": [...], "Resource" | "NotResource": [...],
 *       "Condition": {"StringLike": {"s3:prefix": ["home/*"]}}}]}
 *
 * Deny counts over Allow; what no statement mentions is `none`, and others decide.
 */
import { OperatingError } from '#base/errors.ts';
import { type Condition, conditionHolds, type Facts, parseCondition } from './conditions.ts';
import { globMatches, patternMatches } from './glob.ts';
import { aboutOf, isConditionKey, isPrincipal, kindsOfResource } from './s3-terms.ts';

export interface Policy {
  readonly statements: readonly Statement[];
}

export interface Statement {
  readonly allows: boolean;
  /** Undefined: of a policy that belongs to a user, who is its principal. */
  readonly principals: Choice | undefined;
  readonly actions: Choice;
  readonly resources: Choice;
  readonly conditions: readonly Condition[];
}

/** One of these, or (`not`) none of these. */
export interface Choice {
  readonly not: boolean;
  readonly items: readonly string[];
}

export interface PolicyRequest {
  /** Every way in which a statement can name who asks; `*` is everybody. */
  readonly principals: ReadonlySet<string>;
  /** `s3:GetObject` */
  readonly action: string;
  /** `arn:aws:s3:::bucket/key` */
  readonly resource: string;
  readonly facts: Facts;
}

export type Verdict = 'allow' | 'deny' | 'none';

export const MAX_STATEMENTS = 400;
const VERSIONS = ['2012-10-17', '2008-10-17'];

export function evaluate(policy: Policy, request: PolicyRequest): Verdict {
  let verdict: Verdict = 'none';
  for (const statement of policy.statements) {
    if (!applies(statement, request)) continue;
    if (!statement.allows) return 'deny';
    verdict = 'allow';
  }
  return verdict;
}

function applies(statement: Statement, request: PolicyRequest): boolean {
  const { principals, actions, resources, conditions } = statement;
  const { action, resource, facts } = request;
  const named = (item: string): boolean => request.principals.has(item);
  return (
    (principals === undefined || chosen(principals, named)) &&
    chosen(actions, (item) => globMatches(item.toLowerCase(), action.toLowerCase())) &&
    chosen(resources, (item) => patternMatches(item, resource, facts)) &&
    conditions.every((condition) => conditionHolds(condition, facts))
  );
}

function chosen({ not, items }: Choice, fits: (item: string) => boolean): boolean {
  return items.some(fits) !== not;
}

/** Whether it allows something to everybody: such a policy makes a bucket public. */
export function isPublic(policy: Policy): boolean {
  return policy.statements.some(
    ({ allows, principals, conditions }) =>
      allows &&
      (principals?.not === true || principals?.items.includes('*') === true) &&
      !conditions.some(({ narrows }) => narrows),
  );
}

export interface PolicyKind {
  /** A bucket's policy names principals; a user's may not. */
  readonly principals: boolean;
  /** The bucket that it is being set for: what it says must make sense there. */
  readonly bucket?: string;
  /** A role's trust policy: it names no resource, being about the role; services may be its principals. */
  readonly trust?: boolean;
}

/** @throws OperatingError `malformed-policy` with a message for the client */
export function parsePolicy(text: string, kind: PolicyKind): Policy {
  if (!text.startsWith('{'))
    throw malformed("Policies must be valid JSON and the first byte must be '{'");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed('This policy contains invalid Json');
  }
  const policy = fieldsOf(value, ['Version', 'Id', 'Statement']);
  const { Version: version, Statement: statement } = policy;
  if (version !== undefined && !VERSIONS.includes(version as string)) {
    throw malformed('The policy must contain a valid version string');
  }
  if (statement === undefined) throw malformed('Missing required field Statement');
  const list = Array.isArray(statement) ? (statement as unknown[]) : [statement];
  if (list.length === 0) throw malformed('Could not parse the policy: Statement is empty!');
  if (list.length > MAX_STATEMENTS) throw malformed('The policy has too many statements');
  const statements = list.map((each) => parseStatement(each, kind));
  if (kind.bucket !== undefined) checkIds(list as { readonly Sid?: string }[]);
  return { statements };
}

function checkIds(list: readonly { readonly Sid?: string }[]): void {
  const ids = list.flatMap(({ Sid: id }) => (id === undefined ? [] : [id]));
  if (new Set(ids).size === ids.length) return;
  throw malformed('Statement IDs (SID) in a single policy must be unique.');
}

const STATEMENT_FIELDS = [
  ...['Sid', 'Effect', 'Principal', 'NotPrincipal', 'Action', 'NotAction', 'Resource'],
  ...['NotResource', 'Condition'],
];

function parseStatement(value: unknown, kind: PolicyKind): Statement {
  const fields = fieldsOf(value, STATEMENT_FIELDS);
  const { Effect: effect, Sid: sid } = fields;
  if (effect === undefined) throw malformed('Missing required field Effect');
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed(`Invalid effect: ${String(effect)}`);
  if (sid !== undefined && typeof sid !== 'string') throw malformed('Invalid Sid');
  const actions = choice(fields, 'Action', texts);
  if (actions === undefined) throw malformed('Missing required field Action');
  if (!actions.items.every((item) => /^(\*|[a-z0-9-]+:[\w*?]+)$/i.test(item))) {
    throw malformed('Policy has invalid action');
  }
  const resources = resourcesOf(fields, kind);
  if (kind.bucket !== undefined) checkTerms(actions, resources, kind.bucket);
  const principals = choice(fields, 'Principal', (names) => principalsOf(names, kind));
  if (kind.principals && principals === undefined) {
    throw malformed('Missing required field Principal');
  }
  if (!kind.principals && principals !== undefined) {
    throw malformed('Policy document should not specify a principal.');
  }
  const { Condition: condition = {} } = fields;
  return {
    allows: effect === 'Allow',
    principals,
    actions,
    resources,
    conditions: parseConditions(condition, kind),
  };
}

function resourcesOf(fields: Readonly<Record<string, unknown>>, kind: PolicyKind): Choice {
  const resources = choice(fields, 'Resource', texts);
  if (kind.trust) {
    if (resources !== undefined) throw malformed('Has prohibited field Resource');
    return { not: false, items: ['*'] };
  }
  if (resources === undefined) throw malformed('Missing required field Resource');
  checkResources(resources);
  return resources;
}

function checkResources({ items }: Choice): void {
  if (items.every((item) => item === '*' || item.startsWith('arn:'))) return;
  throw malformed('Policy has invalid resource');
}

/** A bucket's policy speaks of the bucket and what is in it, and of what can be done with that. */
function checkTerms(actions: Choice, resources: Choice, bucket: string): void {
  const kinds = resources.items.map((item) => kindsOfResource(item, bucket));
  if (kinds.some(({ size }) => size === 0)) throw malformed('Policy has invalid resource');
  for (const item of actions.items) {
    const about = aboutOf(item);
    if (about.size === 0) throw malformed('Policy has invalid action');
    if (actions.not || resources.not) continue;
    if (kinds.some((kind) => [...kind].some((each) => about.has(each)))) continue;
    throw malformed('Action does not apply to any resource(s) in statement');
  }
}

function parseConditions(value: unknown, { bucket }: PolicyKind): Condition[] {
  if (!isRecord(value)) throw malformed('Invalid Condition');
  return Object.entries(value).flatMap(([operator, tests]) => {
    if (!isRecord(tests)) throw malformed('Invalid Condition');
    return Object.entries(tests).map(([key, values]) => {
      if (bucket !== undefined && !isConditionKey(key)) {
        throw malformed('Policy has an invalid condition key');
      }
      const condition = parseCondition(operator, key, scalars(values));
      if (condition === undefined)
        throw malformed(`Invalid Condition type or key : ${operator} ${key}`);
      return condition;
    });
  });
}

function choice(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  parse: (value: unknown) => string[],
): Choice | undefined {
  const [plain, not] = [fields[name], fields[`Not${name}`]];
  if (plain !== undefined && not !== undefined) {
    throw malformed(`Statement has both ${name} and Not${name}`);
  }
  if (plain !== undefined) return { not: false, items: parse(plain) };
  return not === undefined ? undefined : { not: true, items: parse(not) };
}

function principalsOf(value: unknown, { bucket }: PolicyKind): string[] {
  if (value === '*') return ['*'];
  if (!isRecord(value)) throw malformed('Invalid policy syntax.');
  const found = Object.entries(value).flatMap(([kind, names]) => {
    const known = ['AWS', 'CanonicalUser', 'Federated'].includes(kind);
    // A cloud's services never call here: naming one is no mistake, and gives nobody anything.
    if (kind === 'Service') return texts(names).map((name) => `service:${name}`);
    if (!known) throw malformed('Invalid principal in policy');
    return texts(names);
  });
  if (bucket !== undefined && (found.length === 0 || !found.every(isPrincipal))) {
    throw malformed('Invalid principal in policy');
  }
  return found;
}

function texts(value: unknown): string[] {
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  if (list.length === 0 || !list.every((item) => typeof item === 'string' && item !== '')) {
    throw malformed('Invalid policy syntax.');
  }
  return list as string[];
}

/** Conditions may say numbers and booleans, too. */
function scalars(value: unknown): string[] {
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  const known = list.every((item) => ['string', 'number', 'boolean'].includes(typeof item));
  if (!known) throw malformed('Invalid Condition');
  return list.map(String);
}

function fieldsOf(value: unknown, names: readonly string[]): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw malformed('Invalid policy syntax.');
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined) throw malformed(`Unknown field ${unknown}`);
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(message: string): OperatingError {
  return new OperatingError('malformed-policy', message);
}
