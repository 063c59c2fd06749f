/**
 * The columns of a row that listings read, pulled out of its state. `hidden` rows are outside the
 * listing: deleted, gone, expired, without a data part, and the container's own state (name '').
 */
import {
  contentTypeOf,
  type DataPart,
  type EntryState,
  effectiveKind,
  expirySeconds,
  expirySource,
  isDead,
} from '#base/entry.ts';
import { ACCOUNT_RING, type PolicyIndex } from '#base/names.ts';
import { LINK_ROLE, MARKER_ROLE, ROLES } from './query.ts';
import { checksumCode } from './row-checksum.ts';
import { shownSlot } from './row-state.ts';

/** `hidden` of the mark that a row was forgotten. */
export const MARK = 2;

export interface Columns {
  readonly hidden: 0 | 1 | typeof MARK;
  /** As shown to clients. */
  readonly micros: number;
  readonly size: number;
  readonly etag: string;
  readonly type: string;
  /** Account listings: objects in the container. Of an object: its role, and its checksum (query.ts). */
  readonly count: number;
  /** Unix seconds from when a live row is no longer listed; null: never. */
  readonly expires: number | null;
}

const NOT_LISTED: Columns = {
  hidden: 1,
  micros: 0,
  size: 0,
  etag: '',
  type: '',
  count: 0,
  expires: null,
};

export function columnsOf(
  ring: PolicyIndex,
  name: string,
  state: EntryState,
  nowSeconds: number,
): Columns {
  if (name === '') return NOT_LISTED;
  return ring === ACCOUNT_RING ? containerColumns(state) : objectColumns(state, nowSeconds);
}

/** A row that hides what is older, and lists nothing. Name '': a container that is deleted. */
export function isTombstone(ring: PolicyIndex, name: string, state: EntryState): boolean {
  return isDead(state) && columnsOf(ring, name, state, 0).hidden === 1;
}

function objectColumns(state: EntryState, nowSeconds: number): Columns {
  const { data } = state;
  if (data === undefined) return NOT_LISTED;
  const live = effectiveKind(state, nowSeconds) === 'live';
  return {
    hidden: live ? 0 : 1,
    micros: data.clientMicros,
    size: data.size,
    etag: data.etag,
    type: contentTypeOf(state),
    count: extraOf(data),
    expires: live ? expirySeconds(expirySource(state).deleteAt) : null,
  };
}

function extraOf({ deleteMarker, versionId, checksums }: DataPart): number {
  const role = deleteMarker ? MARKER_ROLE : versionId !== undefined ? LINK_ROLE : 0;
  return role + checksumCode(checksums) * ROLES;
}

/** A container that still has rows is listed whatever its tombstone says (consistency.md, "Rows"). */
function containerColumns(state: EntryState): Columns {
  const { data } = state;
  if (data === undefined) return NOT_LISTED;
  const slot = shownSlot(state);
  const listed = data.kind === 'live' || (slot?.objects ?? 0) > 0;
  return {
    hidden: listed ? 0 : 1,
    micros: data.clientMicros,
    size: slot?.bytes ?? 0,
    etag: '',
    type: '',
    count: slot?.objects ?? 0,
    expires: null,
  };
}
