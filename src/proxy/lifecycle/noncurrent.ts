/**
 * Which versions of one key a lifecycle removes for good: those that were replaced long ago, and a delete
 * marker with nothing left behind it. Pure.
 */
import type { ListedVersion } from '../versions/contract.ts';
import { type Lifecycle, type LifecycleRule, matches, midnightAfter } from './rules.ts';

export interface VersionsContext {
  readonly dayMs: number;
  readonly nowMs: number;
}

/** Tags are not looked at: rules about them may match, and the deletion asks again. */
export function dueVersions(
  lifecycle: Lifecycle,
  versions: readonly ListedVersion[],
  context: VersionsContext,
): ListedVersion[] {
  const [latest] = versions;
  if (versions.length === 1 && latest !== undefined) {
    return latest.isMarker && isMarkerDue(lifecycle, latest, context) ? [latest] : [];
  }
  return versions.filter((version, i) => {
    if (i === 0) return false;
    const since = versions[i - 1]!.clientMicros / 1000;
    return isReplaced(lifecycle, version, { since, newer: i - 1, tags: undefined }, context);
  });
}

export interface Replaced {
  /** When the next one came, Unix milliseconds. */
  readonly since: number;
  /** Versions between it and the current one. */
  readonly newer: number;
  readonly tags: Readonly<Record<string, string>> | undefined;
}

export function isReplaced(
  { rules }: Lifecycle,
  { key, bytes, clientMicros }: Pick<ListedVersion, 'key' | 'bytes' | 'clientMicros'>,
  { since, newer, tags }: Replaced,
  { dayMs, nowMs }: VersionsContext,
): boolean {
  const subject = { name: key, size: bytes, createdMs: clientMicros / 1000, tags };
  return rules.some(
    (rule) =>
      rule.enabled &&
      rule.noncurrentDays !== undefined &&
      newer >= (rule.keptNoncurrent ?? 0) &&
      midnightAfter(since + rule.noncurrentDays * dayMs, dayMs) <= nowMs &&
      matches(rule, subject),
  );
}

/** Days that end objects also end markers that hide nothing any more. */
function isMarkerDue(
  { rules }: Lifecycle,
  { key, clientMicros }: ListedVersion,
  { dayMs, nowMs }: VersionsContext,
): boolean {
  const endsMarker = ({
    enabled,
    prefix = '',
    expireMarkers,
    expireDays,
  }: LifecycleRule): boolean => {
    if (!enabled || !key.startsWith(prefix)) return false;
    if (expireMarkers === true) return true;
    if (expireDays === undefined) return false;
    return midnightAfter(clientMicros / 1000 + expireDays * dayMs, dayMs) <= nowMs;
  };
  return rules.some(endsMarker);
}
