/**
 * The records of conditional rounds, and what a writer that has sent one may conclude from the states
 * that a later promise finds. Pure; the arguments for each step are in consistency.md, Conditional writes.
 *
 * Every record of a round has all of its parts at one timestamp, its ballot, and says its `base`: the
 * newest timestamp of the state that it was built on.
 */
import {
  bodyVersion,
  dataTimestamp,
  type EntryState,
  expirySource,
  type Group,
  newestTimestamp,
} from '#base/entry.ts';
import { type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { Previous } from '#object/calls.ts';

/** Under which timestamps a write may have been stored somewhere, by a round or before. */
export interface Sent {
  readonly timestamp: Timestamp;
  /** The newest that a majority had told: what is newer came after the write began. Undefined: none has told. */
  readonly above: Timestamp | undefined;
}

/** What one write has done so far, in all its attempts, by whichever ring. */
export class OwnWrite {
  /** Of the data part in all attempts. */
  readonly writeId: string;
  sent: readonly Sent[] = [];
  /** The ballot of the first accept, which names the body. */
  first: Timestamp | undefined;
  /** Whether something was there before the write. */
  wasLive = false;
  /** What attempts that failed were told was there: a later one may find only what they left. */
  previous: Previous | undefined;
  /** One that failed may be stored, and no majority had told by then what was there: nobody may know any more. */
  isUntold = false;

  constructor(writeId: string) {
    this.writeId = writeId;
  }
}

/**
 * `effective`: the write took effect, or counts as overwritten at once. `none`: it did not, so it may be made
 * anew; what a minority has of it may still surface until something above is accepted, so the writer goes on
 * knowing what it has sent. `undecided`: that can't be told (never a failed condition).
 */
export type Effect = 'effective' | 'none' | 'undecided';

/** `joined`: the states of a majority that has promised not to take anything lower any more. */
export function effectOf(
  { writeId, sent }: OwnWrite,
  joined: EntryState,
  conditional: boolean,
): Effect {
  if (sent.length === 0) return 'none';
  const { data } = joined;
  const own = new Set(sent.map(({ timestamp }) => timestamp));
  if (data?.writeId === writeId || groupsOf(joined).some((at) => own.has(at))) return 'effective';
  if (data?.base !== undefined && own.has(data.base)) return 'effective';
  const lowest = sent[0]!.timestamp;
  if (dataTimestamp(joined) < lowest) return 'none';
  if (data?.base !== undefined && data.base < lowest) return 'none';
  const isPlain = data?.base === undefined || data.unconditional === true;
  if (conditional || !isPlain) return 'undecided';
  // A plain overwrite: the write counts as overwritten if that came after it had begun. Told by what it was built on, for a
  // reader may have written anew what was there before.
  const from = data!.base ?? data!.timestamp;
  if (sent.some(({ above }) => above !== undefined && above < from)) return 'effective';
  return sent.every(({ above }) => above !== undefined) ? 'none' : 'undecided';
}

/**
 * Where a majority agrees on this state (isSettled): whether the write did not take effect, and never will. What one
 * replica took of it below that state loses to it in every later round; what is above would win, and the write take effect
 * after its writer was refused.
 */
export function isOutdone(own: OwnWrite, agreed: EntryState, conditional: boolean): boolean {
  const isBelow = own.sent.every(({ timestamp }) => timestamp < dataTimestamp(agreed));
  return isBelow && effectOf(own, agreed, conditional) === 'none';
}

function groupsOf(state: EntryState): Timestamp[] {
  return Object.values(state.groups).map(({ timestamp }) => timestamp);
}

/** What a writer adds at its ballot, as the record of a round built on `joined`. */
export function recordOf(
  added: EntryState,
  joined: EntryState,
  own: {
    readonly ballot: Timestamp;
    readonly first: Timestamp;
    readonly writeId: string;
    readonly unconditional: boolean;
  },
): EntryState {
  const { ballot, first, writeId } = own;
  const base = newestTimestamp(joined);
  if (added.data !== undefined) {
    const { body } = added.data;
    // One name for the bytes in all ballots of the write: a replica keeps those it has.
    const named = body && (first === ballot ? body : { ...body, written: first });
    const unconditional = own.unconditional && { unconditional: true as const };
    const data = { ...added.data, base, ...(named && { body: named }), ...unconditional };
    return { ...added, data };
  }
  const kept = restamped(joined, ballot);
  const { unconditional, ...data } = kept.data!;
  return { data: { ...data, base, writeId }, groups: { ...kept.groups, ...added.groups } };
}

/**
 * The same content at a new ballot: nothing that is lower and still undecided can surface over it then.
 * All groups are stamped too, also because they count only if they are not older than the data.
 *
 * A change of metadata that came by itself becomes part of the record and has no other trace than its `base`: by that its
 * writer knows it, and whoever else wrote between can't tell (brief seed 6006992).
 */
export function restamped(state: EntryState, ballot: Timestamp): EntryState {
  const groups: Record<string, Group> = {};
  for (const name in state.groups) {
    groups[name] = { timestamp: ballot, values: state.groups[name]!.values };
  }
  const { expiredSource, unconditional, ...data } = state.data!;
  const newest = newestTimestamp(state);
  const isChanged = newest > data.timestamp;
  const isPlain = !isChanged && (unconditional === true || data.base === undefined);
  const isFreed =
    data.kind === 'expired' && expirySource(state).timestamp <= (expiredSource ?? ZERO_TIMESTAMP);
  return {
    data: {
      ...data,
      timestamp: ballot,
      base: isChanged ? newest : (data.base ?? newest),
      ...(isPlain && { unconditional: true }),
      ...(data.body && { body: { ...data.body, written: bodyVersion(data) } }),
      // A version that a later change of its expiry brought back is simply live again.
      ...(isFreed && { expiredSource: ballot }),
      ...(data.kind === 'expired' && !isFreed && { kind: 'live' as const }),
    },
    groups,
  };
}

/** As a plain write makes it. */
export function withoutBase(state: EntryState): EntryState {
  if (state.data === undefined) return state;
  const { base, unconditional, ...data } = state.data;
  return { ...state, data };
}

/** What can be asserted where nothing is known: that there was nothing. */
export function nothingAt(ballot: Timestamp, base: Timestamp, writeId: string): EntryState {
  const none = { etag: '', size: 0, contentType: '', clientMicros: 0 };
  return { data: { timestamp: ballot, kind: 'deleted', writeId, base, ...none }, groups: {} };
}
