/**
 * While clients work, a site is cut off and comes back (`anello link cut`), and every node is restarted, as an
 * operator does it (`anello restart --rolling`): no request fails but of the clients at the site that is cut
 * off, whatever was acknowledged is there, and all replicas become equal again.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, md5, noise, until } from './client.ts';
import { Cluster, sleep } from './cluster.ts';
import { anello } from './command.ts';

const CLIENTS = 6;
const KEYS = 20;
const BEFORE_MS = 1_000;
/** A silent connection is given up after about ten seconds. */
const GIVEN_UP_MS = 60_000;
/** It takes a second or so. */
const BACK_MS = 60_000;
const CONVERGED_MS = 120_000;
const SITES = ['lngs', 'bari', 'padova'];

let cluster: Cluster;
let client: Client;

beforeAll(async () => {
  cluster = await Cluster.start(['--rtt', '2ms']);
  client = await Client.logIn(cluster);
  await client.put(0, '/rolling', '');
});

afterAll(() => cluster?.stopAndRemove());

/** Writes, reads back, lists and deletes by one proxy over connections that are kept. */
class Load {
  readonly failures: string[] = [];
  readonly kept = new Map<string, string>();
  readonly proxy: number;
  readonly #name: string;
  requests = 0;
  isOver = false;

  constructor(proxy: number, name: string) {
    this.proxy = proxy;
    this.#name = name;
  }

  async run(): Promise<void> {
    for (let n = 0; !this.isOver; n++) {
      const path = `/rolling/${this.#name}-${n % KEYS}`;
      const body = noise(1 + ((n * 7_919) % 60_000));
      // Until it is acknowledged either may be there, what was before and this.
      this.kept.delete(path);
      if ((await this.#expect('PUT', path, 201, body)) === undefined) continue;
      this.kept.set(path, md5(body));
      const found = await this.#expect('GET', path, 200);
      if (found !== undefined && md5(found) !== md5(body))
        this.failures.push(`${path}: other bytes`);
      if (n % 5 === 0) await this.#expect('GET', '/rolling?limit=5', 200);
      if (n % 7 === 0) {
        this.kept.delete(path);
        await this.#expect('DELETE', path, 204);
      }
    }
  }

  async #expect(
    method: string,
    path: string,
    wanted: number,
    body?: Buffer,
  ): Promise<Buffer | undefined> {
    this.requests++;
    try {
      const options = { timeoutMs: 60_000, ...(body !== undefined && { body }) };
      const reply = await client.request(this.proxy, method, path, options);
      if (reply.status === wanted) return reply.body;
      this.failures.push(`${method} ${path} by ${this.proxy}: ${reply.status} ${reply.body}`);
    } catch (error) {
      const cause = error instanceof Error ? (error.cause ?? error) : error;
      this.failures.push(`${method} ${path} by ${this.proxy}: ${cause}`);
    }
    return undefined;
  }
}

function loads(name: string): Load[] {
  return Array.from({ length: CLIENTS }, (_, n) => new Load(n % SITES.length, `${name}-${n}`));
}

async function whileLoaded(all: readonly Load[], work: () => Promise<void>): Promise<void> {
  const runs = all.map((load) => load.run());
  await sleep(BEFORE_MS);
  try {
    await work();
  } finally {
    for (const load of all) load.isOver = true;
    await Promise.all(runs);
  }
}

/** What one of the proxies does not give as it was written. */
async function notKept(all: readonly Load[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const [path, digest] of all.flatMap(({ kept }) => [...kept])) {
    for (const proxy of SITES.keys()) {
      const { status, body } = await client.request(proxy, 'GET', path);
      if (status !== 200 || md5(body) !== digest) wrong.push(`${path} by ${proxy}: ${status}`);
    }
  }
  return wrong;
}

async function expectKept(all: readonly Load[]): Promise<void> {
  expect(await notKept(all)).toEqual([]);
}

/** Peers that this node has an open connection to. */
async function reachedBy(name: string): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${cluster.node(name).ports.admin}/status`);
  const { wire } = (await response.json()) as { wire: { connections: { peer: string }[] } };
  return wire.connections.map(({ peer }) => peer);
}

async function run(...words: string[]): Promise<void> {
  const { code, stdout, stderr } = await anello(...words, '--data', cluster.folder);
  expect(code, stdout + stderr).toBe(0);
}

async function durability(): Promise<{ total: number; full: number; handoffs: number }> {
  const { admin } = cluster.node('lngs-1').ports;
  const response = await fetch(`http://127.0.0.1:${admin}/durability?maxAgeMs=0`);
  const report = (await response.json()) as {
    objects: { total: number; full: number };
    handoffs: number;
  };
  return { ...report.objects, handoffs: report.handoffs };
}

describe('a site that is cut off under load', () => {
  it('stops nobody elsewhere, and has everything again when it is back', async () => {
    const all = loads('cut');
    const cut = SITES.indexOf('bari');
    await whileLoaded(all, async () => {
      await run('link', 'cut', 'bari');
      const isAlone = (peers: string[]) => peers.length === 0;
      await until('who is silent is given up', () => reachedBy('bari-1'), isAlone, GIVEN_UP_MS);
      const { status } = await client.request(cut, 'PUT', '/rolling/cut-off', { body: 'x' });
      expect(status).toBe(503);
      await run('link', 'mend');
      await sleep(BEFORE_MS);
    });
    const bytes = all.flatMap(({ failures }) => failures.filter((why) => /bytes/.test(why)));
    expect(bytes).toEqual([]);
    const others = all.filter(({ proxy }) => proxy !== cut);
    expect(others.flatMap(({ failures }) => failures)).toEqual([]);
    const isBack = (wrong: string[]) => !wrong.some((why) => why.endsWith(' 503'));
    await until('it is back', () => notKept(all), isBack, BACK_MS);
    await expectKept(all);
    const isWhole = ({ total, full, handoffs }: Awaited<ReturnType<typeof durability>>) =>
      total > 0 && full === total && handoffs === 0;
    await until('three copies of all', durability, isWhole, CONVERGED_MS, 500);
    await expectKept(all);
  }, 400_000);
});

describe('a rolling restart under load', () => {
  it('fails no request and loses nothing', async () => {
    const before = cluster.nodes.map(({ pid }) => pid);
    const all = loads('restart');
    await whileLoaded(all, () => run('restart', '--rolling'));
    const after = cluster.nodes.map(({ pid }) => pid);
    expect(after.filter((pid) => before.includes(pid))).toEqual([]);
    expect(all.flatMap(({ failures }) => failures)).toEqual([]);
    for (const load of all) expect(load.requests).toBeGreaterThan(KEYS);
    await expectKept(all);
  }, 400_000);
});
