/**
 * What a row is made of: the part of an object's state that its container lists, the part of a
 * container's state that its account lists, and the slots in which container replicas report totals.
 *
 * `rowStateOf` and `containerRowOf` keep whole parts with their timestamps, so that joining rows and
 * taking the row of a joined state give the same: rowStateOf(join(a, b)) = join(rowStateOf(a), rowStateOf(b)).
 */
import type { DataPart, EntryState, Group } from '#base/entry.ts';
import { maxTimestamp, parseTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import { CONSISTENCY_MODES, type ConsistencyMode } from '#ring/cluster.ts';
import { checksumCode, toldChecksums } from './row-checksum.ts';

/** The row of an object: what listings, expiry, quotas and repair need, without body, values of checksums, user metadata. */
export function rowStateOf(state: EntryState): EntryState {
  const { data } = state;
  const system = state.groups['system'];
  const groups: Record<string, Group> = {};
  if (system !== undefined && (data === undefined || !repeats(system, data))) {
    groups['system'] = listedPart(system);
  }
  return data === undefined ? { groups } : { data: rowData(data), groups };
}

function rowData(data: DataPart): DataPart {
  const { timestamp, kind, writeId, clientMicros, etag, size, contentType } = data;
  const row = { timestamp, kind, writeId, clientMicros, etag, size, contentType };
  const checksums = toldChecksums(checksumCode(data.checksums));
  return {
    ...row,
    ...(data.expiredSource !== undefined && { expiredSource: data.expiredSource }),
    ...(data.deleteAt !== undefined && { deleteAt: data.deleteAt }),
    ...(data.versionId !== undefined && { versionId: data.versionId }),
    ...(data.deleteMarker !== undefined && { deleteMarker: data.deleteMarker }),
    ...(checksums !== undefined && { checksums }),
    ...(data.owner !== undefined && { owner: data.owner }),
  };
}

function listedPart(system: Group): Group {
  const values: Record<string, string> = {};
  for (const key of ['content-type', 'delete-at']) {
    const value = system.values[key];
    if (value !== undefined) values[key] = value;
  }
  return { timestamp: system.timestamp, values };
}

/** A PUT may write the group beside the data part; where it says the same, the row is smaller without. */
function repeats(system: Group, data: DataPart): boolean {
  if (system.timestamp !== data.timestamp) return false;
  const type = system.values['content-type'];
  const deleteAt = system.values['delete-at'];
  if (type !== undefined && type !== data.contentType) return false;
  return deleteAt === undefined ? data.deleteAt === undefined : Number(deleteAt) === data.deleteAt;
}

/** Which policy and mode a container has: a group of its own state. The mode is fixed while it lives. */
export const SETTINGS_GROUP = 'container';

export interface ContainerSettings {
  readonly policy: number;
  readonly mode: ConsistencyMode;
  /** The policy that it is leaving: its objects are in both. */
  readonly from?: number;
  /** The policy that it has left, where what is there of it is being removed. */
  readonly left?: number;
  /** All policies that it has left by a move, and not gone back to. */
  readonly was?: readonly number[];
}

/** The group to put into the state that creates a container. */
export function settingsGroup(settings: ContainerSettings, timestamp: Timestamp): Group {
  const { policy, mode, from, left, was = [] } = settings;
  const values = {
    policy: String(policy),
    mode,
    ...(from !== undefined && { from: String(from) }),
    ...(left !== undefined && { left: String(left) }),
    ...(was.length > 0 && { was: was.join() }),
  };
  return { timestamp, values };
}

/**
 * The same, in place of settings of this time (`base`) only: a replica that has others refuses. So a step
 * of a move is never taken from where the container is not any more.
 */
export function settingsStep(
  settings: ContainerSettings,
  base: Timestamp,
  timestamp: Timestamp,
): Group {
  const { values } = settingsGroup(settings, timestamp);
  return { timestamp, values: { ...values, base } };
}

/** When the settings are of; zero where there are none. */
export function settingsTime(state: EntryState | undefined): Timestamp {
  return state?.groups[SETTINGS_GROUP]?.timestamp ?? ZERO_TIMESTAMP;
}

export function settingsOf(state: EntryState | undefined): ContainerSettings | undefined {
  const values = state?.groups[SETTINGS_GROUP]?.values;
  if (values === undefined) return undefined;
  const policy = parseIndex(values['policy']);
  const mode = CONSISTENCY_MODES.find((known) => known === values['mode']);
  if (policy === undefined || mode === undefined) return undefined;
  const from = parseIndex(values['from']);
  const left = parseIndex(values['left']);
  const was = (values['was'] ?? '').split(',').filter(Boolean).map(Number);
  return {
    policy,
    mode,
    ...(from !== undefined && { from }),
    ...(left !== undefined && { left }),
    ...(was.length > 0 && { was }),
  };
}

function parseIndex(text: string | undefined): number | undefined {
  const index = text === undefined ? Number.NaN : Number(text);
  return Number.isSafeInteger(index) && index >= 0 ? index : undefined;
}

const SLOT_PREFIX = 'slot:';

/** What one container replica last told the account of its totals. */
export interface Slot {
  readonly device: number;
  readonly objects: number;
  readonly bytes: number;
  /** The newest row timestamp that the replica has: the most informed slot is shown. */
  readonly newest: Timestamp;
}

/** The row of a container in its account, with this replica's slot written at `timestamp`. */
export function containerRowOf(own: EntryState, slot: Slot, timestamp: Timestamp): EntryState {
  const { groups } = slotState(slot, timestamp);
  return own.data === undefined ? { groups } : { data: rowData(own.data), groups };
}

/** The slot alone. */
export function slotState(slot: Slot, timestamp: Timestamp): EntryState {
  const values = {
    objects: String(slot.objects),
    bytes: String(slot.bytes),
    newest: slot.newest,
  };
  return { groups: { [SLOT_PREFIX + slot.device]: { timestamp, values } } };
}

/** The slot with the newest row; among equals the one reported last, then the lower device. */
export function shownSlot(state: EntryState): Slot | undefined {
  let best: ReportedSlot | undefined;
  for (const slot of slotsOf(state)) {
    if (best === undefined || isBetter(slot, best)) best = slot;
  }
  return best;
}

export type ReportedSlot = Slot & { readonly reported: Timestamp };

export function slotsOf(state: EntryState): ReportedSlot[] {
  const slots: ReportedSlot[] = [];
  for (const name in state.groups) {
    if (!name.startsWith(SLOT_PREFIX)) continue;
    const slot = parseSlot(name, state.groups[name]!);
    if (slot !== undefined) slots.push(slot);
  }
  return slots;
}

function isBetter(a: ReportedSlot, b: ReportedSlot): boolean {
  if (a.newest !== b.newest) return a.newest > b.newest;
  if (a.reported !== b.reported) return a.reported > b.reported;
  return a.device < b.device;
}

function parseSlot(name: string, group: Group): ReportedSlot | undefined {
  const { values, timestamp } = group;
  const device = Number(name.slice(SLOT_PREFIX.length));
  const objects = Number(values['objects']);
  const bytes = Number(values['bytes']);
  if (![device, objects, bytes].every((n) => Number.isSafeInteger(n) && n >= 0)) return undefined;
  return { device, objects, bytes, newest: slotNewest(values['newest']), reported: timestamp };
}

function slotNewest(text: string | undefined): Timestamp {
  try {
    return parseTimestamp(text);
  } catch {
    return ZERO_TIMESTAMP; // a slot that can't be compared is shown last
  }
}

/**
 * The newest timestamp of what a row says, by which it is acknowledged. Slots don't count: they come
 * from the replicas' own reports, and must not make the write of a container look superseded.
 */
export function rowTimestamp(state: EntryState): Timestamp {
  let newest = state.data?.timestamp ?? ZERO_TIMESTAMP;
  for (const name in state.groups) {
    if (!name.startsWith(SLOT_PREFIX)) newest = maxTimestamp(newest, state.groups[name]!.timestamp);
  }
  return newest;
}
