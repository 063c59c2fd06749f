/**
 * The three members of etcd under `anello up --state etcd`, one per site: started before the nodes,
 * started again when they die, stopped after them. Their data is DIR/state/etcd-NAME; etcd.json tells
 * scripts their pids and ports.
 *
 * A member must not outlive a supervisor that was killed: it would keep its ports and data. Linux tells
 * it of its parent's death (setpriv of util-linux arranges that; elsewhere it would stay).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { readJsonFile } from './json-file.ts';
import { ManagedProcess } from './managed-process.ts';
import { etcdPorts } from './ports.ts';

const MEMBERS = 3;
/** The last ones cannot hand leadership over; everything acknowledged is synced, so they may be killed. */
const STOP_GRACE_MS = 2000;
const HEALTH_TIMEOUT_MS = 1000;
const START_TIMEOUT_MS = 30_000;
/** Revisions that watches can go back to; older ones are compacted away. */
const HISTORY_REVISIONS = 10_000;

const ETCD_FILE = 'etcd.json';
const etcdFile = z.array(z.object({ ports: z.object({ peer: z.number() }) })).length(MEMBERS);

export interface EtcdMemberPlan {
  readonly name: string;
  readonly site: string;
  readonly folder: string;
  readonly ports: { readonly client: number; readonly peer: number };
}

/** A member at each of the first three sites; where there are fewer, several at one. */
export function planMembers(
  folder: string,
  basePort: number,
  sites: readonly string[],
): EtcdMemberPlan[] {
  return Array.from({ length: MEMBERS }, (_, n) => ({
    name: `etcd-${n + 1}`,
    site: sites[n % sites.length]!,
    folder: path.join(folder, 'state', `etcd-${n + 1}`),
    ports: etcdPorts(basePort, n),
  }));
}

/** Client URLs, the site's own member first. */
export function endpointsFor(site: string, members: readonly EtcdMemberPlan[]): string[] {
  const near = members.filter((member) => member.site === site);
  const far = members.filter((member) => member.site !== site);
  return [...near, ...far].map(clientUrl);
}

/** @throws OperatingError `no-etcd` */
export function checkInstalled(): void {
  if (spawnSync('etcd', ['--version']).status === 0) return;
  throw new OperatingError(
    'no-etcd',
    '--state etcd: there is no program etcd (Debian: apt-get install etcd-server)',
  );
}

/**
 * Members keep each other's ports in their own data, unlike nodes, which are told anew at every start.
 *
 * @throws OperatingError `wrong-use`
 */
export function checkPeerPorts(folder: string, plans: readonly EtcdMemberPlan[]): void {
  const file = path.join(folder, ETCD_FILE);
  if (plans.length === 0 || !existsSync(file)) return;
  const known = etcdFile.safeParse(readJsonFile(file));
  if (!known.success)
    throw new OperatingError('bad-cluster', `${file} is not what "anello up" writes`);
  const moved = plans.find(({ ports }, n) => known.data[n]?.ports.peer !== ports.peer);
  if (moved === undefined) return;
  const base = known.data[0]!.ports.peer - etcdPorts(0, 0).peer;
  throw new OperatingError(
    'wrong-use',
    `the members of etcd in ${folder} know each other by the ports of --port ${base}: use that one`,
  );
}

export class EtcdMembers {
  readonly #folder: string;
  readonly #plans: readonly EtcdMemberPlan[];
  readonly #processes: readonly ManagedProcess[];

  constructor(folder: string, plans: readonly EtcdMemberPlan[], report: (line: string) => void) {
    const guard = parentDeathGuard();
    this.#folder = folder;
    this.#plans = plans;
    this.#processes = plans.map((plan) => {
      const [command, ...args] = [...guard, 'etcd', ...argumentsOf(plan, plans)];
      return new ManagedProcess({
        name: `state member ${plan.name} (${plan.site})`,
        command: command!,
        args,
        isServing: () => isHealthy(clientUrl(plan)),
        logFile: `${plan.folder}.log`,
        report,
        onChange: () => this.#writePids(),
      });
    });
  }

  /** All serve. @throws OperatingError `start-failed` */
  async start(): Promise<void> {
    for (const { folder } of this.#plans) mkdirSync(folder, { recursive: true, mode: 0o700 });
    const started = Promise.all(this.#processes.map((member) => member.start()));
    const { promise: tooLate, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error('not ready in time')), START_TIMEOUT_MS);
    try {
      await Promise.race([started, tooLate]);
    } catch (cause) {
      await this.stop();
      const logs = path.join(this.#folder, 'state', 'etcd-*.log');
      throw new OperatingError('start-failed', `etcd did not start; see ${logs}`, {}, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((member) => member.stop(STOP_GRACE_MS)));
  }

  #writePids(): void {
    const members = this.#plans.map(({ name, site, ports, folder }, n) => ({
      ...{ name, site, pid: this.#processes?.[n]?.pid ?? null, ports, data: folder },
    }));
    const file = path.join(this.#folder, ETCD_FILE);
    writeFileSync(`${file}.tmp`, `${JSON.stringify(members, null, 2)}\n`);
    renameSync(`${file}.tmp`, file);
  }
}

function argumentsOf(plan: EtcdMemberPlan, all: readonly EtcdMemberPlan[]): string[] {
  const client = clientUrl(plan);
  const peer = peerUrl(plan);
  return [
    ...['--name', plan.name, '--data-dir', plan.folder],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', all.map((other) => `${other.name}=${peerUrl(other)}`).join(',')],
    ...['--initial-cluster-state', 'new'],
    ...['--auto-compaction-mode', 'revision'],
    ...['--auto-compaction-retention', String(HISTORY_REVISIONS)],
    ...['--logger', 'zap', '--log-level', 'warn'],
  ];
}

export function clientUrl({ ports }: EtcdMemberPlan): string {
  return `http://127.0.0.1:${ports.client}`;
}

function peerUrl({ ports }: EtcdMemberPlan): string {
  return `http://127.0.0.1:${ports.peer}`;
}

function parentDeathGuard(): string[] {
  const words = ['setpriv', '--pdeathsig', 'KILL'];
  const works = spawnSync(words[0]!, [...words.slice(1), 'true']).status === 0;
  return works ? words : [];
}

async function isHealthy(client: string): Promise<boolean> {
  try {
    const response = await fetch(`${client}/health`, {
      signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS),
    });
    const answer: unknown = await response.json();
    return typeof answer === 'object' && answer !== null && 'health' in answer
      ? String(answer.health) === 'true'
      : false;
  } catch {
    return false;
  }
}
