/**
 * Lifecycle rules of a bucket, as its container header `s3-lifecycle` keeps them, and what they say about
 * an object or an upload: when its time is over, and by which rule.
 *
 *     {"v":1,"minimum":"all_storage_classes_128K","rules":[{"id":"x","enabled":true,"form":"filter",
 *       "prefix":"logs/","expireDays":30}]}
 *
 * Days are counted from the creation and end at the next midnight (UTC); of several rules the earliest
 * end counts. `dayMs` is a day, or less where somebody wants to see rules at work.
 */
import { OperatingError } from '#base/errors.ts';

export const LIFECYCLE_HEADER = 's3-lifecycle';
export const DAY_MS = 24 * 3600 * 1000;

const VERSION = 1;

export const MINIMUM_SIZES = ['all_storage_classes_128K', 'varies_by_storage_class'] as const;
export type MinimumSize = (typeof MINIMUM_SIZES)[number];

export interface LifecycleRule {
  readonly id: string;
  readonly enabled: boolean;
  /** How the document says it: a bare prefix, a filter of one term, or of several. */
  readonly form: 'prefix' | 'filter' | 'and';
  readonly prefix?: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** Bytes, exclusive. */
  readonly largerThan?: number;
  readonly smallerThan?: number;
  readonly expireDays?: number;
  /** Unix milliseconds of a midnight. */
  readonly expireMs?: number;
  readonly abortDays?: number;
  /** Days after which a version that was replaced is removed, and how many of the newest stay. */
  readonly noncurrentDays?: number;
  readonly keptNoncurrent?: number;
  /** A delete marker with no versions behind it goes. */
  readonly expireMarkers?: true;
}

export interface Lifecycle {
  readonly rules: readonly LifecycleRule[];
  /** Of transitions, which there are none of here; kept because clients read it back. */
  readonly minimum: MinimumSize;
}

export function encodeLifecycle({ rules, minimum }: Lifecycle): string {
  return JSON.stringify({ v: VERSION, minimum, rules });
}

/** What `encodeLifecycle` made. @throws OperatingError `newer-format` */
export function decodeLifecycle(text: string): Lifecycle {
  const { v, ...lifecycle } = JSON.parse(text) as Lifecycle & { readonly v: number };
  if (v <= VERSION) return lifecycle;
  throw new OperatingError('newer-format', 'lifecycle rules of a newer version', { version: v });
}

/** What rules ask about. `tags` undefined: not looked at; rules about tags then may match. */
export interface Subject {
  readonly name: string;
  readonly size: number;
  readonly createdMs: number;
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

export interface Expiry {
  readonly atMs: number;
  readonly rule: LifecycleRule;
}

/** The midnight at which an object ends. */
export function expiryOf(
  { rules }: Lifecycle,
  subject: Subject,
  dayMs: number,
): Expiry | undefined {
  let soonest: Expiry | undefined;
  for (const rule of rules) {
    const atMs = endOf(rule, subject.createdMs, dayMs);
    if (atMs === undefined || !matches(rule, subject)) continue;
    if (soonest === undefined || atMs < soonest.atMs) soonest = { atMs, rule };
  }
  return soonest;
}

/** When an upload that nobody completes is aborted. */
export function abortOf(
  { rules }: Lifecycle,
  { name, startedMs }: { readonly name: string; readonly startedMs: number },
  dayMs: number,
): Expiry | undefined {
  let soonest: Expiry | undefined;
  for (const rule of rules) {
    if (!rule.enabled || rule.abortDays === undefined) continue;
    if (!name.startsWith(rule.prefix ?? '')) continue;
    const atMs = midnightAfter(startedMs + rule.abortDays * dayMs, dayMs);
    if (soonest === undefined || atMs < soonest.atMs) soonest = { atMs, rule };
  }
  return soonest;
}

/** What all names begin with that rules of this kind are about: less to list. Undefined: there is no rule. */
export function commonPrefix(
  { rules }: Lifecycle,
  isWanted: (rule: LifecycleRule) => boolean,
): string | undefined {
  const prefixes = rules
    .filter((rule) => rule.enabled && isWanted(rule))
    .map(({ prefix = '' }) => prefix);
  return prefixes.reduce<string | undefined>(
    (common, prefix) => (common === undefined ? prefix : sharedStart(common, prefix)),
    undefined,
  );
}

export function expires({ expireDays, expireMs }: LifecycleRule): boolean {
  return expireDays !== undefined || expireMs !== undefined;
}

export function aborts({ abortDays }: LifecycleRule): boolean {
  return abortDays !== undefined;
}

export function removesVersions(rule: LifecycleRule): boolean {
  const { noncurrentDays, expireMarkers, expireDays } = rule;
  return noncurrentDays !== undefined || expireMarkers === true || expireDays !== undefined;
}

function endOf(
  { enabled, expireDays, expireMs }: LifecycleRule,
  createdMs: number,
  dayMs: number,
): number | undefined {
  if (!enabled) return undefined;
  if (expireMs !== undefined) return expireMs;
  return expireDays === undefined
    ? undefined
    : midnightAfter(createdMs + expireDays * dayMs, dayMs);
}

export function midnightAfter(ms: number, dayMs: number): number {
  return (Math.floor(ms / dayMs) + 1) * dayMs;
}

export function matches(rule: LifecycleRule, { name, size, tags }: Subject): boolean {
  return (
    name.startsWith(rule.prefix ?? '') &&
    (rule.largerThan === undefined || size > rule.largerThan) &&
    (rule.smallerThan === undefined || size < rule.smallerThan) &&
    (tags === undefined ||
      Object.entries(rule.tags ?? {}).every(([key, value]) => tags[key] === value))
  );
}

/** Cut at whole characters: a prefix that ends in half a pair would match nothing. */
function sharedStart(a: string, b: string): string {
  const [left, right] = [[...a], [...b]];
  const at = left.findIndex((character, i) => character !== right[i]);
  return at < 0 ? a : left.slice(0, at).join('');
}
