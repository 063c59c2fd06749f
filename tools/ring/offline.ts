/** Rings kept in a folder of builder files, planned and changed without a cluster (`--builder DIR`). */
import { OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { RingBuilder } from '#ring/builder/builder.ts';
import { type ChangeRequest, numberOf, wrongUse } from '#ring/builder/change-request.ts';
import { type PlanView, viewPlan } from '#ring/builder/plan-view.ts';
import { slotsByDevice } from '#ring/builder/quality.ts';
import type { RingSet, SetPlan } from '#ring/builder/ring-set.ts';
import { refusal } from '#ring/builder/risk.ts';
import type { RingDevice } from '#ring/fields.ts';
import type { Ring } from '#ring/ring.ts';
import { readChange } from './change-options.ts';
import { checkFolder } from './check.ts';
import { loadSet, saveSet, withFolder } from './folder.ts';
import { knownBytes, linkRate } from './known-bytes.ts';
import { dropPlan, readPlan, writePlan } from './plan-file.ts';
import { printPlan, qualityText } from './plan-print.ts';

const MS_PER_HOUR = 3_600_000;

export interface FolderOptions {
  readonly builder: string;
  readonly json?: boolean;
  readonly now?: string;
}

export interface PlanningOptions extends FolderOptions, ChangeRequest {
  readonly seed?: string;
  readonly force?: boolean;
  readonly acceptLoss?: boolean;
  readonly bytesUsed?: string;
  readonly bandwidth?: string;
}

function nowHours(options: FolderOptions): number {
  return options.now === undefined
    ? Math.floor(Date.now() / MS_PER_HOUR)
    : numberOf(options.now, '--now');
}

function makePlan(set: RingSet, file: string | undefined, options: PlanningOptions): SetPlan {
  const change = readChange(set, file, options) ?? {};
  if (set.builders.size === 0 && file === undefined)
    throw wrongUse('no rings yet: a description is needed');
  // By default the seed follows the versions: the same folder and change give the same plan.
  const versions = [...set.builders.values()].reduce(
    (sum, builder) => sum + builder.state.version,
    1,
  );
  const seed = options.seed === undefined ? versions : numberOf(options.seed, '--seed');
  return set.plan(change, { seed, nowHours: nowHours(options) });
}

export function plan(file: string | undefined, options: PlanningOptions): void {
  withFolder(options.builder, file !== undefined, () => {
    const set = loadSet(options.builder, { mustExist: file === undefined });
    const made = makePlan(set, file, options);
    const view = shownPlan(set, made, options);
    if (options.json) console.log(JSON.stringify(view, null, 2));
    else printPlan(view);
    refuseRisks(made, options);
    writePlan(options.builder, set, made);
    if (!options.json) console.log(`do it with: anello ring apply --builder ${options.builder}`);
  });
}

function shownPlan(set: RingSet, made: SetPlan, options: PlanningOptions): PlanView {
  return viewPlan(made, knownBytes(set, options.bytesUsed), linkRate(options.bandwidth));
}

function refuseRisks(made: SetPlan, options: PlanningOptions): void {
  const why = refusal(made.rings, options);
  if (why !== undefined) throw new OperatingError('ring-at-risk', why);
}

export function apply(file: string | undefined, options: PlanningOptions): void {
  withFolder(options.builder, file !== undefined, () => {
    const set = loadSet(options.builder, { mustExist: false });
    const named = file !== undefined || readChange(set, file, options) !== undefined;
    const made = named ? makePlan(set, file, options) : readPlan(options.builder, set);
    refuseRisks(made, options);
    set.apply(made, options);
    saveSet(options.builder, set);
    dropPlan(options.builder);
    const view = shownPlan(set, made, options);
    if (options.json) console.log(JSON.stringify(view, null, 2));
    else printPlan(view);
  });
}

export function undo(options: FolderOptions): void {
  changeSet(options, (set) => set.undo({ nowHours: nowHours(options) }));
}

export function settle(options: FolderOptions): void {
  changeSet(options, (set) => set.settle());
}

function changeSet(options: FolderOptions, change: (set: RingSet) => void): void {
  withFolder(options.builder, false, () => {
    const set = loadSet(options.builder);
    change(set);
    saveSet(options.builder, set);
    dropPlan(options.builder);
    const versions = Object.fromEntries(
      [...set.builders].map(([name, b]) => [name, b.state.version]),
    );
    if (options.json) console.log(JSON.stringify({ versions }));
    else
      for (const [name, version] of Object.entries(versions))
        console.log(`${name}: version ${version}`);
  });
}

export function show(name: string | undefined, options: FolderOptions): void {
  const set = loadSet(options.builder);
  const wanted = name === undefined ? [...set.builders] : [[name, builderOf(set, name)] as const];
  const views = wanted.map(([ring, builder]) => ringView(ring, builder));
  if (options.json) console.log(JSON.stringify({ rings: views }, null, 2));
  else for (const view of views) printView(view);
}

function builderOf(set: RingSet, name: string): RingBuilder {
  const builder = set.builders.get(name);
  if (builder !== undefined) return builder;
  throw new OperatingError(
    'unknown-ring',
    `no ring "${name}"; there are ${[...set.builders.keys()].join(', ')}`,
  );
}

function ringView(ring: string, builder: RingBuilder) {
  const { settings, version, devices, columns, former } = builder.state;
  const held = slotsByDevice(columns, devices.length);
  const members = devices.filter((device) => device !== undefined);
  return {
    ring,
    version,
    ...settings,
    joint: former.size,
    undoable: builder.undoable,
    quality: builder.quality(),
    devices: members.map((device) => ({ ...device, replicas: held[device.id]! })),
  };
}

function printView(view: ReturnType<typeof ringView>): void {
  const { ring, version, partPower, replicas, copies, overload, minPartHours, joint } = view;
  const witness = copies < replicas ? ` (${copies} with bodies)` : '';
  console.log(
    `${ring}: policy ${view.policy}, version ${version}, 2^${partPower} partitions, ${replicas} replicas${witness}`,
  );
  console.log(
    `  overload ${overload}, min_part_hours ${minPartHours}, ${joint} joint partitions, ${view.undoable} changes to undo`,
  );
  console.log(`  ${qualityText(view.quality)}`);
  for (const device of view.devices) {
    console.log(`  ${deviceText(device)}  weight ${device.weight}  ${device.replicas} replicas`);
  }
}

function deviceText({ id, site, zone, node, name, meta }: RingDevice): string {
  const wire = meta['wire'] === undefined ? '' : `  ${meta['wire']}`;
  return `${String(id).padStart(5)}  ${site}/${node}/${name}  zone ${zone}${wire}`;
}

export interface LookupOptions extends FolderOptions {
  readonly ring?: string;
  readonly hashPrefix: string;
  readonly hashSuffix: string;
  readonly handoffs: string;
}

export function lookup(name: string, options: LookupOptions): void {
  if (!name.startsWith('/') || name.length < 2)
    throw wrongUse('a name starts with a slash: /account/container/object');
  const set = loadSet(options.builder);
  const ringName = options.ring ?? ringFor(set, name);
  const ring = builderOf(set, ringName).toRing();
  const found = locate(ring, name, options);
  if (options.json) console.log(JSON.stringify({ ring: ringName, ...found }, null, 2));
  else printLocation(ringName, found);
}

function locate(ring: Ring, name: string, { hashPrefix, hashSuffix, handoffs }: LookupOptions) {
  const hash = hashPath(hashPrefix, name, hashSuffix);
  const partition = ring.partitionOf(hash);
  const { primaries, former } = ring.placement(partition);
  const wanted = numberOf(handoffs, '--handoffs');
  const standIns = [...ring.handoffs(partition)].slice(0, Math.max(0, wanted));
  return {
    name,
    hash: hash.toString('hex'),
    version: ring.version,
    partition,
    primaries,
    former,
    handoffs: standIns,
  };
}

function ringFor(set: RingSet, name: string): string {
  const slashes = name.split('/').length - 1;
  const policies = [...set.builders].map(
    ([ring, builder]) => [ring, builder.state.settings.policy] as const,
  );
  const policy = slashes === 1 ? ACCOUNT_RING : slashes === 2 ? CONTAINER_RING : undefined;
  const sorted = policies.toSorted(([, a], [, b]) => a - b);
  const found = policy === undefined ? sorted[0] : sorted.find(([, number]) => number === policy);
  if (found === undefined)
    throw new OperatingError('unknown-ring', 'no ring for such a name in this folder');
  return found[0];
}

function printLocation(ring: string, found: ReturnType<typeof locate>): void {
  console.log(
    `${found.name}: ${ring} version ${found.version}, hash ${found.hash}, partition ${found.partition}`,
  );
  for (const device of found.primaries) console.log(`  primary ${deviceText(device)}`);
  for (const device of found.former ?? []) console.log(`  former  ${deviceText(device)}`);
  for (const device of found.handoffs) console.log(`  handoff ${deviceText(device)}`);
}

export function check(options: FolderOptions): void {
  const { rings, problems } = checkFolder(options.builder);
  if (options.json) console.log(JSON.stringify({ rings, problems }, null, 2));
  else for (const { ring, quality } of rings) console.log(`${ring}: ${qualityText(quality)}`);
  if (problems.length > 0) throw new OperatingError('ring-damaged', problems.join('; '));
  if (!options.json) console.log('all files and placements are as they should be');
}
