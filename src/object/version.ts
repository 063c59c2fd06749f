/**
 * A short text that is equal for equal states: the timestamps (each names one write), kind and write
 * id. A quorum read compares these, so that only one replica sends its state in full.
 */
import type { EntryState } from '#base/entry.ts';

export function versionKey(state: EntryState): string {
  const { data, groups } = state;
  let key =
    data === undefined
      ? '-'
      : `${data.timestamp}${data.kind}${data.expiredSource ?? ''}.${data.writeId}`;
  for (const name of Object.keys(groups).sort()) key += `;${name}:${groups[name]!.timestamp}`;
  return key;
}
