/** The real HAProxy, configured by `anello deploy haproxy`, before real processes that die, drain and come back. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLI, Cluster, sleep } from './cluster.ts';

const installed = spawnSync('sh', ['-c', 'command -v haproxy']).status === 0;
if (!installed) console.warn('haproxy is not installed (Debian: apt-get install haproxy): skipped');
const RETRY_MS = 90_000;
/** A client that gets no answer for so long asks again. */
const ATTEMPT_MS = 10_000;
const SERVERS = 3;
/** Requests before and after what is tested: load, however slow the machine is. */
const ENOUGH = 12;
const ADDED_LABELS = ['site', 'node', 'job', 'le'];

let cluster: Cluster;
let haproxy: ChildProcess;
let front = '';
let token = '';
let account = '';

interface Tally {
  requests: number;
  failures: number;
  /** Requests that failed at every try for RETRY_MS. */
  lost: string[];
}

/** One request through HAProxy; whole, or not counted as answered. */
async function once(method: string, name: string, body?: Uint8Array): Promise<boolean> {
  try {
    const response = await fetch(`${front}${account}/box/${name}`, {
      method,
      headers: { 'x-auth-token': token },
      ...(body !== undefined && { body: new Uint8Array(body) }),
      signal: AbortSignal.timeout(ATTEMPT_MS),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    if (method === 'GET') return response.status === 200 && bytes.length === CONTENT.length;
    return response.status === 201;
  } catch {
    return false;
  }
}

const CONTENT = randomBytes(256 * 1024);

/** Four clients that write and read until they are told to stop; each request is tried again until it works. */
async function load(
  tally: Tally,
  stop: () => boolean,
  kinds: readonly ('PUT' | 'GET')[],
): Promise<void> {
  const client = async (n: number): Promise<void> => {
    for (let i = 0; !stop(); i += 1) {
      const kind = kinds[i % kinds.length]!;
      const name = kind === 'GET' ? 'known' : `o${n}-${i}`;
      tally.requests += 1;
      const end = Date.now() + RETRY_MS;
      while (!(await once(kind, name, kind === 'PUT' ? CONTENT : undefined))) {
        tally.failures += 1;
        if (Date.now() > end) {
          tally.lost.push(`${kind} ${name}`);
          break;
        }
        await sleep(100);
      }
    }
  };
  await Promise.all([0, 1, 2, 3].map(client));
}

async function during(task: (more: () => Promise<void>) => Promise<void>): Promise<Tally> {
  const tally: Tally = { requests: 0, failures: 0, lost: [] };
  let done = false;
  const running = load(tally, () => done, ['PUT', 'GET']);
  const more = (): Promise<void> => {
    const goal = tally.requests + ENOUGH;
    return until('requests are served', async () => tally.requests >= goal);
  };
  try {
    await more();
    await task(more);
    await more();
  } finally {
    done = true;
  }
  await running;
  return tally;
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 120_000; Date.now() < end; await sleep(100))
    if (await check().catch(() => false)) return;
  throw new Error(`not within two minutes: ${what}`);
}

/** Who serves now, as the server's own site in /info's transaction id does not tell: HAProxy knows. */
function serversUp(): string[] {
  const socket = path.join(cluster.folder, 'haproxy.sock');
  const script = `const s=require('net').connect(${JSON.stringify(socket)},()=>s.end('show stat\\n'));s.pipe(process.stdout)`;
  const lines = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }).split('\n');
  const rows = lines.map((line) => line.split(','));
  const servers = rows.filter(([proxy, name]) => proxy === 'proxies' && name !== 'BACKEND');
  return servers.filter((row) => row[17] === 'UP').map((row) => row[1]!);
}

beforeAll(async () => {
  if (!installed) return;
  cluster = await Cluster.start();
  const port = cluster.basePort + 49;
  const args = ['--bind', '127.0.0.1', '--port', String(port), '--site', 'lngs'];
  const socket = path.join(cluster.folder, 'haproxy.sock');
  const text = execFileSync(
    process.execPath,
    [CLI, 'deploy', 'haproxy', '--data', cluster.folder, '--runtime', socket, ...args],
    { encoding: 'utf8' },
  );
  const file = path.join(cluster.folder, 'haproxy.cfg');
  // The owner of the socket is whoever runs the test.
  writeFileSync(file, text);
  haproxy = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' });
  front = `http://127.0.0.1:${port}`;
  const login = await cluster.login();
  token = login.token;
  account = new URL(login.url).pathname;
  await until('HAProxy serves', async () => (await fetch(`${front}/healthcheck`)).ok);
  const headers = { 'x-auth-token': token };
  await fetch(`${front}${account}/box`, { method: 'PUT', headers });
  expect(await once('PUT', 'known', CONTENT)).toBe(true);
});

afterAll(async () => {
  haproxy?.kill('SIGTERM');
  await cluster?.stopAndRemove();
});

describe.skipIf(!installed && process.env['CI'] !== 'true')(
  'HAProxy before the proxies',
  { timeout: 120_000 },
  () => {
    it('a local proxy that dies during uploads and downloads: others take over, every retry succeeds', async () => {
      const tally = await during(async (more) => {
        const pid = (): number => cluster.nodes.find(({ name }) => name === 'lngs-1')!.pid;
        const killed = pid();
        process.kill(killed, 'SIGKILL');
        await more();
        await until('it is started again', async () => pid() !== killed);
        await until('all are up', async () => serversUp().length === SERVERS);
      });
      expect(tally.lost).toEqual([]);
      // What was in flight through the dead one may fail once; HAProxy notices within two checks.
      expect(tally.failures).toBeLessThan(40);
    });

    it('a whole site that hangs, storage and all: the other sites serve, and it comes back by itself', async () => {
      await until('all are up', async () => serversUp().length === SERVERS);
      const { pid } = cluster.nodes.find(({ name }) => name === 'lngs-1')!;
      const tally = await during(async (more) => {
        process.kill(pid, 'SIGSTOP');
        try {
          await until('HAProxy sees it', async () => !serversUp().includes('lngs-1'));
          await more();
        } finally {
          process.kill(pid, 'SIGCONT');
        }
        await until('all are up', async () => serversUp().length === SERVERS);
      });
      expect(tally.lost).toEqual([]);
      // What was in flight through it may fail once for each client, and once more until HAProxy notices.
      expect(tally.failures).toBeLessThan(40);
    });

    it('draining by file fails no request; the other sites serve, and the proxy gets its work back', async () => {
      await until('all are up', async () => serversUp().length === SERVERS);
      const config = path.join(cluster.folder, 'nodes', 'lngs-1', 'node.yaml');
      const drain = (...args: string[]): void => {
        execFileSync(process.execPath, [CLI, 'drain', '--config', config, ...args]);
      };
      const tally = await during(async (more) => {
        drain();
        await until('it is out', async () => !serversUp().includes('lngs-1'));
        await more();
        drain('--off');
        await until('it is back', async () => serversUp().includes('lngs-1'));
      });
      expect(tally.failures).toBe(0);
      expect(tally.lost).toEqual([]);
    });

    it('alert rules and dashboard ask for metrics and labels that the processes have', async () => {
      const { admin } = cluster.nodes.find(({ name }) => name === 'lngs-1')!.ports;
      const rendered = [['prometheus', '--rules'], ['grafana']].map((args) =>
        execFileSync(process.execPath, [CLI, 'deploy', ...args, '--data', cluster.folder], {
          encoding: 'utf8',
        }),
      );
      const asked = new Set(rendered.flatMap((text) => text.match(/anello_[a-z_]+/g) ?? []));
      expect(asked.size).toBeGreaterThan(4);
      let metrics = '';
      // What the durability meter counts is there some time after it was first asked for.
      await until(`all of ${[...asked]}`, async () => {
        metrics = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
        return [...asked].every((name) => metrics.includes(`\n${name}`));
      });
      // Those that a metric has, besides what Prometheus adds to each target.
      const labels = rendered.flatMap((text) =>
        [...text.matchAll(/(?:by \(|\{)([a-z, ]+)[)=]/g)].flatMap(([, list]) => list!.split(', ')),
      );
      for (const label of new Set(labels)) {
        if (ADDED_LABELS.includes(label)) continue;
        expect(metrics).toContain(`${label}="`);
      }
    });

    it('a request through it carries what it should: 100-continue, large headers, the client’s address', async () => {
      const headers = {
        'x-auth-token': token,
        'x-object-meta-long': 'x'.repeat(200),
        'x-forwarded-for': '6.6.6.6',
      };
      const big = Object.fromEntries(
        Array.from({ length: 60 }, (_, n) => [`x-object-meta-k${n}`, 'v'.repeat(200)]),
      );
      const reply = await fetch(`${front}${account}/box/meta`, {
        method: 'PUT',
        headers,
        body: 'x',
      });
      expect(reply.status).toBe(201);
      const post = await fetch(`${front}${account}/box/meta`, {
        method: 'POST',
        headers: { ...headers, ...big },
      });
      // Whatever the proxy says of that much metadata, it is the proxy that says it.
      expect([202, 400]).toContain(post.status);
      expect(post.headers.get('x-trans-id')).toMatch(/^tx/);
      expect(readFileSync(path.join(cluster.folder, 'haproxy.cfg'), 'utf8')).toContain('backup');
    });
  },
);
