/**
 * What a container is beside its rows: it must have been created; its policy and consistency mode are
 * fixed while it lives (group `container` of its state), because objects were placed and acknowledged
 * by them.
 */
import type { EntryState } from '#base/entry.ts';
import { SETTINGS_GROUP, settingsGroup, settingsOf } from '#rows/row-state.ts';
import type { RowItem, RowOutcome } from '#rows/service/calls.ts';

/** A row whose writer took the container for one of another policy or mode. */
export function refuseRow(own: EntryState | undefined, row: RowItem): RowOutcome | undefined {
  const settings = settingsOf(own);
  if (settings === undefined) return undefined;
  const isOther =
    (row.policy !== undefined && row.policy !== settings.policy) ||
    (row.mode !== undefined && row.mode !== settings.mode);
  return isOther ? 'container-mismatch' : undefined;
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

/** A tombstone keeps the settings: a late row may bring the container back (consistency.md, Rows). */
export function keepSettings(own: EntryState | undefined, tombstone: EntryState): EntryState {
  const settings = settingsOf(own);
  if (settings === undefined || tombstone.data === undefined) return tombstone;
  const group = settingsGroup(settings, tombstone.data.timestamp);
  return { ...tombstone, groups: { ...tombstone.groups, [SETTINGS_GROUP]: group } };
}
