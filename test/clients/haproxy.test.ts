/**
 * Identity is no single point of failure: three identity services on three members of etcd behind HAProxy.
 * Any one of each is killed, and whole sites, under a load of log-ins and of reads and writes: none fails.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, sleep } from '../cluster/cluster.ts';
import { type Balanced, balance } from './haproxy.ts';
import { has } from './program.ts';

const AVAILABLE = [has('haproxy'), has('etcd')].every(Boolean);
const RECOVERY_MS = 60_000;
const BODY = Buffer.alloc(4096, 'x');

interface Member {
  readonly name: string;
  readonly site: string;
  readonly pid: number | null;
}

/** What the load did, and what failed. */
class Load {
  readonly failures: string[] = [];
  logIns = 0;
  transfers = 0;
  /** Answers that broke off behind their status line, which no balancer can mend: read again. */
  cut = 0;
  readonly #cluster: Cluster;
  readonly #urls: Balanced;
  readonly #running: Promise<void>[] = [];
  #stopped = false;
  #token = '';

  constructor(cluster: Cluster, urls: Balanced) {
    this.#cluster = cluster;
    this.#urls = urls;
  }

  async start(): Promise<void> {
    await this.#logIn();
    const made = await this.#request('PUT', '/load');
    expect(made.status).toBe(201);
    const repeat = async (act: () => Promise<void>): Promise<void> => {
      while (!this.#stopped) {
        await act().catch((error: Error) => this.failures.push(`${error.message}`));
        await sleep(20);
      }
    };
    this.#running.push(
      repeat(() => this.#logIn()),
      repeat(() => this.#logIn()),
    );
    for (const name of ['a', 'b', 'c', 'd'])
      this.#running.push(repeat(() => this.#writeAndRead(name)));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }

  async #logIn(): Promise<void> {
    const { user: name, password, project, domain } = this.#cluster.access.keystone;
    const identity = {
      methods: ['password'],
      password: { user: { name, password, domain: { name: domain } } },
    };
    const scope = { project: { name: project, domain: { name: domain } } };
    const answer = await fetch(`${this.#urls.identity}/v3/auth/tokens`, {
      method: 'POST',
      body: JSON.stringify({ auth: { identity, scope } }),
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(30_000),
    });
    await answer.arrayBuffer();
    if (answer.status !== 201) throw new Error(`log-in answered ${answer.status}`);
    this.#token = answer.headers.get('x-subject-token')!;
    this.logIns += 1;
  }

  async #writeAndRead(name: string): Promise<void> {
    const put = await this.#request('PUT', `/load/${name}`, BODY);
    if (put.status !== 201) throw new Error(`PUT answered ${put.status}`);
    const { status, body } = await this.#request('GET', `/load/${name}`);
    if (status !== 200 || !body.equals(BODY)) throw new Error(`GET answered ${status}`);
    this.transfers += 2;
  }

  async #request(
    method: string,
    target: string,
    sent?: Buffer,
    again = true,
  ): Promise<{ status: number; body: Buffer }> {
    const account = new URL(this.#cluster.access.swift.storageUrls[0]!).pathname;
    const answer = await fetch(`${this.#urls.data}${account}${target}`, {
      method,
      headers: { 'x-auth-token': this.#token },
      body: sent === undefined ? undefined : new Uint8Array(sent),
      signal: AbortSignal.timeout(30_000),
    });
    try {
      return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) };
    } catch (error) {
      if (!again || answer.status >= 300) throw error;
      this.cut += 1;
      return this.#request(method, target, sent, false);
    }
  }
}

describe.skipIf(!AVAILABLE)(
  'three identity services and three members of etcd behind HAProxy',
  () => {
    let cluster: Cluster;
    let balanced: Balanced;

    beforeAll(async () => {
      cluster = await Cluster.start(['--state', 'etcd']);
      const ports = (offset: number) => [0, 1, 2].map((n) => cluster.basePort + offset + n);
      balanced = await balance(cluster.folder, { data: ports(0), identity: ports(40) });
    });
    afterAll(async () => {
      await balanced?.stop();
      await cluster?.stopAndRemove();
    });

    const members = (): Member[] =>
      JSON.parse(readFileSync(path.join(cluster.folder, 'etcd.json'), 'utf8'));

    /** Dead at once; the supervisor starts them again. Back when everything says that it serves. */
    async function kill(nodes: readonly string[], etcd: readonly string[]): Promise<void> {
      const pids = [
        ...nodes.map((name) => cluster.node(name).pid),
        ...members().flatMap(({ name, pid }) => (etcd.includes(name) && pid !== null ? [pid] : [])),
      ];
      for (const pid of pids) process.kill(pid, 'SIGKILL');
      await sleep(500);
      const deadline = performance.now() + RECOVERY_MS;
      while (!(await allServe())) {
        if (performance.now() > deadline) throw new Error(cluster.output.join(''));
        await sleep(200);
      }
      await sleep(1500);
    }

    async function allServe(): Promise<boolean> {
      const { basePort, nodes } = cluster;
      if ([...nodes, ...members()].some(({ pid }) => pid === null)) return false;
      const urls = [
        ...[0, 1, 2, 40, 41, 42].map((offset) => `${basePort + offset}/healthcheck`),
        ...[6, 7, 8].map((offset) => `${basePort + offset}/health`),
      ];
      const answers = urls.map((url) =>
        fetch(`http://127.0.0.1:${url}`, { signal: AbortSignal.timeout(2000) }).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
      return (await Promise.all(answers)).every(Boolean);
    }

    it('no log-in and no data request fails when any one of them dies, or a whole site', async () => {
      const load = new Load(cluster, balanced);
      await load.start();
      for (const node of ['lngs-1', 'bari-1', 'padova-1']) await kill([node], []);
      for (const member of ['etcd-1', 'etcd-2', 'etcd-3']) await kill([], [member]);
      await kill(['lngs-1'], ['etcd-1']);
      await kill(['bari-1'], ['etcd-2']);
      await kill(['padova-1', 'padova-2'], ['etcd-3']);
      await load.stop();
      const { logIns, transfers, cut, failures } = load;
      console.log(
        `${logIns} log-ins, ${transfers} transfers, ${cut} read again, ${failures.length} failed`,
      );
      expect(failures).toEqual([]);
      expect(logIns).toBeGreaterThan(50);
      expect(transfers).toBeGreaterThan(200);
    });
  },
);
