/** For tests: three real etcd members on loopback, each of which can be killed, paused and restarted. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CertificateFiles, certifiedFetch } from '#env/node/certified-fetch.ts';

export const hasEtcd = spawnSync('etcd', ['--version']).status === 0;

const MEMBERS = 3;
const START_TIMEOUT_MS = 120_000;

interface Member {
  readonly client: string;
  readonly args: readonly string[];
  process: ChildProcess | undefined;
}

export class EtcdCluster {
  readonly #folder = mkdtempSync(join(tmpdir(), 'anello-etcd-'));
  readonly #fetch: typeof globalThis.fetch;
  #members: Member[] = [];

  private constructor(tls: CertificateFiles | undefined) {
    this.#fetch = tls === undefined ? fetch : certifiedFetch(tls);
  }

  /** With files: members show this certificate, and ask for one of the same authority. */
  static async start(tls?: CertificateFiles): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(tls);
    const scheme = tls === undefined ? 'http' : 'https';
    const ports = await freePorts(2 * MEMBERS);
    const peer = (i: number) => `${scheme}://127.0.0.1:${ports[2 * i]}`;
    const client = (i: number) => `${scheme}://127.0.0.1:${ports[2 * i + 1]}`;
    const indices = Array.from({ length: MEMBERS }, (_, i) => i);
    const all = indices.map((i) => `m${i}=${peer(i)}`).join(',');
    cluster.#members = indices.map((i) => ({
      client: client(i),
      process: undefined,
      args: [
        ...['--name', `m${i}`, '--data-dir', join(cluster.#folder, `m${i}`)],
        ...['--listen-peer-urls', peer(i), '--initial-advertise-peer-urls', peer(i)],
        ...['--listen-client-urls', client(i), '--advertise-client-urls', client(i)],
        ...['--initial-cluster', all, '--initial-cluster-state', 'new'],
        ...['--heartbeat-interval', '50', '--election-timeout', '500', '--log-level', 'error'],
        ...(tls === undefined ? [] : tlsArgs(tls)),
      ],
    }));
    for (const i of indices) cluster.restart(i);
    await cluster.ready();
    return cluster;
  }

  get endpoints(): string[] {
    return this.#members.map(({ client }) => client);
  }

  kill(i: number): void {
    this.#members[i]!.process?.kill('SIGKILL');
    this.#members[i]!.process = undefined;
  }

  /** It is there but does not answer. */
  pause(i: number): void {
    this.#members[i]!.process?.kill('SIGSTOP');
  }

  resume(i: number): void {
    this.#members[i]!.process?.kill('SIGCONT');
  }

  restart(i: number): void {
    const member = this.#members[i]!;
    member.process = spawn('etcd', [...member.args], { stdio: 'ignore' });
  }

  async ready(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (const { client } of this.#members) {
      while (!(await this.#isHealthy(client))) {
        if (performance.now() > deadline) throw new Error('etcd did not start');
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Index of the member that leads now. */
  async leader(): Promise<number> {
    for (const [i, { client }] of this.#members.entries()) {
      const response = await this.#fetch(`${client}/v3/maintenance/status`, {
        method: 'POST',
        body: '{}',
      });
      const status = (await response.json()) as { leader: string; header: { member_id: string } };
      if (status.leader === status.header.member_id) return i;
    }
    throw new Error('no leader');
  }

  async #isHealthy(client: string): Promise<boolean> {
    try {
      const response = await this.#fetch(`${client}/health`, { signal: AbortSignal.timeout(1000) });
      return ((await response.json()) as { health: unknown }).health === 'true';
    } catch {
      return false;
    }
  }

  async stop(): Promise<void> {
    for (const i of this.#members.keys()) this.kill(i);
    await new Promise((resolve) => setTimeout(resolve, 50));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function tlsArgs({ authorityFile, certificateFile, keyFile }: CertificateFiles): string[] {
  return ['', 'peer-'].flatMap((kind) => [
    ...[`--${kind}cert-file`, certificateFile, `--${kind}key-file`, keyFile],
    ...[`--${kind}trusted-ca-file`, authorityFile, `--${kind}client-cert-auth`],
  ]);
}

/**
 * Below those that the kernel gives to outgoing connections: one of these would take a member's port while
 * the member is dead, be it its own client's, which then talks to itself.
 */
const PORTS = { from: 30_000, to: 32_700 };

async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  let port = PORTS.from + ((process.pid * 61) % (PORTS.to - PORTS.from));
  for (let tries = PORTS.to - PORTS.from; ports.length < count && tries > 0; tries--) {
    port = port + 1 < PORTS.to ? port + 1 : PORTS.from;
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
