/**
 * What an operator wants changed, as data, and the state with it done. Devices get and lose weight
 * here; replicas move only in the rebalance that follows.
 */
import { OperatingError } from '#base/errors.ts';
import type { DeviceDescription } from '../description.ts';
import { MAX_DEVICES, NO_DEVICE, type RingDevice } from '../fields.ts';
import {
  type BuilderState,
  checkSettings,
  type FormerSet,
  MAX_WEIGHT,
  type RingSettings,
} from './state.ts';

export interface Change {
  readonly settings?: Partial<Omit<RingSettings, 'policy'>>;
  readonly add?: readonly NewDevice[];
  readonly update?: readonly DeviceUpdate[];
  /** Ids of devices that are gone: what they hold counts as lost and is placed anew at once. */
  readonly remove?: readonly number[];
}

/**
 * With an id where several rings share the device, or where it was given one before it came into a ring;
 * otherwise it gets the next one. Who names ids sees to it that none is used twice.
 */
export type NewDevice = DeviceDescription & { readonly id?: number };

/** Weight 0 drains a device: it gives everything away, at the pace of min_part_hours. */
export interface DeviceUpdate {
  readonly id: number;
  readonly zone?: string;
  readonly weight?: number;
  readonly meta?: Readonly<Record<string, string>>;
}

/** @throws OperatingError `unknown-device`, `too-many-devices`, `bad-ring-settings` */
export function changed(state: BuilderState, change: Change): BuilderState {
  const devices = state.devices.slice();
  for (const id of change.remove ?? []) {
    existing(devices, id);
    devices[id] = undefined;
  }
  for (const { id, ...fields } of change.update ?? []) {
    const known = Object.entries(fields).filter(([, value]) => value !== undefined);
    devices[id] = { ...existing(devices, id), ...Object.fromEntries(known) };
    checkWeight(devices[id]!);
  }
  let nextDevice = state.nextDevice;
  for (const device of change.add ?? []) {
    checkId(device.id, state);
    nextDevice = add(devices, device, nextDevice);
  }
  const settings = { ...state.settings, ...change.settings };
  checkSettings(settings);
  return raisePartPower({ ...state, devices, nextDevice, settings }, state.settings.partPower);
}

function existing(devices: readonly (RingDevice | undefined)[], id: number): RingDevice {
  const device = devices[id];
  if (device === undefined)
    throw new OperatingError('unknown-device', `no device with id ${id}`, { id });
  return device;
}

function add(devices: (RingDevice | undefined)[], device: NewDevice, nextDevice: number): number {
  const id = device.id ?? nextDevice;
  if (devices[id] !== undefined)
    throw new OperatingError('duplicate-device', `there is a device ${id} already`, { id });
  if (id >= NO_DEVICE) {
    throw new OperatingError('too-many-devices', `device ids end at ${MAX_DEVICES - 1}`, { id });
  }
  const { site, zone, node, name, weight, meta } = device;
  const twin = devices.find((d) => d?.site === site && d.node === node && d.name === name);
  if (twin !== undefined) {
    throw new OperatingError('duplicate-device', `${site}/${node}/${name} is in the ring already`);
  }
  while (devices.length < id) devices.push(undefined);
  devices[id] = { id, site, zone, node, name, weight, meta };
  checkWeight(devices[id]);
  return Math.max(nextDevice, id + 1);
}

/** A former set may still name a device that has left. */
function checkId(id: number | undefined, { retired }: BuilderState): void {
  if (id === undefined || !retired.has(id)) return;
  throw new OperatingError('duplicate-device', `id ${id} was another device's`, { id });
}

function checkWeight({ weight }: RingDevice): void {
  if (weight >= 0 && weight <= MAX_WEIGHT) return;
  throw new OperatingError('bad-ring-settings', `weight out of range: ${weight}`, { weight });
}

/** Every partition becomes two with the same devices: nothing moves. */
function raisePartPower(state: BuilderState, from: number): BuilderState {
  const by = state.settings.partPower - from;
  if (by === 0) return state;
  if (by < 0) throw new OperatingError('bad-ring-settings', 'the part power can only be raised');
  const factor = 2 ** by;
  const { columns, movedAt, former } = state;
  const joint = new Map<number, FormerSet>();
  for (const [partition, set] of former) {
    for (let i = 0; i < factor; i++) joint.set(partition * factor + i, set);
  }
  return {
    ...state,
    columns: columns.map((column) =>
      new Uint16Array(column.length * factor).map((_, p) => column[Math.floor(p / factor)]!),
    ),
    movedAt: new Uint32Array(movedAt.length * factor).map(
      (_, p) => movedAt[Math.floor(p / factor)]!,
    ),
    former: joint,
  };
}
