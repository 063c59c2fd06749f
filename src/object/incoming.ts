/**
 * A state that has come to a replica without its body: from a comparison, a read's repair, a handover.
 *
 * Who has something whole, or nothing, keeps it until the body of the newer version is here too, and
 * joins both at once. Otherwise a write that was never acknowledged does harm: one replica took it, repair spreads
 * its state and frees the older, acknowledged version's bodies, and then that one body is damaged
 * (simulator, seeds 15, 100, 118: answered 503 for ever). Only a replica that counts for nothing takes
 * states first (rejoin.ts), because it must know what it may have acknowledged; and who lacks thousands
 * of names (away for hours) those that nothing is here of.
 *
 * So it is with an expired version whose bytes are freed: a POST that was told nobody and reached one replica would
 * revive it everywhere, and everywhere without a body (seeds 902334, 907505). One that was acknowledged is on
 * somebody who kept the bytes for it.
 *
 * What is news to a complete replica is listed again by it: see isToList.
 */
import {
  bodyLength,
  EMPTY_STATE,
  type EntryState,
  hasBytesOf,
  isDead,
  isFreed,
  join,
  sameBody,
} from '#base/entry.ts';
import type { Device, Entry, EntryKey } from '#device/contract.ts';
import { versionKey } from './version.ts';

export interface Incoming {
  readonly path: string;
  readonly state: EntryState;
  readonly unlisted: boolean;
}

/**
 * Whether joining this state alone would replace what is whole here by what is not. Also where it is known here and its
 * bytes are still to come: one of the others has them, and a majority that knows a newer version keeps the rounds from
 * going on without that (backed-round.ts).
 */
export function mustWait(existing: Entry | undefined, state: EntryState): boolean {
  if (existing === undefined) return bodyLength(state) > 0;
  const joined = join(existing.state, state);
  if (bodyLength(joined) === 0 || hasBytesOf(existing, joined)) return false;
  return existing.hasBody || !sameBody(existing.state, joined);
}

/** Whether a version that expired here, and whose bytes are freed, would be live again. */
export function revives(existing: Entry | undefined, state: EntryState): boolean {
  if (existing === undefined || !isFreed(existing.state)) return false;
  const joined = join(existing.state, state);
  return bodyLength(joined) > 0 && sameBody(joined, existing.state);
}

/**
 * Whether a replica that joins this state makes sure of its row, too. A complete one that did not know it
 * may be looking at a write that nobody was told of: one replica took it, and gave its row to one container
 * replica, whose word cleared the mark; then the proxy died before it sent the other rows, and that container
 * replica was wiped. Repair alone would bring the object everywhere and its row nowhere, until the auditor
 * of listings comes by. A majority has the rows of what was acknowledged, so a replica that is
 * being filled again need not send those of everything it has.
 */
export function isToList(
  device: Device,
  key: EntryKey,
  existing: Entry | undefined,
  state: EntryState,
): boolean {
  if (!device.completeness.isComplete(key.policy, key.hash)) return false;
  // The end of what is not known here takes nothing out of a listing (and may be an old one, of which
  // container replicas have reclaimed the row: those that have not would keep it for another week).
  if (existing === undefined) return !isDead(state);
  return versionKey(join(existing.state, state)) !== versionKey(existing.state);
}

/** Whether a replica knows the version, and what is missing here is its body. */
export function lacksBodyOf(existing: Entry | undefined, state: EntryState): boolean {
  if (existing === undefined || !isBodiless(existing)) return false;
  return sameBody(join(existing.state, state), state);
}

/** The entry that a replica will have when it has joined what came. */
export function joinedEntry(
  key: EntryKey,
  existing: Entry | undefined,
  { path, state, unlisted }: Incoming,
): Entry {
  const joined = join(existing?.state ?? EMPTY_STATE, state);
  const hasBody = existing !== undefined && hasBytesOf(existing, joined);
  const isUnlisted = unlisted || existing?.unlisted === true;
  const storedMs = existing?.storedMs ?? 0;
  return { key, path, state: joined, hasBody, unlisted: isUnlisted, storedMs };
}

/** Whether there are bytes to fetch for an entry. */
export function isBodiless({ hasBody, state }: Entry): boolean {
  return !hasBody && bodyLength(state) > 0;
}
