/**
 * How a request, or a record of the log, changes an entry. Pure; live writes and replay use the same
 * functions, so a rebuilt index is the index that was lost.
 */

import {
  bodyLength,
  EMPTY_STATE,
  type EntryState,
  join,
  newestTimestamp,
  sameBody,
  wantsBody,
} from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { WriteRequest } from './contract.ts';
import type { StandingPromise } from './promise-table.ts';
import type { StoredEntry } from './stored-entry.ts';

export type Verdict =
  | { readonly kind: 'store' }
  | { readonly kind: 'superseded' | 'use-rounds'; readonly newest: Timestamp };

/** What this device has promised of a key, or may have promised and forgotten. */
export interface Promised {
  readonly standing: StandingPromise | undefined;
  readonly floor: Timestamp;
}

/**
 * The rule for acknowledging (consistency.md, Acknowledge and Conditional writes 4 and 6).
 *
 * After a round a `superseded` counts as an acknowledgement, so it must mean that nothing of the write would be
 * left. A POST replaces metadata and not the data: a PUT or a deletion that a concurrent POST has overtaken is joined, as is
 * a change of one group beside that of another. Refused and counted, it would be acknowledged and nowhere (seed 902402).
 */
export function judge(
  existing: EntryState | undefined,
  promised: Promised,
  request: Pick<WriteRequest, 'state' | 'intent' | 'afterRound'>,
): Verdict {
  if (request.intent === 'join') return { kind: 'store' };
  const asked = newestTimestamp(request.state);
  const newest = existing === undefined ? ZERO_TIMESTAMP : newestTimestamp(existing);
  const ballot = promised.standing?.ballot ?? ZERO_TIMESTAMP;
  const above = maxTimestamp(newest, ballot);
  if (request.intent === 'accept') {
    // Its own promise must stand: who lost it (wiped, damaged, expired) may have acknowledged since what
    // the promise would have refused, and a joined copy of the record itself proves nothing of that.
    const stands = ballot === asked && newest <= asked;
    return stands ? { kind: 'store' } : { kind: 'superseded', newest: above };
  }
  if (existing?.data?.base !== undefined || ballot > newest || asked <= promised.floor) {
    return { kind: 'use-rounds', newest: maxTimestamp(above, promised.floor) };
  }
  if (above <= asked) return { kind: 'store' };
  if (request.afterRound && addsTo(existing, request.state)) return { kind: 'store' };
  return { kind: 'superseded', newest: above };
}

/** Whether something of it is left beside what is here. */
function addsTo(existing: EntryState = EMPTY_STATE, state: EntryState): boolean {
  return !encodeState(join(existing, state)).equals(encodeState(existing));
}

/**
 * Whether nothing can surface over this state that was decided without it: no promise stands above it
 * that was made before it came, and none was forgotten. W equal states of which this holds are what the
 * key is (consistency.md, Conditional writes 3 and 7).
 */
export function isCertain(
  existing: EntryState | undefined,
  { standing, floor }: Promised,
): boolean {
  const newest = existing === undefined ? ZERO_TIMESTAMP : newestTimestamp(existing);
  if (standing !== undefined && standing.ballot > newest && standing.seen !== newest) return false;
  return newest === ZERO_TIMESTAMP || newest > floor;
}

/** Where the body of the next entry comes from. */
export type BodySource = 'given' | 'kept' | 'none';

export interface Change {
  readonly state: EntryState;
  readonly stateBytes: Buffer;
  readonly body: BodySource;
  readonly unlisted: boolean;
  /** False: everything is here already, nothing need be written. */
  readonly needed: boolean;
}

export function changeEntry(
  existing: StoredEntry | undefined,
  request: Pick<WriteRequest, 'state' | 'unlisted'>,
  hasBody: boolean,
): Change {
  const state = join(existing?.state ?? EMPTY_STATE, request.state);
  const stateBytes = encodeState(state);
  const unlisted = request.unlisted || existing?.unlisted === true;
  const body = bodySource(existing, state, request.state, hasBody);
  const needed =
    existing === undefined ||
    body === 'given' ||
    (unlisted && !existing.unlisted) ||
    !stateBytes.equals(existing.stateBytes);
  return { state, stateBytes, body, unlisted, needed };
}

function bodySource(
  existing: StoredEntry | undefined,
  joined: EntryState,
  given: EntryState,
  hasGivenBody: boolean,
): BodySource {
  if (!wantsBody(joined)) return 'none';
  const keeps = existing?.body !== undefined && sameBody(joined, existing.state);
  if (keeps) return 'kept';
  return hasGivenBody && sameBody(joined, given) ? 'given' : 'none';
}

/** What a record without a new body is called. */
export function kindWithoutBody(state: EntryState): 'data' | 'metadata' | 'tombstone' {
  if (state.data?.kind === 'deleted' || state.data?.kind === 'gone') return 'tombstone';
  return wantsBody(state) && bodyLength(state) === 0 ? 'data' : 'metadata';
}
