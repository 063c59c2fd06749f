/**
 * What a row says of its object, held against the versions that devices tell: texts as src/object/version.ts
 * writes them. A version begins with a timestamp of 20 digits and a kind; groups follow by name.
 */
import { type EntryState, KINDS } from '#base/entry.ts';
import { type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';

export interface Claim {
  readonly data: Timestamp;
  /** Of the kind, at equal timestamps. */
  readonly rank: number;
  /** Of what a POST has changed. */
  readonly system: Timestamp;
}

const TIMESTAMP_TEXT = 20;
const SYSTEM = /;system:([0-9a-f]{20})(?:;|$)/;

export function claimOf({ data, groups }: EntryState): Claim {
  return {
    data: data?.timestamp ?? ZERO_TIMESTAMP,
    rank: rankOf(data?.kind ?? 'live'),
    system: groups['system']?.timestamp ?? ZERO_TIMESTAMP,
  };
}

/** Whether all that the row says is of a write that this version has, or that it is above. */
export function isKnown(claim: Claim, version: string): boolean {
  const data = timestampOf(version);
  if (data < claim.data) return false;
  if (data === claim.data && rankOf(version.slice(TIMESTAMP_TEXT)) < claim.rank) return false;
  return claim.system <= data || claim.system <= (SYSTEM.exec(version)?.[1] ?? '');
}

export function isLive(version: string | undefined): boolean {
  return version?.startsWith('live', TIMESTAMP_TEXT) === true;
}

/** One that expired may live again by a POST; its row says itself until when it is listed. */
export function isAlive(version: string | undefined): boolean {
  return isLive(version) || version?.startsWith('expired', TIMESTAMP_TEXT) === true;
}

/** Below all others where nothing is known, or metadata alone. */
function timestampOf(version: string): string {
  return version === '' || version.startsWith('-') ? '' : version.slice(0, TIMESTAMP_TEXT);
}

/** An expired version is the live one, of which less is left. */
function rankOf(kind: string): number {
  const known = KINDS.findIndex((one) => kind.startsWith(one));
  return KINDS[known] === 'expired' ? 0 : known;
}
