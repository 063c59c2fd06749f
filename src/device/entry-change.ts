/**
 * How a request, or a record of the log, changes an entry. Pure; live writes and replay use the same
 * functions, so a rebuilt index is the index that was lost.
 */

import { EMPTY_STATE, type EntryState, join, newestTimestamp } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { WriteRequest } from './contract.ts';
import { expectedLength, type StoredEntry, sameVersion, wantsBody } from './stored-entry.ts';

export type Verdict =
  | { readonly kind: 'store' }
  | { readonly kind: 'superseded' | 'use-rounds'; readonly newest: Timestamp };

/** The rule for acknowledging (consistency.md, Acknowledge and Conditional writes 4 and 6). */
export function judge(
  existing: EntryState | undefined,
  promised: Timestamp | undefined,
  request: Pick<WriteRequest, 'state' | 'intent'>,
): Verdict {
  if (request.intent === 'join') return { kind: 'store' };
  const asked = newestTimestamp(request.state);
  const newest = existing === undefined ? ZERO_TIMESTAMP : newestTimestamp(existing);
  const above = maxTimestamp(newest, promised ?? ZERO_TIMESTAMP);
  const byRounds = request.state.data?.base !== undefined;
  if (!byRounds && (existing?.data?.base !== undefined || above > newest)) {
    return { kind: 'use-rounds', newest: above };
  }
  return above > asked ? { kind: 'superseded', newest: above } : { kind: 'store' };
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

export function bodySource(
  existing: StoredEntry | undefined,
  joined: EntryState,
  given: EntryState,
  hasGivenBody: boolean,
): BodySource {
  if (!wantsBody(joined)) return 'none';
  const keeps = existing?.body !== undefined && sameVersion(joined, existing.state);
  if (keeps) return 'kept';
  return hasGivenBody && sameVersion(joined, given) ? 'given' : 'none';
}

/** What a record without a new body is called. */
export function kindWithoutBody(state: EntryState): 'data' | 'metadata' | 'tombstone' {
  if (state.data?.kind === 'deleted' || state.data?.kind === 'gone') return 'tombstone';
  return wantsBody(state) && expectedLength(state) === 0 ? 'data' : 'metadata';
}
