/**
 * Everything a builder knows, as one immutable value: a change makes a new one, undo goes back to an
 * old one, the builder file is a list of them.
 */
import { OperatingError } from '#base/errors.ts';
import { MAX_COLUMNS, MAX_PART_POWER, type RingDevice } from '../fields.ts';
import { majority } from '../joint.ts';

export interface RingSettings {
  readonly policy: number;
  readonly partPower: number;
  /** Columns of the ring (replicas of the state); may be fractional. */
  readonly replicas: number;
  /** Columns that hold bodies. */
  readonly copies: number;
  /** How far above its share by weight a device may go to keep replicas apart: 0.1 is 10 %. */
  readonly overload: number;
  /** A partition moves one replica at most in this time. */
  readonly minPartHours: number;
}

export interface BuilderState {
  readonly settings: RingSettings;
  /** Of the ring last made; 0 before the first. */
  readonly version: number;
  /** The id of the next new device: ids of removed devices are never used again. */
  readonly nextDevice: number;
  readonly devices: readonly (RingDevice | undefined)[];
  /** Device ids by replica; no columns before the first rebalance. */
  readonly columns: readonly Uint16Array[];
  /** By partition: hours since 1970 when it last moved a replica, 0 for never. */
  readonly movedAt: Uint32Array;
  /** The former sets of joint partitions. */
  readonly former: ReadonlyMap<number, FormerSet>;
  /** Removed devices that former sets still name. They get no replica and no id of theirs is reused. */
  readonly retired: ReadonlyMap<number, RingDevice>;
}

/** The set that counts beside the new one while a partition is joint. */
export interface FormerSet {
  /** Device ids, in replica order. */
  readonly ids: readonly number[];
  /** The first ring version with this pair of sets: what was placed by an older one is fenced off. */
  readonly since: number;
}

const MAX_OVERLOAD = 100;
const MAX_MIN_PART_HOURS = 10_000;
/** The sum of 65,535 such weights is still exact enough. */
export const MAX_WEIGHT = 1e12;

export function emptyState(settings: RingSettings): BuilderState {
  checkSettings(settings);
  return {
    settings,
    version: 0,
    nextDevice: 0,
    devices: [],
    columns: [],
    movedAt: new Uint32Array(2 ** settings.partPower),
    former: new Map(),
    retired: new Map(),
  };
}

export function checkSettings(settings: RingSettings): void {
  const { policy, partPower, replicas, copies, overload, minPartHours } = settings;
  check(Number.isInteger(policy) && policy >= 0 && policy <= 0xffff, 'policy', policy);
  check(
    Number.isInteger(partPower) && partPower >= 0 && partPower <= MAX_PART_POWER,
    'part_power',
    partPower,
  );
  check(replicas >= 1 && replicas <= MAX_COLUMNS, 'replicas', replicas);
  check(Number.isInteger(copies) && copies >= 1 && copies <= Math.ceil(replicas), 'copies', copies);
  check(overload >= 0 && overload <= MAX_OVERLOAD, 'overload', overload);
  check(minPartHours >= 0 && minPartHours <= MAX_MIN_PART_HOURS, 'min_part_hours', minPartHours);
}

function check(good: boolean, what: string, value: number): void {
  if (!good)
    throw new OperatingError('bad-ring-settings', `${what} out of range: ${value}`, {
      what,
      value,
    });
}

export function liveDevices(devices: BuilderState['devices']): number {
  return devices.filter((device) => device !== undefined && device.weight > 0).length;
}

/** Lengths of the columns: the first partitions have the additional replica of a fractional count. */
export function columnLengths(replicas: number, partitions: number): number[] {
  const whole = Math.floor(replicas);
  const rest = Math.round((replicas - whole) * partitions);
  const lengths = Array.from({ length: whole }, () => partitions);
  return rest > 0 ? [...lengths, rest] : lengths;
}

/** The device ids of one partition, in replica order. */
export function idsOf(columns: readonly Uint16Array[], partition: number): number[] {
  const ids: number[] = [];
  for (const column of columns) if (partition < column.length) ids.push(column[partition]!);
  return ids;
}

/**
 * The set whose majority knows everything of a partition: the former one while it is joint. Where so
 * many of it were removed that no majority is left (an operator accepts that), those that remain.
 */
export function knowing(
  { former, columns }: Pick<BuilderState, 'former' | 'columns'>,
  devices: BuilderState['devices'],
  partition: number,
): { readonly ids: readonly number[]; readonly isLost: boolean } {
  const ids = former.get(partition)?.ids ?? idsOf(columns, partition);
  const left = ids.filter((id) => devices[id] !== undefined);
  const isLost = left.length < majority(ids.length);
  return { ids: isLost ? left : ids, isLost };
}

/** Keeps of the devices that were known those which left but are still named by a former set. */
export function withRetired(next: BuilderState, before: BuilderState): BuilderState {
  const named = new Set<number>();
  for (const { ids } of next.former.values()) for (const id of ids) named.add(id);
  const retired = new Map<number, RingDevice>();
  for (const id of named) {
    if (next.devices[id] !== undefined) continue;
    const device = before.devices[id] ?? before.retired.get(id) ?? next.retired.get(id);
    if (device !== undefined) retired.set(id, { ...device, weight: 0 });
  }
  return { ...next, retired };
}
