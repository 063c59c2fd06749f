/**
 * A state that has come to a replica without its body: from a comparison, a read's repair, a handover.
 *
 * Who has something whole, or nothing, keeps it until the body of the newer version is here too, and
 * joins both at once. Otherwise a write that was never acknowledged does harm: one replica took it, repair spreads
 * its state and frees the older, acknowledged version's bodies, and then that one body is damaged
 * (simulator, seeds 15, 100, 118: answered 503 for ever). Only a replica that counts for nothing takes
 * states first (rejoin.ts), because it must know what it may have acknowledged; and who lacks thousands
 * of names (away for hours) those that nothing is here of.
 */
import { bodyLength, EMPTY_STATE, type EntryState, join, sameBody } from '#base/entry.ts';
import type { Entry, EntryKey } from '#device/contract.ts';

export interface Incoming {
  readonly path: string;
  readonly state: EntryState;
  readonly unlisted: boolean;
}

/** Whether joining this state alone would replace what is whole here by what is not. */
export function mustWait(existing: Entry | undefined, state: EntryState): boolean {
  if (existing === undefined) return bodyLength(state) > 0;
  if (!existing.hasBody) return false;
  const joined = join(existing.state, state);
  return bodyLength(joined) > 0 && !sameBody(joined, existing.state);
}

/** The entry that a replica will have when it has joined what came. */
export function joinedEntry(
  key: EntryKey,
  existing: Entry | undefined,
  { path, state, unlisted }: Incoming,
): Entry {
  const joined = join(existing?.state ?? EMPTY_STATE, state);
  const hasBody = existing?.hasBody === true && sameBody(joined, existing.state);
  const isUnlisted = unlisted || existing?.unlisted === true;
  const storedMs = existing?.storedMs ?? 0;
  return { key, path, state: joined, hasBody, unlisted: isUnlisted, storedMs };
}

/** Whether there are bytes to fetch for an entry. */
export function isBodiless({ hasBody, state }: Entry): boolean {
  return !hasBody && bodyLength(state) > 0;
}
