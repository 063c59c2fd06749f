/**
 * Machines of their own on this one: network namespaces with addresses as the guide has them, a router
 * between the sites, a view of the file system each (what a machine writes below /etc, /var, /srv and
 * /usr is its own), a host name, disks that are file systems. Needs root, iproute2, overlayfs, loop devices.
 *
 *   lngs-1 10.1.0.1 ──┐
 *   bari-1 10.2.0.1 ──┼── router (10.N.0.254 at each site) ── clients 10.9.0.1
 *   bari-2 10.2.0.2 ──┤
 *   padova-1 10.3.0.1 ┘
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PRIVATE = ['etc', 'var', 'srv', 'usr'];
const INSTALLED = ['etc', 'usr'];
const COMMAND_MS = 600_000;
const STOP_MS = 40_000;
const MAX_OUTPUT = 16 * 1024 * 1024;
const ROUTER = 'router';
export const CLIENTS = 'clients';

export interface LabMachine {
  readonly name: string;
  readonly site: number;
  readonly address: string;
  readonly disks: readonly string[];
}

/** What this machine lacks; undefined: nothing. */
export function whatLabLacks(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root';
  for (const program of ['ip', 'nsenter', 'unshare', 'mkfs.ext4', 'ss', 'nft'])
    if (!works('sh', '-c', `command -v ${program}`)) return `there is no program ${program}`;
  if (!works('unshare', '--net', 'true')) return 'network namespaces are not allowed';
  return undefined;
}

function works(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export class Lab {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'anello-lab-'));
  /** Names of namespaces are the machine's, so that two labs need two prefixes. */
  readonly #prefix = `al${process.pid}-`;
  readonly #holders = new Map<string, ChildProcess>();
  readonly #processes = new Set<ChildProcess>();

  /** Sites and their clients are connected; machines are added. */
  constructor(sites: readonly number[]) {
    this.#addNamespace(ROUTER);
    this.#addNamespace(CLIENTS);
    this.#inside(ROUTER, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    for (const site of [...sites, CLIENT_SITE]) {
      this.#inside(ROUTER, 'ip', 'link', 'add', `site${site}`, 'type', 'bridge');
      this.#inside(ROUTER, 'ip', 'address', 'add', `10.${site}.0.254/24`, 'dev', `site${site}`);
      this.#inside(ROUTER, 'ip', 'link', 'set', `site${site}`, 'up');
    }
    this.#connect(CLIENTS, CLIENT_SITE, `10.${CLIENT_SITE}.0.1`);
  }

  /** `lower`: a folder with `etc` and `usr` of what was installed on it. */
  async add(machine: LabMachine, lower: string): Promise<void> {
    const { name, site, address } = machine;
    this.#addNamespace(name);
    this.#connect(name, site, address);
    const own = path.join(this.folder, name);
    const mounts = PRIVATE.map((top) =>
      overlay(own, top, INSTALLED.includes(top) ? lower : undefined),
    );
    const disks = machine.disks.map((disk) => mountDisk(own, disk));
    const script = ['set -e', ...mounts, ...disks, RUN_FOLDER, `hostname ${name}`, HOLD].join('\n');
    const holder = spawn('ip', [
      ...['netns', 'exec', this.#prefix + name],
      ...['unshare', '--mount', '--uts', '--propagation', 'private', 'sh', '-c', script],
    ]);
    this.#holders.set(name, holder);
    const problems: string[] = [];
    holder.stderr.on('data', (chunk: Buffer) => problems.push(chunk.toString()));
    await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]);
    if (holder.exitCode !== null) throw new Error(`${name} has no disks: ${problems.join('')}`);
  }

  /** A shell line on a machine, as its administrator types it: what it prints. */
  async shell(machine: string, line: string): Promise<string> {
    const [program, ...args] = this.#enter(machine, 'sh', '-c', line);
    try {
      const options = { timeout: COMMAND_MS, maxBuffer: MAX_OUTPUT, env: environment(), cwd: '/' };
      const { stdout } = await run(program!, args, options);
      return stdout;
    } catch (error) {
      const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
      throw new Error(`${machine}: ${line}: ended with ${code}: ${stderr}${stdout}`);
    }
  }

  /** A process that stays; its output is in the lab's folder. */
  daemon(machine: string, line: string): ChildProcess {
    const [program, ...args] = this.#enter(machine, 'sh', '-c', `exec ${line}`);
    const child = spawn(program!, args, { env: environment(), cwd: '/' });
    const log = createWriteStream(path.join(this.folder, `${machine}.log`), { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.#processes.add(child);
    child.once('exit', () => this.#processes.delete(child));
    return child;
  }

  /** The site's lines: nothing goes in or out of it while they are cut. */
  cut(site: number, isCut: boolean): void {
    this.#inside(ROUTER, 'ip', 'link', 'set', `site${site}`, isCut ? 'down' : 'up');
  }

  async close(): Promise<void> {
    await Promise.all([...this.#processes].map((child) => stop(child)));
    for (const holder of this.#holders.values()) holder.kill('SIGKILL');
    for (const name of [...this.#holders.keys(), CLIENTS, ROUTER]) {
      // Whatever is still in there is of this lab.
      works('sh', '-c', `kill -9 $(ip netns pids ${this.#prefix}${name})`);
      works('ip', 'netns', 'del', this.#prefix + name);
    }
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 500 });
  }

  #enter(machine: string, ...command: string[]): string[] {
    if (machine === CLIENTS) return ['ip', 'netns', 'exec', this.#prefix + machine, ...command];
    const { pid } = this.#holders.get(machine)!;
    return ['nsenter', '-t', String(pid), '-n', '-m', '-u', '--', ...command];
  }

  #addNamespace(name: string): void {
    execFileSync('ip', ['netns', 'add', this.#prefix + name]);
    this.#inside(name, 'ip', 'link', 'set', 'lo', 'up');
  }

  /** A cable from a machine to its site's switch. */
  #connect(name: string, site: number, address: string): void {
    const [own, router] = [this.#prefix + name, this.#prefix + ROUTER];
    const port = `p${address.split('.').slice(1).join('-')}`;
    const ends = [port, 'netns', router, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', own];
    execFileSync('ip', ['link', 'add', ...ends]);
    this.#inside(ROUTER, 'ip', 'link', 'set', port, 'master', `site${site}`, 'up');
    this.#inside(name, 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
    this.#inside(name, 'ip', 'link', 'set', 'eth0', 'up');
    this.#inside(name, 'ip', 'route', 'add', 'default', 'via', `10.${site}.0.254`);
  }

  #inside(name: string, ...command: string[]): void {
    execFileSync('ip', ['netns', 'exec', this.#prefix + name, ...command]);
  }
}

const CLIENT_SITE = 9;
const RUN_FOLDER = 'mount -t tmpfs run /run && mkdir /run/haproxy';
/** Bounded, so that a killed test leaves nothing behind for ever. */
const HOLD = 'echo ready; exec sleep 7200';
const DISK_SIZE = '3G';

function overlay(own: string, top: string, below: string | undefined): string {
  const [upper, work] = [path.join(own, top), path.join(own, `.${top}`)];
  for (const folder of [upper, work]) mkdirSync(folder, { recursive: true });
  const lower = below === undefined ? `/${top}` : `${path.join(below, top)}:/${top}`;
  return `mount -t overlay overlay -o lowerdir=${lower},upperdir=${upper},workdir=${work} /${top}`;
}

function mountDisk(own: string, disk: string): string {
  const image = path.join(own, `${path.basename(disk)}.img`);
  return [
    `truncate -s ${DISK_SIZE} ${image}`,
    `mkfs.ext4 -q -E nodiscard ${image}`,
    `mkdir -p ${disk}`,
    `mount -o loop ${image} ${disk}`,
  ].join('\n');
}

/** Nothing of this process's own but where programs are. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/var/lib', LANG: 'C' };
}

export async function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  const tooLate = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(tooLate);
}
