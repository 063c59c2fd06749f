/** Conditional requests: on reads (RFC 9110, 13), and what a write asks of what is there. */
import type { EntryState } from '#base/entry.ts';
import { type Condition, IF_ABSENT } from '#proxy/condition.ts';
import { parseHttpDate } from '../http/http-date.ts';
import { noSuchKey } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import { dataOf } from './object-headers.ts';
import type { S3Request } from './request.ts';

export type Verdict = 'proceed' | 'not-modified' | 'failed';

export interface Validators {
  /** Unquoted. */
  readonly etag: string;
  readonly modifiedSeconds: number;
}

/** `prefix`: '' for the request's own object, `x-amz-copy-source-` for the source of a copy. */
export function checkConditions(
  request: S3Request,
  { etag, modifiedSeconds }: Validators,
  prefix: '' | 'x-amz-copy-source-' = '',
): Verdict {
  const ifMatch = request.header(`${prefix}if-match`);
  const ifNoneMatch = request.header(`${prefix}if-none-match`);
  const unmodified = parseHttpDate(request.header(`${prefix}if-unmodified-since`));
  const modified = parseHttpDate(request.header(`${prefix}if-modified-since`));
  if (ifMatch !== undefined && !matches(ifMatch, etag)) return 'failed';
  if (ifMatch === undefined && unmodified !== undefined && modifiedSeconds > unmodified) {
    return 'failed';
  }
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, etag) ? 'not-modified' : 'proceed';
  // A date in the future says nothing.
  const counts = modified !== undefined && modified <= request.nowMicros / 1e6;
  return counts && modifiedSeconds <= modified ? 'not-modified' : 'proceed';
}

/** If-Range: false means that the representation has changed, so the range does not count. */
export function rangeApplies(request: S3Request, validators: Validators): boolean {
  const condition = request.header('if-range');
  if (condition === undefined) return true;
  const date = /^[A-Z][a-z]{2}/.test(condition) ? parseHttpDate(condition) : undefined;
  if (date !== undefined) return date === validators.modifiedSeconds;
  return unquote(condition) === validators.etag;
}

export function matches(list: string, etag: string): boolean {
  return list.split(',').some((item) => item.trim() === '*' || unquote(item) === etag);
}

/** `"x"` and, as some clients write it, bare `x`. */
export function unquote(tag: string): string {
  const text = tag.trim();
  const strong = text.startsWith('W/') ? text.slice(2) : text;
  return strong.length >= 2 && strong.startsWith('"') && strong.endsWith('"')
    ? strong.slice(1, -1)
    : strong;
}

/** A condition that can tell what to answer when it has refused. */
export interface WriteCondition extends Condition {
  failure(): S3Error;
}

/**
 * If-Match and If-None-Match of a write, decided against concurrent writers by the store. What else a
 * client may ask of a write is refused, never ignored. Undefined: nothing is asked.
 */
export function writeCondition(request: S3Request): WriteCondition | undefined {
  const ifMatch = request.header('if-match');
  const ifNoneMatch = request.header('if-none-match');
  refuseHeaders(request, DATES);
  if (ifMatch !== undefined && ifNoneMatch !== undefined)
    throw notSupported('If-Match with If-None-Match');
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() !== '*') throw notSupported('If-None-Match');
    return { ...IF_ABSENT, failure: () => preconditionFailed('If-None-Match') };
  }
  return ifMatch === undefined ? undefined : matchCondition(request, ifMatch);
}

/** Before a write that can't be made conditional: what would be ignored is refused. */
export function refuseConditions(request: S3Request): void {
  refuseHeaders(request, ['if-match', 'if-none-match', ...DATES]);
}

const DATES = ['if-modified-since', 'if-unmodified-since'] as const;

function refuseHeaders(request: S3Request, names: readonly string[]): void {
  for (const name of names) if (request.header(name) !== undefined) throw notSupported(name);
}

/** What of an object a deletion may name, as text. */
export interface DeleteTerms {
  readonly etag: string | undefined;
  readonly size: string | undefined;
  readonly time: string | undefined;
}

/** Conditions of DELETE: the ETag, the size and the time of what is to go. */
export function deleteCondition(request: S3Request): WriteCondition | undefined {
  refuseHeaders(request, ['if-none-match', ...DATES]);
  return deleteTerms(request.key, {
    etag: request.header('if-match'),
    size: request.header('x-amz-if-match-size'),
    time: request.header('x-amz-if-match-last-modified-time'),
  });
}

/** What is not there has neither size nor time that could be wrong. @throws S3Error InvalidArgument */
export function deleteTerms(
  key: string,
  { etag, size, time }: DeleteTerms,
): WriteCondition | undefined {
  if (etag === undefined && size === undefined && time === undefined) return undefined;
  const seconds = parseHttpDate(time);
  if (time !== undefined && seconds === undefined) throw refuse('InvalidArgument');
  if (size !== undefined && !/^\d{1,16}$/.test(size)) throw refuse('InvalidArgument');
  return conditionOn(
    key,
    (state) => {
      const data = dataOf(state);
      return (
        (etag === undefined || matches(etag, data.etag)) &&
        (size === undefined || Number(size) === data.size) &&
        (seconds === undefined || Math.floor(data.clientMicros / 1e6) === seconds)
      );
    },
    etag === undefined,
  );
}

function matchCondition(request: S3Request, ifMatch: string): WriteCondition {
  return conditionOn(request.key, (state) => matches(ifMatch, dataOf(state).etag));
}

/** Holds of an object that is there and fits; `absence`: whether of one that is not there, too. */
function conditionOn(
  key: string,
  fits: (state: EntryState) => boolean,
  absence = false,
): WriteCondition {
  let absent = false;
  return {
    holds: (current) => {
      absent = current === undefined;
      return current === undefined ? absence : fits(current);
    },
    failure: () => (absent ? noSuchKey(key) : preconditionFailed('If-Match')),
  };
}

export function preconditionFailed(condition: string): S3Error {
  return refuse('PreconditionFailed', undefined, { Condition: condition });
}

function notSupported(header: string): S3Error {
  return refuse('NotImplemented', undefined, { Header: header });
}
