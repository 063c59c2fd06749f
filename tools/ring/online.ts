/** Rings of a running cluster, through its authority. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError } from '#base/errors.ts';
import { type ChangeRequest, numberOf, wrongUse } from '#ring/builder/change-request.ts';
import type { PlanContent } from '#ring/builder/plan-format.ts';
import type { PlanView } from '#ring/builder/plan-view.ts';
import type { Quality } from '#ring/builder/quality.ts';
import type { RingDevice } from '#ring/fields.ts';
import { AuthorityClient, type AuthorityOptions } from '../authority/client.ts';
import { ProgressBar } from '../authority/progress-bar.ts';
import { printTable } from '../authority/table.ts';
import { readInputText } from '../input-file.ts';
import { linkBandwidth, storedBytes } from './known-bytes.ts';
import { printPlan, qualityText } from './plan-print.ts';

const POLL_MS = 1000;
/** As shells tell it: 128 and the signal's number. */
const INTERRUPTED = 130;

export interface PlanOptions extends AuthorityOptions, ChangeRequest {
  readonly seed?: string;
  readonly force?: boolean;
  readonly acceptLoss?: boolean;
  readonly bytesUsed?: string;
  readonly bandwidth?: string;
}

export interface ApplyOptions extends PlanOptions {
  readonly wait?: boolean;
  readonly gradual?: string;
}

export interface ClusterStatus {
  readonly version: number;
  readonly leads: boolean;
  readonly paused: boolean;
  readonly gradual?: unknown;
  readonly inForceEverywhere: boolean;
  readonly rings: readonly {
    readonly ring: string;
    readonly policy: number;
    readonly version: number;
    readonly joint: number;
  }[];
  readonly progress: readonly {
    readonly policy: number;
    readonly partitions: number;
    readonly moves: number;
    readonly statesDone: number;
    readonly bodiesDone: number;
    readonly settleable: number;
    readonly silent: readonly number[];
  }[];
  readonly proposals: readonly {
    readonly name: string;
    readonly status: string;
    readonly sinceMs: number;
    readonly command: string;
  }[];
  readonly nodes: readonly {
    readonly name: string;
    readonly site: string;
    readonly roles: readonly string[];
    readonly expelled: boolean;
    readonly certifiedUntilMs: number;
  }[];
  readonly processes: readonly ProcessStatus[];
}

export interface ProcessStatus {
  readonly process: string;
  readonly site: string;
  readonly roles: readonly string[];
  readonly version: string;
  readonly bundleVersion: number;
  readonly atMs: number;
  readonly away: boolean;
  readonly behind: boolean;
  readonly refused?: { readonly version: number; readonly code: string };
  readonly certifiedUntilMs?: number;
  readonly moment?: {
    readonly clockMs: number;
    readonly uptimeSeconds: number;
    readonly queues: Readonly<Record<string, number>>;
    readonly verifiedSinceMs?: number;
  };
  readonly devices: readonly {
    readonly id: number;
    readonly name: string;
    readonly status: string;
    readonly usedBytes: number;
    readonly totalBytes: number;
  }[];
}

export async function plan(file: string | undefined, options: PlanOptions): Promise<void> {
  const client = new AuthorityClient(options);
  const made = await makePlan(client, file, options);
  if (options.json) console.log(JSON.stringify(made, null, 2));
  else printPlan(made.view);
  refuseRisks(made.view, options);
  keepPlan(client, made.plan);
  if (!options.json) console.log('do it with: anello ring apply');
}

export async function apply(file: string | undefined, options: ApplyOptions): Promise<void> {
  const client = new AuthorityClient(options);
  if (options.gradual !== undefined) return applyGradually(client, file, options);
  const named = file !== undefined || asksForChange(options);
  const made = named ? await makePlan(client, file, options) : undefined;
  if (made !== undefined) refuseRisks(made.view, options);
  const body = {
    plan: made?.plan ?? keptPlan(client),
    force: options.force === true,
    acceptLoss: options.acceptLoss === true,
    who: whoAmI(),
  };
  const { version } = await client.post<{ version: number }>('/v1/rings/apply', body);
  dropPlan(client);
  if (!options.json) {
    if (made !== undefined) printPlan(made.view);
    console.log(`version ${version} is published`);
  }
  await finish(client, options, { version, view: made?.view });
}

/** One document for a program that reads it, at the end; `done` says that its moves are. */
async function finish(
  client: AuthorityClient,
  options: ApplyOptions,
  reply: object,
): Promise<void> {
  const done = options.wait ? await watch(client, options.json === true) : undefined;
  if (options.json) console.log(JSON.stringify({ ...reply, ...(done && { done }) }, null, 2));
}

/** Weights only: what else a change asks for has no steps. */
async function applyGradually(
  client: AuthorityClient,
  file: string | undefined,
  options: ApplyOptions,
): Promise<void> {
  const { plan: content, view } = await makePlan(client, file, options);
  const { add, remove, create, settings, update = [] } = content.change;
  const others = [add, remove, create, Object.keys(settings ?? {})];
  if (others.some((list) => (list?.length ?? 0) > 0) || update.length === 0)
    throw wrongUse('--gradual: only weights change in steps (--set-weight, --drain)');
  refuseRisks(view, options);
  const weights = Object.fromEntries(update.map(({ id, weight }) => [id, weight]));
  const stepPercent = numberOf(options.gradual!, '--gradual');
  const body = { weights, stepPercent, who: whoAmI() };
  const { version } = await client.post<{ version: number }>('/v1/rings/gradual', body);
  if (!options.json)
    console.log(`begun with version ${version}; anello ring progress tells how far it is`);
  await finish(client, options, { version, view });
}

export async function undo(options: AuthorityOptions): Promise<void> {
  await tell(options, '/v1/rings/undo', 'taken back');
}

export async function pause(options: AuthorityOptions): Promise<void> {
  await tell(options, '/v1/rings/pause', 'paused');
}

export async function resume(options: AuthorityOptions): Promise<void> {
  await tell(options, '/v1/rings/resume', 'resumed');
}

async function tell(options: AuthorityOptions, url: string, done: string): Promise<void> {
  const client = new AuthorityClient(options);
  const reply = await client.post<{ version: number }>(url, { who: whoAmI() });
  console.log(options.json ? JSON.stringify(reply) : `${done}: version ${reply.version}`);
}

export async function status(options: AuthorityOptions): Promise<void> {
  const now = await new AuthorityClient(options).get<ClusterStatus>('/v1/status');
  if (options.json) console.log(JSON.stringify(now, null, 2));
  else printStatus(now);
}

function printStatus(now: ClusterStatus): void {
  const everywhere = now.inForceEverywhere ? 'in force everywhere' : 'not in force everywhere yet';
  const notes = [now.paused && 'paused', now.gradual !== undefined && 'a gradual change goes on'];
  console.log([`version ${now.version}`, everywhere, ...notes].filter(Boolean).join(', '));
  printTable(
    ['process', 'site', 'roles', 'bundle', 'state'],
    now.processes.map((process) => [
      process.process,
      process.site,
      process.roles.join(' '),
      String(process.bundleVersion),
      processState(process),
    ]),
  );
  for (const { ring, version, joint } of now.rings)
    console.log(`${ring}: version ${version}${joint > 0 ? `, ${joint} partitions joint` : ''}`);
  for (const { name, status: how, command } of now.proposals)
    console.log(`PROPOSAL: ${name} is ${how}; ${command}`);
}

function processState({ away, behind, refused, devices }: ProcessStatus): string {
  const bad = devices.filter(({ status: how }) => how !== 'ok');
  const facts = [
    away && 'AWAY',
    behind && 'older version',
    refused !== undefined && `REFUSED version ${refused.version} (${refused.code})`,
    ...bad.map(({ name, status: how }) => `${name} ${how}`),
  ].filter((fact) => fact !== false);
  return facts.length === 0 ? 'ok' : facts.join(', ');
}

export async function progress(options: AuthorityOptions): Promise<void> {
  const done = await watch(new AuthorityClient(options), options.json === true);
  if (options.json) console.log(JSON.stringify(done));
}

interface Done {
  readonly version: number;
  readonly joint: number;
}

/** Until no step is left, nothing is joint and everybody runs the last version. Leaving it stops nothing. */
async function watch(client: AuthorityClient, json: boolean): Promise<Done> {
  const bar = json ? undefined : new ProgressBar();
  process.once('SIGINT', () => {
    bar?.end('left: the change goes on by itself; anello ring progress shows how far it is');
    process.exit(INTERRUPTED);
  });
  for (;;) {
    const now = await client.get<ClusterStatus>('/v1/status');
    const joint = now.rings.reduce((sum, ring) => sum + ring.joint, 0);
    const sum = (pick: 'moves' | 'statesDone' | 'bodiesDone'): number =>
      now.progress.reduce((total, ring) => total + ring[pick], 0);
    if (joint === 0 && now.gradual === undefined && now.inForceEverywhere) {
      bar?.end('all moves are settled, and every process runs the last version');
      return { version: now.version, joint };
    }
    const notes = [`${joint} partitions joint`, `${sum('bodiesDone')} with bodies`];
    if (now.gradual !== undefined) notes.push('further steps to come');
    if (now.paused) notes.push('paused');
    bar?.show(sum('statesDone'), sum('moves'), notes.join(', '));
    await sleep(POLL_MS);
  }
}

interface RingsView {
  readonly version: number;
  readonly devices: readonly RingDevice[];
  readonly rings: readonly {
    readonly ring: string;
    readonly version: number;
    readonly joint: number;
    readonly undoable: number;
    readonly settings: Readonly<Record<string, number>>;
    readonly quality: Quality;
  }[];
}

export async function show(name: string | undefined, options: AuthorityOptions): Promise<void> {
  const view = await new AuthorityClient(options).get<RingsView>('/v1/rings');
  const rings = view.rings.filter(({ ring }) => name === undefined || ring === name);
  if (rings.length === 0) {
    const known = view.rings.map(({ ring }) => ring).join(', ');
    throw new OperatingError('unknown-ring', `no ring "${name}"; there are ${known}`);
  }
  if (options.json) {
    console.log(JSON.stringify({ ...view, rings }, null, 2));
    return;
  }
  for (const { ring, version, joint, undoable, settings, quality } of rings) {
    const { partPower, replicas } = settings;
    console.log(`${ring}: version ${version}, 2^${partPower} partitions, ${replicas} replicas`);
    console.log(
      `  ${joint} joint partitions, ${undoable} changes to undo, ${qualityText(quality)}`,
    );
  }
  const rows = view.devices.map(({ id, site, zone, node, name: disk, weight }) => [
    String(id),
    `${site}/${node}/${disk}`,
    zone,
    String(weight),
  ]);
  printTable(['id', 'device', 'zone', 'weight'], rows);
}

function asksForChange(options: ChangeRequest): boolean {
  const { addDevice, setWeight, drain, remove, replicas } = options;
  const lists = [addDevice, setWeight, drain, remove, replicas];
  const { overload, minPartHours, partPower } = options;
  return (
    lists.some((list) => list.length > 0) ||
    [overload, minPartHours, partPower].some((value) => value !== undefined)
  );
}

async function makePlan(client: AuthorityClient, file: string | undefined, options: PlanOptions) {
  const named = asksForChange(options);
  if (file !== undefined && named)
    throw wrongUse('either a description or single changes, not both');
  const { addDevice, setWeight, drain, remove, replicas } = options;
  const { overload, minPartHours, partPower, seed } = options;
  const change = {
    addDevice,
    setWeight,
    drain,
    remove,
    replicas,
    overload,
    minPartHours,
    partPower,
  };
  const bytesUsed = storedBytes(options.bytesUsed);
  const bandwidth = linkBandwidth(options.bandwidth);
  return client.post<{ plan: PlanContent; view: PlanView }>('/v1/rings/plan', {
    ...(file !== undefined && { description: readInputText(file) }),
    ...(named && { request: change }),
    ...(seed !== undefined && { seed: numberOf(seed, '--seed') }),
    ...(bytesUsed !== undefined && { bytesUsed }),
    ...(bandwidth !== undefined && { bandwidth }),
  });
}

/** The authority knows which of them --force is enough for. */
function refuseRisks({ rings }: PlanView, { force, acceptLoss }: PlanOptions): void {
  const risky = rings.filter((ring) => ring.risks.length > 0);
  if (risky.length === 0 || force || acceptLoss) return;
  const why = risky.map(({ ring, risks }) => `${ring}: ${risks.join(', ')}`).join('; ');
  throw new OperatingError('ring-at-risk', `refused without --force: ${why}`);
}

/** The last plan waits on the operator's own machine: the authority keeps only what is applied. */
function planFile(client: AuthorityClient): string {
  const cluster = client.file.authorities[0]!.replace(/[^a-z0-9]+/gi, '-');
  const folder = process.env['XDG_STATE_HOME'] ?? path.join(homedir(), '.local', 'state');
  return path.join(folder, 'anello', `plan-${cluster}.json`);
}

function keepPlan(client: AuthorityClient, content: PlanContent): void {
  const file = planFile(client);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
}

function keptPlan(client: AuthorityClient): unknown {
  const file = planFile(client);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8'));
  throw new OperatingError('no-plan', 'no plan was made: anello ring plan, or name the change');
}

function dropPlan(client: AuthorityClient): void {
  rmSync(planFile(client), { force: true });
}

export function whoAmI(): string {
  return process.env['SUDO_USER'] ?? process.env['USER'] ?? 'operator';
}
