/**
 * Conditions of policies: an operator, a key, and values of which one must fit. Negated operators hold
 * when none fits, and also when the request has no such key; `...IfExists` holds then, too.
 */
import { expand, patternMatches } from './glob.ts';
import { isInRange, isRange } from './ip-range.ts';

/** What is known of the request, by key in lower case; undefined: there is no such thing. */
export type Facts = (key: string) => readonly string[] | undefined;

export interface Condition {
  readonly key: string;
  readonly values: readonly string[];
  readonly test: Test;
  readonly negated: boolean;
  readonly ifExists: boolean;
  readonly quantifier: 'any' | 'all' | undefined;
  /** It fixes who may ask from where, so a statement for everybody is not public. */
  readonly narrows: boolean;
}

type Test = (value: string, given: string, facts: Facts) => boolean;

interface Operator {
  readonly test: Test;
  readonly negated?: boolean;
  /** Whether a policy's value can be compared at all. */
  readonly accepts?: (value: string) => boolean;
}

const number = (text: string): number => (text.trim() === '' ? Number.NaN : Number(text));
const isNumber = (text: string): boolean => !Number.isNaN(number(text));
const date = (text: string): number =>
  /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text);
const isDate = (text: string): boolean => !Number.isNaN(date(text));

function numeric(compare: (given: number, value: number) => boolean): Operator {
  return { test: (value, given) => compare(number(given), number(value)), accepts: isNumber };
}

function dated(compare: (given: number, value: number) => boolean): Operator {
  return { test: (value, given) => compare(date(given), date(value)), accepts: isDate };
}

const equals: Operator = { test: (value, given, facts) => expand(value, facts) === given };
const binary: Operator = {
  test: (value, given) => value === given,
  accepts: (value) => Buffer.from(value, 'base64').toString('base64') === value,
};
const equalsIgnoreCase: Operator = {
  test: (value, given, facts) => expand(value, facts).toLowerCase() === given.toLowerCase(),
};
const like: Operator = { test: (value, given, facts) => patternMatches(value, given, facts) };
const inRange: Operator = { test: (value, given) => isInRange(given, value), accepts: isRange };

const OPERATORS: Readonly<Record<string, Operator>> = {
  StringEquals: equals,
  StringNotEquals: { ...equals, negated: true },
  StringEqualsIgnoreCase: equalsIgnoreCase,
  StringNotEqualsIgnoreCase: { ...equalsIgnoreCase, negated: true },
  StringLike: like,
  StringNotLike: { ...like, negated: true },
  ArnEquals: like,
  ArnNotEquals: { ...like, negated: true },
  ArnLike: like,
  ArnNotLike: { ...like, negated: true },
  NumericEquals: numeric((a, b) => a === b),
  NumericNotEquals: { ...numeric((a, b) => a === b), negated: true },
  NumericLessThan: numeric((a, b) => a < b),
  NumericLessThanEquals: numeric((a, b) => a <= b),
  NumericGreaterThan: numeric((a, b) => a > b),
  NumericGreaterThanEquals: numeric((a, b) => a >= b),
  DateEquals: dated((a, b) => a === b),
  DateNotEquals: { ...dated((a, b) => a === b), negated: true },
  DateLessThan: dated((a, b) => a < b),
  DateLessThanEquals: dated((a, b) => a <= b),
  DateGreaterThan: dated((a, b) => a > b),
  DateGreaterThanEquals: dated((a, b) => a >= b),
  Bool: equalsIgnoreCase,
  BinaryEquals: binary,
  IpAddress: inRange,
  NotIpAddress: { ...inRange, negated: true },
};

/**
 * Keys that say who asks, or from where. A condition on one narrows when it must hold, of values that are
 * spelled out: neither `*` nor half of all addresses is anybody in particular.
 */
const NARROWING = /^aws:(sourceip|sourcearn|sourcevpc|sourcevpce|principal.*|userid|username)$/;
const NULL = 'Null';
const WIDE = /[*?]|\/[0-7]$/;

/** Undefined: no condition that could be kept. */
export function parseCondition(
  operator: string,
  key: string,
  values: readonly string[],
): Condition | undefined {
  const [, quantifier, name = '', suffix] =
    /^(?:(ForAnyValue|ForAllValues):)?([A-Za-z]+?)(IfExists)?$/.exec(operator) ?? [];
  if (!/^[a-z0-9-]+:[\w./:+=@-]+$/i.test(key) || values.length === 0) return undefined;
  const common = {
    key: key.toLowerCase(),
    values,
    quantifier: quantifier === undefined ? undefined : quantifier === 'ForAnyValue' ? 'any' : 'all',
    ifExists: suffix !== undefined,
    narrows: false,
  } as const;
  if (name === NULL) {
    // Told apart by its test: it is asked whether the key is there.
    if (!values.every((value) => /^(true|false)$/i.test(value))) return undefined;
    return { ...common, negated: false, test: isNull };
  }
  const found = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  if (found === undefined || !values.every(found.accepts ?? (() => true))) return undefined;
  const negated = found.negated ?? false;
  const must = !negated && suffix === undefined && quantifier !== 'ForAllValues';
  const narrows = must && NARROWING.test(common.key) && !values.some((value) => WIDE.test(value));
  return { ...common, narrows, negated, test: found.test };
}

const isNull: Test = () => false;

export function conditionHolds(condition: Condition, facts: Facts): boolean {
  const { key, values, test, negated, ifExists, quantifier } = condition;
  const given = facts(key);
  if (test === isNull) return values.some((value) => (given === undefined) === /true/i.test(value));
  if (given === undefined || given.length === 0) {
    return ifExists || (quantifier === 'any' ? false : negated || quantifier === 'all');
  }
  const fits = (text: string): boolean =>
    values.some((value) => test(value, text, facts)) !== negated;
  return quantifier === 'any' ? given.some(fits) : given.every(fits);
}
