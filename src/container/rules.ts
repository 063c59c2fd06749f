/**
 * What a container is beside its rows: it must have been created; its policy and consistency mode
 * (group `container` of its state) are those by which its objects were placed and acknowledged. The mode
 * is fixed while it lives; the policy changes in steps (proxy/policy-move/README.md).
 */
import type { EntryState, Group } from '#base/entry.ts';
import { justAbove, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import {
  type ContainerSettings,
  SETTINGS_GROUP,
  settingsGroup,
  settingsOf,
  settingsTime,
} from '#rows/row-state.ts';
import type { RowItem, RowOutcome } from '#rows/service/calls.ts';

/** A row whose writer took the container for one of another policy or mode. */
export function refuseRow(
  own: EntryState | undefined,
  row: RowItem,
  isDeletion: boolean,
): RowOutcome | undefined {
  const settings = settingsOf(own);
  if (settings === undefined) return undefined;
  // Of who does not say what it knows: what is deleted is deleted wherever it was.
  if (isDeletion && row.since === undefined && row.keptIn === undefined) return undefined;
  const isOtherMode = row.mode !== undefined && row.mode !== settings.mode && !isDeletion;
  return isOtherMode || isElsewhere(settings, settingsTime(own), row)
    ? 'container-mismatch'
    : undefined;
}

/**
 * Who knows these settings or newer ones has written where it must. Who knows older ones only, if it
 * wrote to all policies of these. So from the moment that a majority has the settings, no write of who
 * does not know them is acknowledged. What a device holds is only refused where a move has left it.
 */
function isElsewhere(
  { policy, from, was = [] }: ContainerSettings,
  since: Timestamp,
  row: RowItem,
): boolean {
  if (row.keptIn !== undefined) return was.includes(row.keptIn);
  if (row.policy === undefined || (row.since !== undefined && row.since >= since)) return false;
  const isWritten = (index: number): boolean => index === row.policy || index === row.from;
  return !isWritten(policy) || (from !== undefined && !isWritten(from));
}

/**
 * What to store of a write over a container as it is. Creating one that lives is a write of its
 * headers: a newer data part would take away the headers that the older creation set.
 */
export function admitState(
  own: EntryState | undefined,
  live: boolean,
  state: EntryState,
): EntryState | 'conflict' {
  if (isStep(state)) return live && isNext(own, state) ? state : 'conflict';
  if (!live) return state;
  const settings = settingsOf(own);
  const wanted = settingsOf(state);
  if (settings !== undefined && wanted !== undefined) {
    if (settings.policy !== wanted.policy || settings.mode !== wanted.mode) return 'conflict';
  }
  if (state.data?.kind !== 'live' || own?.data?.kind !== 'live') return state;
  if (own.data.writeId === state.data.writeId) return state;
  const { [SETTINGS_GROUP]: _, ...groups } = state.groups;
  return { groups };
}

/** A step of a move: settings alone, in place of settings that it names. */
function isStep(state: EntryState): boolean {
  return state.data === undefined && state.groups[SETTINGS_GROUP] !== undefined;
}

/** From what is here, in the same mode; or what is here, sent again. */
function isNext(own: EntryState | undefined, step: EntryState): boolean {
  const wanted = settingsOf(step);
  const settings = settingsOf(own);
  if (wanted === undefined || (settings !== undefined && settings.mode !== wanted.mode))
    return false;
  const time = settingsTime(own);
  const base = step.groups[SETTINGS_GROUP]!.values['base'] ?? ZERO_TIMESTAMP;
  return base === time || settingsTime(step) === time;
}

/**
 * The container of an object that a device holds, where nobody knows of its creation: one replica alone had taken that, told
 * a writer of the object, and was lost (simulator, seed 11007933). Listings would show the object, and reads look for
 * it in another policy. It is dated as low as can be: whoever does know the creation is right.
 */
export function remakeContainer(
  own: EntryState | undefined,
  { keptIn }: RowItem,
  { data }: EntryState,
): EntryState | undefined {
  if (keptIn === undefined || data?.kind !== 'live' || own?.data?.kind === 'live') return undefined;
  const deletedAt = own?.data?.timestamp;
  // What is in the policy that the container had brings it back as it was.
  const isKnown = settingsOf(own)?.policy === keptIn || data.timestamp < (deletedAt ?? '');
  if (deletedAt !== undefined && isKnown) return undefined;
  const timestamp = justAbove(deletedAt ?? ZERO_TIMESTAMP, 0);
  const { writeId, clientMicros } = data;
  const settings = settingsGroup({ policy: keptIn, mode: 'strict' }, timestamp);
  return {
    data: { timestamp, kind: 'live', writeId, clientMicros, etag: '', size: 0, contentType: '' },
    groups: { [SETTINGS_GROUP]: settings },
  };
}

/**
 * Of what a device holds in a policy that is not the container's, and that it has not left by a move: from before the container was
 * deleted and made again, or by a writer who did not know of that yet, and was refused. Nobody looks for it there, so it is not
 * listed, nor may a deletion there hide what is here.
 */
export function isForeignRow(
  own: EntryState | undefined,
  { keptIn }: RowItem,
  { data }: EntryState,
): boolean {
  const settings = settingsOf(own);
  if (keptIn === undefined || settings === undefined || data === undefined) return false;
  const { policy, from, was = [] } = settings;
  if ([policy, from, ...was].includes(keptIn)) return false;
  // What is newer than the deletion is of a container that was made since (`remakeContainer`).
  return own?.data?.kind !== 'deleted' || data.timestamp < own.data.timestamp;
}

/**
 * A tombstone keeps settings and headers: a late row may bring the container back (consistency.md, Rows), with its ACL, versions
 * and locks, also where nobody was told that it is deleted. Not those of an earlier deletion: who knows that alone has missed the
 * container that is deleted now. They count as of the deletion, so that making it again ends them.
 */
export function keepSettings(own: EntryState | undefined, tombstone: EntryState): EntryState {
  if (own === undefined || own.data?.kind === 'deleted' || tombstone.data === undefined) {
    return tombstone;
  }
  const { timestamp } = tombstone.data;
  const groups: Record<string, Group> = { ...tombstone.groups };
  for (const [name, { values }] of Object.entries(own.groups)) groups[name] = { timestamp, values };
  const settings = settingsOf(own);
  // Without what they were a step from.
  if (settings !== undefined) groups[SETTINGS_GROUP] = settingsGroup(settings, timestamp);
  return { ...tombstone, groups };
}
