/** Retention and hold in the headers of answers. */
import type { EntryState } from '#base/entry.ts';
import { holdOf, type Retention, retentionOf } from '#proxy/versions/lock.ts';
import { isoDate } from './xml.ts';

export const MODE_HEADER = 'x-amz-object-lock-mode';
export const UNTIL_HEADER = 'x-amz-object-lock-retain-until-date';
export const HOLD_HEADER = 'x-amz-object-lock-legal-hold';

/** Of GET and HEAD. */
export function lockHeaders(state: EntryState): string[] {
  const retention = retentionOf(state);
  const hold = holdOf(state);
  const retained =
    retention === undefined
      ? []
      : [MODE_HEADER, retention.mode, UNTIL_HEADER, untilDate(retention)];
  return hold === undefined ? retained : [...retained, HOLD_HEADER, hold];
}

export function untilDate({ untilSeconds }: Retention): string {
  return isoDate(untilSeconds * 1e6);
}
