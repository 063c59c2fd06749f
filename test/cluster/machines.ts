/**
 * Machines for tests: node processes on loopback addresses of their own, each with its own file, disks
 * and certificate, joined to one authority by token; nothing is shared but what the authority tells.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { CLI, sleep } from './cluster.ts';

const run = promisify(execFile);
const START_MS = 90_000;
const DISKS = ['d1', 'd2'];

export interface MachinePlan {
  readonly name: string;
  readonly site: string;
  readonly address: string;
  readonly roles: string;
}

export interface MachinePorts {
  readonly wire: number;
  readonly admin: number;
  readonly proxy: number;
  readonly authority: number;
  readonly identity: number;
}

export class Machines {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'anello-machines-'));
  readonly ports: MachinePorts;
  readonly #running = new Map<string, ChildProcess>();
  #first: MachinePlan | undefined;

  /** Ports are the same on every machine, as on real ones. */
  constructor(base: number) {
    this.ports = {
      wire: base,
      admin: base + 1,
      proxy: base + 2,
      authority: base + 3,
      identity: base + 4,
    };
  }

  file(name: string): string {
    return path.join(this.folder, name);
  }

  get operator(): string {
    return this.file('operator.json');
  }

  proxy(plan: MachinePlan): string {
    return `http://${plan.address}:${this.ports.proxy}`;
  }

  /** The command on an operator's desk: what it prints. */
  async anello(...args: string[]): Promise<string> {
    const env = { ...process.env, ANELLO_OPERATOR: this.operator, XDG_STATE_HOME: this.folder };
    const { stdout } = await run(process.execPath, [CLI, ...args], { env });
    return stdout;
  }

  /** The same, for one that stays: what it has printed so far, and its end. */
  staying(...args: string[]): { readonly child: ChildProcess; printed(): string } {
    const env = { ...process.env, ANELLO_OPERATOR: this.operator, XDG_STATE_HOME: this.folder };
    const child = spawn(process.execPath, [CLI, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => output.push(chunk));
    return { child, printed: () => Buffer.concat(output).toString() };
  }

  async init(plan: MachinePlan, description: string): Promise<void> {
    this.#first = plan;
    this.#writeFile(plan);
    const cluster = this.file('cluster.yaml');
    writeFileSync(cluster, description);
    const state = `sqlite:${this.file('state.db')}`;
    const where = ['--config', this.file(`${plan.name}.yaml`), '--operator', this.operator];
    const what = ['--description', cluster, '--state', state];
    await this.anello(
      'authority',
      'init',
      ...where,
      ...what,
      '--site',
      plan.site,
      '--roles',
      plan.roles,
    );
    await this.start(plan);
  }

  async join(plan: MachinePlan): Promise<void> {
    const args = ['--site', plan.site, '--roles', plan.roles];
    this.#writeFile(plan, (await this.anello('node', 'token', ...args)).trim());
    await this.anello('join', '--config', this.file(`${plan.name}.yaml`));
    await this.start(plan);
  }

  async start({ name, address }: MachinePlan): Promise<void> {
    const child = spawn(process.execPath, [CLI, 'run', '--config', this.file(`${name}.yaml`)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => output.push(chunk));
    this.#running.set(name, child);
    const admin = `http://${address}:${this.ports.admin}/healthcheck`;
    for (const end = Date.now() + START_MS; Date.now() < end; await sleep(100)) {
      if (child.exitCode !== null) break;
      const answer = await fetch(admin).catch(() => undefined);
      if (answer?.ok) return;
    }
    throw new Error(`${name} did not start: ${Buffer.concat(output)}`);
  }

  async stop({ name }: MachinePlan): Promise<void> {
    const child = this.#running.get(name);
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
    this.#running.delete(name);
  }

  async close(): Promise<void> {
    for (const name of [...this.#running.keys()]) await this.stop({ name } as MachinePlan);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Segments and blobs of all disks of these machines, by path. */
  storedFiles(plans: readonly MachinePlan[]): Map<string, Buffer> {
    const folders = plans.flatMap(({ name }) =>
      DISKS.flatMap((disk) =>
        ['log', 'blobs'].map((kind) => this.file(path.join(name, disk, kind))),
      ),
    );
    const files = folders.flatMap((folder) =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name)),
    );
    return new Map(files.map((file) => [file, readFileSync(file)]));
  }

  /** OS_ variables of the first administrator. */
  administrator(): Record<string, string> {
    const lines = readFileSync(this.file('admin.openrc'), 'utf8').trim().split('\n');
    return Object.fromEntries(
      lines.map((line) => /^export (\w+)='(.*)'$/.exec(line)!.slice(1) as [string, string]),
    );
  }

  #writeFile(plan: MachinePlan, token?: string): void {
    const disks = DISKS.map((disk) => this.file(path.join(plan.name, disk)));
    for (const disk of disks) mkdirSync(disk, { recursive: true });
    const authority = `https://${this.#first!.address}:${this.ports.authority}`;
    const content = {
      format: 1,
      name: plan.name,
      data: this.file(path.join(plan.name, 'data')),
      disks,
      mountPoints: false,
      address: plan.address,
      authorities: [authority],
      ...(token !== undefined && { token }),
      listen: { ...this.ports, adminHost: plan.address },
    };
    // JSON but for the first line, by which the form is told.
    const { disks: list, ...rest } = content;
    const fields = Object.entries(rest).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
    const text = [`disks: ${JSON.stringify(list)}`, ...fields].join('\n');
    writeFileSync(this.file(`${plan.name}.yaml`), `${text}\n`);
  }
}
