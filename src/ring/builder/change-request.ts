/**
 * A change of the rings as a person names it: devices by site, node and name, weights, targets to drain
 * or remove. The command line and the authority's API read it alike.
 */
import { OperatingError } from '#base/errors.ts';
import { formatAddress, parseAddress } from '../description.ts';
import type { RingDevice } from '../fields.ts';
import type { DeviceUpdate, NewDevice } from './change.ts';
import type { RingSet, SetChange } from './ring-set.ts';

export interface ChangeRequest {
  readonly addDevice: readonly string[];
  readonly setWeight: readonly string[];
  readonly drain: readonly string[];
  readonly remove: readonly string[];
  readonly replicas: readonly string[];
  readonly overload?: string;
  readonly minPartHours?: string;
  readonly partPower?: string;
}

export function wrongUse(message: string): OperatingError {
  return new OperatingError('wrong-use', message);
}

/** The change, or undefined where none is asked for. @throws OperatingError `wrong-use`, `unknown-device` */
export function readRequest(set: RingSet, options: ChangeRequest): SetChange | undefined {
  const add = options.addDevice.map((spec) => newDevice(set, spec));
  const weights = new Map<number, number>();
  for (const spec of options.setWeight) {
    const [target, weight] = split(spec, '--set-weight');
    for (const device of matching(set, target)) weights.set(device.id, numberOf(weight, 'weight'));
  }
  for (const target of options.drain)
    for (const device of matching(set, target)) weights.set(device.id, 0);
  const update: DeviceUpdate[] = [...weights].map(([id, weight]) => ({ id, weight }));
  const remove = options.remove.flatMap((target) =>
    matching(set, target).map((device) => device.id),
  );
  const settings = settingsByRing(set, options);
  const empty = add.length + update.length + remove.length + Object.keys(settings).length === 0;
  return empty ? undefined : { add, update, remove: [...new Set(remove)], settings };
}

function settingsByRing(set: RingSet, options: ChangeRequest): NonNullable<SetChange['settings']> {
  const { overload, minPartHours, partPower } = options;
  const common = {
    ...(overload !== undefined && { overload: numberOf(overload, 'overload') }),
    ...(minPartHours !== undefined && { minPartHours: numberOf(minPartHours, 'min-part-hours') }),
    ...(partPower !== undefined && { partPower: numberOf(partPower, 'part-power') }),
  };
  const settings: Record<string, object> = {};
  if (Object.keys(common).length > 0)
    for (const name of set.builders.keys()) settings[name] = common;
  for (const spec of options.replicas) {
    const [name, count] = split(spec, '--replicas');
    const builder = set.builders.get(name);
    if (builder === undefined)
      throw wrongUse(`no ring "${name}"; there are ${[...set.builders.keys()].join(', ')}`);
    const replicas = numberOf(count, 'replicas');
    const { settings: now } = builder.state;
    // Where every replica keeps bodies the new ones do too; where some are witnesses, the new ones are.
    const copies = now.copies === Math.floor(now.replicas) ? { copies: Math.floor(replicas) } : {};
    settings[name] = { ...settings[name], replicas, ...copies };
  }
  return settings;
}

function newDevice(set: RingSet, spec: string): NewDevice {
  const match = /^([^/=]+)\/(?:([^/=]+)\/)?([^/=]+)\/([^/=]+)=([0-9.]+)(?:@(.+))?$/.exec(spec);
  if (match === null)
    throw wrongUse(`--add-device ${spec}: expected SITE/[ZONE/]NODE/NAME=WEIGHT[@HOST:PORT]`);
  const [, site, zone, node, name, weight, wire] = match as unknown as string[];
  const sibling = set.devices().find((device) => device.site === site && device.node === node);
  const address = wire === undefined ? sibling?.meta.wire : wireAddress(wire);
  if (address === undefined)
    throw wrongUse(`--add-device ${spec}: ${node} is new, so its @HOST:PORT is needed`);
  const place = zone ?? sibling?.zone ?? 'z1';
  return {
    site: site!,
    zone: place,
    node: node!,
    name: name!,
    weight: numberOf(weight!, 'weight'),
    meta: { wire: address },
  };
}

function wireAddress(text: string): string {
  const address = parseAddress(text);
  if (address === undefined) throw wrongUse(`"${text}" is not HOST:PORT`);
  return formatAddress(address);
}

/** Devices by id, `name` in full, node or site. */
function matching(set: RingSet, target: string): RingDevice[] {
  const found = set.devices().filter(({ id, site, node, name }) => {
    const names = [
      String(id),
      site,
      node,
      `${site}/${node}`,
      `${node}/${name}`,
      `${site}/${node}/${name}`,
    ];
    return names.includes(target);
  });
  if (found.length === 0)
    throw new OperatingError('unknown-device', `no device, node or site "${target}"`);
  return found;
}

function split(spec: string, option: string): [string, string] {
  const at = spec.lastIndexOf('=');
  if (at <= 0) throw wrongUse(`${option} ${spec}: expected NAME=NUMBER`);
  return [spec.slice(0, at), spec.slice(at + 1)];
}

export function numberOf(text: string, what: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value))
    throw wrongUse(`${what}: "${text}" is not a number`);
  return value;
}
