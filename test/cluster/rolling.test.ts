/**
 * Every node of a cluster is restarted while clients work, as an operator does it (`anello restart
 * --rolling`): no request fails, and whatever was acknowledged is there.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, md5, noise } from './client.ts';
import { Cluster, sleep } from './cluster.ts';
import { anello } from './command.ts';

const CLIENTS = 6;
const KEYS = 20;
const BEFORE_MS = 1_000;

let cluster: Cluster;
let client: Client;

beforeAll(async () => {
  cluster = await Cluster.start();
  client = await Client.logIn(cluster);
  await client.put(0, '/rolling', '');
}, 60_000);

afterAll(() => cluster?.stopAndRemove());

/** Writes, reads back, lists and deletes by one proxy over connections that are kept. */
class Load {
  readonly failures: string[] = [];
  readonly kept = new Map<string, string>();
  readonly #proxy: number;
  readonly #name: string;
  requests = 0;
  isOver = false;

  constructor(proxy: number, name: string) {
    this.#proxy = proxy;
    this.#name = name;
  }

  async run(): Promise<void> {
    for (let n = 0; !this.isOver; n++) {
      const path = `/rolling/${this.#name}-${n % KEYS}`;
      const body = noise(1 + ((n * 7_919) % 60_000));
      await this.#expect('PUT', path, 201, body);
      this.kept.set(path, md5(body));
      const found = await this.#expect('GET', path, 200);
      if (found !== undefined && md5(found) !== md5(body))
        this.failures.push(`${path}: other bytes`);
      if (n % 5 === 0) await this.#expect('GET', '/rolling?limit=5', 200);
      if (n % 7 === 0) {
        await this.#expect('DELETE', path, 204);
        this.kept.delete(path);
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
      const reply = await client.request(this.#proxy, method, path, options);
      if (reply.status === wanted) return reply.body;
      this.failures.push(`${method} ${path} by ${this.#proxy}: ${reply.status} ${reply.body}`);
    } catch (error) {
      const cause = error instanceof Error ? (error.cause ?? error) : error;
      this.failures.push(`${method} ${path} by ${this.#proxy}: ${cause}`);
    }
    return undefined;
  }
}

describe('a rolling restart under load', () => {
  it('fails no request and loses nothing', async () => {
    const before = cluster.nodes.map(({ pid }) => pid);
    const loads = Array.from({ length: CLIENTS }, (_, n) => new Load(n % 3, `c${n}`));
    const runs = loads.map((load) => load.run());
    await sleep(BEFORE_MS);
    const { code, stdout, stderr } = await anello('restart', '--rolling', '--data', cluster.folder);
    for (const load of loads) load.isOver = true;
    await Promise.all(runs);

    expect(code, stdout + stderr).toBe(0);
    const after = cluster.nodes.map(({ pid }) => pid);
    expect(after.filter((pid) => before.includes(pid))).toEqual([]);
    expect(loads.flatMap(({ failures }) => failures)).toEqual([]);
    for (const load of loads) expect(load.requests).toBeGreaterThan(KEYS);
    for (const [path, digest] of loads.flatMap(({ kept }) => [...kept])) {
      expect(md5((await client.request(0, 'GET', path)).body), path).toBe(digest);
    }
  }, 400_000);
});
