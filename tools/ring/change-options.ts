/** What `plan` and `apply` are told on the command line, turned into a change of the rings. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { DeviceUpdate, NewDevice } from '#ring/builder/change.ts';
import type { RingSet, SetChange } from '#ring/builder/ring-set.ts';
import { formatAddress, parseAddress, parseDescriptionText } from '#ring/description.ts';
import type { RingDevice } from '#ring/fields.ts';

export interface ChangeOptions {
  readonly addDevice: readonly string[];
  readonly setWeight: readonly string[];
  readonly drain: readonly string[];
  readonly remove: readonly string[];
  readonly replicas: readonly string[];
  readonly overload?: string;
  readonly minPartHours?: string;
  readonly partPower?: string;
}

export function addChangeOptions(command: Command): Command {
  const collect = (value: string, all: string[]): string[] => [...all, value];
  return command
    .option(
      '--add-device <spec>',
      'SITE/NODE/NAME=WEIGHT on a known node, or SITE/ZONE/NODE/NAME=WEIGHT@HOST:PORT',
      collect,
      [],
    )
    .option('--set-weight <device=weight>', 'a new weight', collect, [])
    .option(
      '--drain <target>',
      'weight 0: a device, a node or a site gives everything away',
      collect,
      [],
    )
    .option('--remove <target>', 'a device, node or site that is gone', collect, [])
    .option('--replicas <ring=number>', 'replicas of a ring, fractions allowed', collect, [])
    .option('--overload <fraction>', 'how far dispersion may overrule weight, such as 0.1')
    .option('--min-part-hours <hours>', 'between two moves of a partition')
    .option('--part-power <number>', 'raise the number of partitions to 2^number; moves nothing');
}

export function wrongUse(message: string): OperatingError {
  return new OperatingError('wrong-use', message);
}

/** The change, or undefined where the command line asks for none. */
export function readChange(
  set: RingSet,
  file: string | undefined,
  options: ChangeOptions,
): SetChange | undefined {
  const byHand = changeByHand(set, options);
  if (file === undefined) return byHand;
  if (byHand !== undefined) throw wrongUse('either a description or single changes, not both');
  return set.changeTo(readDescription(file));
}

function readDescription(file: string): ReturnType<typeof parseDescriptionText> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new OperatingError(
      'no-description',
      `cannot read ${file}: ${codeOf(cause)}`,
      {},
      { cause },
    );
  }
  try {
    return parseDescriptionText(text);
  } catch (cause) {
    if (!(cause instanceof OperatingError)) throw cause;
    throw new OperatingError(cause.code, `${file}: ${cause.message}`, cause.facts, { cause });
  }
}

function changeByHand(set: RingSet, options: ChangeOptions): SetChange | undefined {
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

function settingsByRing(set: RingSet, options: ChangeOptions): NonNullable<SetChange['settings']> {
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
    if (!set.builders.has(name))
      throw wrongUse(`no ring "${name}"; there are ${[...set.builders.keys()].join(', ')}`);
    settings[name] = { ...settings[name], replicas: numberOf(count, 'replicas') };
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

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  PB: 1e15,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
  PIB: 2 ** 50,
};

/** `1.5TB`, `200 GiB`, `1000`; undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^([0-9.]+) *([a-zA-Z]*)$/.exec(text.trim());
  const unit = UNITS[(match?.[2] ?? '?').toUpperCase()];
  const value = Number(match?.[1]);
  return unit === undefined || !Number.isFinite(value) ? undefined : value * unit;
}
