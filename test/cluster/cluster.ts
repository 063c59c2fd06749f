/** A real cluster of real processes for tests: `anello up` in a temporary folder, on free ports. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const CLI = path.join(ROOT, 'tools/anello.js');
const READY_MS = 150_000;
const PORT_SPAN = 50;
/** Of each process's log, for who reads of a failure. */
const LAST_LINES = 15;

export interface Access {
  readonly swift: {
    readonly auth: string;
    readonly user: string;
    readonly key: string;
    readonly storageUrls: string[];
  };
  readonly keystone: Readonly<
    Record<'url' | 'region' | 'domain' | 'project' | 'user' | 'password', string>
  >;
  readonly s3: {
    readonly endpoints: string[];
    readonly region: string;
    readonly accessKey: string;
    readonly secretKey: string;
  };
  readonly second: Pick<Access, 'swift' | 'keystone' | 's3'>;
}

export interface NodeEntry {
  readonly name: string;
  readonly site: string;
  readonly roles: string[];
  /** Current; null in the file while the process is being started again. */
  readonly pid: number;
  readonly ports: { readonly admin: number; readonly wire: number; readonly proxy?: number };
  readonly devices: string[];
}

export class Cluster {
  /** Those that nobody has stopped: a failed test tells what they said. */
  static readonly running = new Set<Cluster>();
  readonly folder: string;
  readonly basePort: number;
  readonly output: string[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  /** It has ended and all of its output has come. */
  readonly #closed: Promise<unknown>;

  static async start(
    options: readonly string[] = [],
    folder = mkdtempSync(path.join(tmpdir(), 'anello-test-')),
  ): Promise<Cluster> {
    const cluster = new Cluster(folder, await freeBase(), options);
    try {
      await cluster.untilReady();
      return cluster;
    } catch (error) {
      await cluster.stop(); // Nobody else could.
      throw error;
    }
  }

  private constructor(folder: string, basePort: number, options: readonly string[]) {
    Cluster.running.add(this);
    this.folder = folder;
    this.basePort = basePort;
    this.#child = spawn(
      process.execPath,
      [CLI, 'up', '--data', folder, '--port', String(basePort), ...options],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk: Buffer) => this.output.push(chunk.toString()));
    }
    this.#closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#exited = new Promise((resolve) => this.#child.once('exit', (code) => resolve(code)));
  }

  get access(): Access {
    return JSON.parse(readFileSync(path.join(this.folder, 'access.json'), 'utf8'));
  }

  get nodes(): NodeEntry[] {
    return JSON.parse(readFileSync(path.join(this.folder, 'nodes.json'), 'utf8'));
  }

  node(name: string): NodeEntry {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  /** Proxy base URLs in site order. */
  get proxies(): string[] {
    return this.nodes.flatMap((node) =>
      node.ports.proxy === undefined ? [] : [`http://127.0.0.1:${node.ports.proxy}`],
    );
  }

  async untilReady(): Promise<void> {
    const deadline = Date.now() + READY_MS;
    while (Date.now() < deadline) {
      if (this.#child.exitCode !== null) {
        await this.#closed;
        throw new Error(`anello up ended: ${this.output.join('')}`);
      }
      // Its own word: proxies serve while another node is about to fail, which ends the cluster.
      if (this.output.join('').includes('Anello is ready')) return;
      await sleep(100);
    }
    throw new Error(`the cluster did not become ready: ${this.output.join('')}`);
  }

  /** kill -9; the supervisor starts it again. Resolves when the new process serves. */
  async kill(name: string): Promise<void> {
    const { pid } = this.node(name);
    process.kill(pid, 'SIGKILL');
    const deadline = Date.now() + READY_MS;
    while (Date.now() < deadline) {
      const node = this.node(name);
      const admin = `http://127.0.0.1:${node.ports.admin}`;
      if (node.pid !== null && node.pid !== pid && (await healthy(admin))) return;
      await sleep(50);
    }
    throw new Error(`${name} did not come back: ${this.output.join('')}`);
  }

  async login(who: Pick<Access, 'swift'> = this.access): Promise<{ token: string; url: string }> {
    const { auth, user, key } = who.swift;
    const response = await fetch(auth, { headers: { 'x-auth-user': user, 'x-auth-key': key } });
    const token = response.headers.get('x-auth-token');
    const url = response.headers.get('x-storage-url');
    if (token === null || url === null) throw new Error(`log-in answered ${response.status}`);
    return { token, url };
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    Cluster.running.delete(this);
    this.#child.kill(signal);
    return this.#exited;
  }

  async stopAndRemove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What a cluster's supervisor and processes said last. */
export function lastWords({ folder, output }: Cluster): string {
  const nodes = path.join(folder, 'nodes');
  const logs = (existsSync(nodes) ? readdirSync(nodes) : []).flatMap((name) => {
    const file = path.join(nodes, name, 'node.log');
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LAST_LINES);
    return lines.map((line) => `${name}: ${line}`);
  });
  return [`cluster in ${folder}:`, output.join('').trimEnd(), ...logs].join('\n');
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function healthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/healthcheck`, { signal: AbortSignal.timeout(1000) });
    return response.ok;
  } catch {
    return false;
  }
}

/** A base whose fifty ports are free now; parallel test files start far apart by their pid. */
export async function freeBase(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const base = 20_000 + ((process.pid * 7 + attempt * 131) % 200) * PORT_SPAN;
    if (
      (await Promise.all(Array.from({ length: PORT_SPAN }, (_, n) => isFree(base + n)))).every(
        Boolean,
      )
    )
      return base;
  }
  throw new Error('no fifty free ports in a row');
}

/** Asked, not tried: who listens there for a moment takes the port from a cluster that is just starting. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(true));
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
  });
}
