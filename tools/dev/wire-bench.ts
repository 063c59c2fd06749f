/**
 * Measures the wire between two processes on loopback: small calls (rate, CPU of both ends), bodies
 * in both directions (rate, CPU of both ends per GiB), and how long a ping takes beside a body.
 *
 *     node tools/dev/wire-bench.ts [--seconds 3] [--concurrency 32] [--size 4096] [--gib 1]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { HybridClock } from '#base/hybrid-clock.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import type { CallOptions, PeerDirectory } from '#wire/contract.ts';
import { Endpoint } from '#wire/endpoint.ts';

const GIB = 2 ** 30;
const CHUNK = Buffer.alloc(64 * 1024, 0x5a);
const OPTIONS: CallOptions = { txn: 'bench', deadlineMs: 10_000 };

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    concurrency: { type: 'string', default: '32' },
    size: { type: 'string', default: '4096' },
    gib: { type: 'string', default: '1' },
    serve: { type: 'boolean', default: false },
  },
});

if (values.serve) await serve();
else await measure();

function makeEndpoint(node: string, workerId: number, peers: PeerDirectory): Endpoint {
  const env = createNodeEnv({ logLevel: 'warn' });
  const wallMicros = () => env.clock.wallMicros();
  const clock = new HybridClock({ workerId, wallMicros, bound: 0, reserve: () => undefined });
  const cluster = { clusterId: 'bench', sharedKey: Buffer.alloc(32, 1) };
  return new Endpoint({ env, clock, cluster, self: { node, site: 'here' }, peers });
}

async function serve(): Promise<void> {
  const endpoint = makeEndpoint('server', 1, { lookup: () => undefined });
  endpoint.handle('sink', (args) => ({ result: (args as { data: Buffer }).data.length }));
  endpoint.handle('cpu', () => ({ result: cpuMicros() }));
  endpoint.handle('upload', async (_args, { body }) => {
    let bytes = 0;
    for await (const piece of body!) bytes += piece.length;
    return { result: bytes };
  });
  endpoint.handle('download', (args) => ({ result: null, body: zeros(Number(args)) }));
  const { port } = await endpoint.listen({ host: '127.0.0.1', port: 0 });
  process.stdout.write(`${port}\n`);
  process.stdin.on('end', () => process.exit()).resume();
}

async function measure(): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      ...process.execArgv.filter((arg) => !arg.startsWith('--cpu-prof')),
      import.meta.filename,
      '--serve',
    ],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const address = { host: '127.0.0.1', port: Number(line.toString()) };
  const endpoint = makeEndpoint('client', 2, { lookup: () => ({ address, site: 'here' }) });
  await measureCalls(endpoint, 0.5, false);
  await measureCalls(endpoint, Number(values.seconds), true);
  await measureBody(endpoint, 'upload');
  await measureBody(endpoint, 'download');
  await endpoint.close();
  child.stdin.end();
}

async function measureCalls(endpoint: Endpoint, seconds: number, print: boolean): Promise<void> {
  const concurrency = Number(values.concurrency);
  const args = {
    account: 'AUTH_x',
    hash: CHUNK.subarray(0, 16),
    data: CHUNK.subarray(0, Number(values.size)),
  };
  let count = 0;
  const run = await timed(endpoint, async (start) => {
    const worker = async (): Promise<void> => {
      while (performance.now() - start < seconds * 1000) {
        await endpoint.call('server', 'sink', args, OPTIONS);
        count++;
      }
    };
    await Promise.all(Array.from({ length: concurrency }, worker));
  });
  if (!print) return;
  const cpu = `CPU per call: ${(run.clientMicros / count).toFixed(1)} + ${(run.serverMicros / count).toFixed(1)} µs`;
  console.log(
    `${values.size} B calls x ${concurrency}: ${Math.round(count / run.seconds)} calls/s, ${cpu}`,
  );
}

async function measureBody(endpoint: Endpoint, method: 'upload' | 'download'): Promise<void> {
  const bytes = Math.round(Number(values.gib) * GIB);
  const pings: number[] = [];
  const run = await timed(endpoint, async () => {
    const timer = setInterval(() => void ping(endpoint, pings), 20);
    if (method === 'upload')
      await endpoint.call('server', method, null, { ...OPTIONS, body: zeros(bytes) });
    else {
      const { body } = await endpoint.call('server', method, bytes, { ...OPTIONS, lane: 'bulk' });
      let read = 0;
      for await (const piece of body!) read += piece.length;
      if (read !== bytes) throw new Error(`only ${read} bytes`);
    }
    clearInterval(timer);
  });
  const rate = Math.round(bytes / run.seconds / 1e6);
  const perGib = (micros: number): string => (micros / 1e6 / Number(values.gib)).toFixed(2);
  const cpu = `CPU s per GiB: ${perGib(run.clientMicros)} + ${perGib(run.serverMicros)}`;
  console.log(`${method}: ${rate} MB/s, ${cpu}, calls beside it: ${quantiles(pings)}`);
}

async function ping(endpoint: Endpoint, pings: number[]): Promise<void> {
  const start = performance.now();
  await endpoint.call('server', 'cpu', null, OPTIONS);
  pings.push(performance.now() - start);
}

function quantiles(samples: number[]): string {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(2);
  return `median ${at(0.5)} ms, 99 % ${at(0.99)} ms`;
}

interface Run {
  readonly seconds: number;
  readonly clientMicros: number;
  readonly serverMicros: number;
}

async function timed(endpoint: Endpoint, work: (start: number) => Promise<void>): Promise<Run> {
  const serverBefore = await serverCpu(endpoint);
  const clientBefore = cpuMicros();
  const start = performance.now();
  await work(start);
  const seconds = (performance.now() - start) / 1000;
  const clientMicros = cpuMicros() - clientBefore;
  return { seconds, clientMicros, serverMicros: (await serverCpu(endpoint)) - serverBefore };
}

async function serverCpu(endpoint: Endpoint): Promise<number> {
  return (await endpoint.call('server', 'cpu', null, OPTIONS)).result as number;
}

function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function* zeros(bytes: number): AsyncGenerator<Uint8Array> {
  for (let left = bytes; left > 0; left -= CHUNK.length)
    yield CHUNK.subarray(0, Math.min(left, CHUNK.length));
}
