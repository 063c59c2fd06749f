/**
 * Latencies of a client at one site, by the distance of the others: with and without write affinity, with a
 * site that hangs, with a site ten times as far away. Options: --rtt 0,20,100 (ms), --sizes 4096,1048576,
 * --situations normal,down,slow, --samples N (10,000: what a p99.9 needs), --out FILE, --max-load N: each
 * line waits until the machine has no more to do than that.
 *
 * Each measured line is added to FILE at once; lines that are there are not measured again, so that an
 * interrupted run is continued. At the end the table of all of them is printed.
 *
 * Few connections: not what the machine can do is asked here, but what a request waits for.
 */
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { load, planFor, request } from './bench/cases.ts';
import type { LoadPlan, LoadResult } from './bench/load.ts';
import { type Store, startAnello } from './bench/store.ts';

type Situation = 'normal' | 'down' | 'slow';
type Anello = Awaited<ReturnType<typeof startAnello>>;

interface Line extends LoadResult {
  readonly rttMs: number;
  readonly situation: Situation;
  readonly bytes: number;
  readonly what: string;
  readonly connections: number;
  readonly load: number;
}

const { values } = parseArgs({
  options: {
    rtt: { type: 'string', default: '0,20,100' },
    sizes: { type: 'string', default: '4096,1048576' },
    situations: { type: 'string', default: 'normal,down,slow' },
    samples: { type: 'string', default: '10000' },
    out: { type: 'string', default: path.join(tmpdir(), 'anello-wan.jsonl') },
    port: { type: 'string', default: '19080' },
    'max-load': { type: 'string', default: '1000' },
  },
});

const FAR = 'bari';
const FAR_NODE = 'bari-1';
const FARTHER = 10;
/** Of the names that large uploads write again and again: the disk holds some hundred of them, not all. */
const NAMES = 400;
const LARGE_BYTES = 65_536;
const WARM_UP = 200;
const LOCAL_SITES = fileURLToPath(new URL('../../rings/local.yaml', import.meta.url));
const OPERATIONS = [
  { what: 'PUT', method: 'PUT', container: 'strict', headers: {} },
  { what: 'PUT, write affinity', method: 'PUT', container: 'near', headers: {} },
  { what: 'GET', method: 'GET', container: 'strict', headers: {} },
  {
    what: 'GET, nearest',
    method: 'GET',
    container: 'strict',
    headers: { 'X-Anello-Read': 'nearest' },
  },
] as const;

const samples = Number(values.samples);
const numbers = (text: string): number[] => text.split(',').map(Number);
const situations = values.situations.split(',') as Situation[];

for (const rttMs of numbers(values.rtt)) {
  await measure(
    rttMs,
    situations.filter((situation) => situation !== 'slow'),
  );
  // A distance of nothing is not made longer by ten times nothing.
  if (situations.includes('slow') && rttMs > 0) await measure(rttMs, ['slow']);
}
printTable(lines());

/** Every missing line of these situations, in one cluster. */
async function measure(rttMs: number, wanted: readonly Situation[]): Promise<void> {
  const known = new Set(lines().map(keyOf));
  const missing = wanted
    .flatMap((situation) =>
      numbers(values.sizes).flatMap((bytes) =>
        OPERATIONS.map((operation) => ({ ...operation, rttMs, situation, bytes })),
      ),
    )
    .filter((line) => !known.has(keyOf(line)));
  if (missing.length === 0) return;
  const store = await start(rttMs, wanted.includes('slow'));
  const interrupted = (): void => void store.stop().then(() => process.exit(1));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted);
  try {
    for (const container of ['strict', 'near']) await create(store, container);
    for (const bytes of new Set(missing.map((line) => line.bytes))) await fill(store, bytes);
    let hangs = false;
    for (const line of missing) {
      if (line.situation === 'down' && !hangs) hangs = await hang(store);
      await quiet();
      await measureLine(store, line);
    }
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupted);
    signalFar(store, 'SIGCONT');
    await store.stop();
  }
}

async function measureLine(
  store: Store,
  {
    method,
    headers,
    container,
    ...line
  }: (typeof OPERATIONS)[number] & Pick<Line, 'rttMs' | 'situation' | 'bytes'>,
): Promise<void> {
  const isLarge = line.bytes > LARGE_BYTES;
  const connections = connectionsFor(line.rttMs, isLarge);
  const variation: Partial<LoadPlan> & Pick<LoadPlan, 'method'> = {
    method,
    headers,
    connections,
    path: `${store.account}/${container}/${line.bytes}-%`,
    order: method === 'GET' ? 'random' : 'cyclic',
    keys: method === 'GET' || isLarge ? NAMES : 10 * samples,
    bodyBytes: method === 'PUT' ? line.bytes : 0,
    seconds: 3600,
  };
  const run = (count: number): Promise<LoadResult> =>
    load(planFor(store, { ...variation, requests: Math.ceil(count / connections) }));
  await run(WARM_UP);
  const result = await run(samples);
  const measured: Line = { ...line, ...result, connections, load: loadavg()[0]! };
  appendFileSync(values.out, `${JSON.stringify(measured)}\n`);
  console.log(`${keyOf(measured)}: ${percentiles(measured)} ms, ${result.errors} errors`);
}

/** Longer waits are filled with more requests at once, or ten thousand of them take an hour. */
function connectionsFor(rttMs: number, isLarge: boolean): number {
  if (rttMs >= 100) return isLarge ? 8 : 12;
  if (rttMs >= 20) return 4;
  return 2;
}

async function start(rttMs: number, slow: boolean): Promise<Anello> {
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-wan-'));
  const sites = path.join(folder, 'sites.yaml');
  const description = parse(readFileSync(LOCAL_SITES, 'utf8'));
  description.policies.push({ name: 'near', index: 3, replicas: 3, mode: 'local' });
  writeFileSync(sites, stringify(description));
  const far = slow ? ['--rtt', `${FAR}=${rttMs * FARTHER}ms`] : [];
  const options = ['--sites', sites, '--rtt', `${rttMs}ms`, ...far];
  try {
    return await startAnello(Number(values.port), options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function create(store: Store, container: string): Promise<void> {
  const policy = container === 'near' ? 'near' : 'standard';
  const headers = { 'X-Auth-Token': store.token, 'X-Storage-Policy': policy };
  const url = new URL(`${store.account}/${container}`, store.url);
  const { status } = await fetch(url, { method: 'PUT', headers });
  if (status >= 300) throw new Error(`PUT ${container} answered ${status}`);
}

/** The objects that are read. */
async function fill(store: Store, bodyBytes: number): Promise<void> {
  const plan = { method: 'PUT', bodyBytes, order: 'cyclic', keys: NAMES, seconds: 3600 } as const;
  const connections = 8;
  const where = `${store.account}/strict/${bodyBytes}-%`;
  const requests = Math.ceil(NAMES / connections);
  const { errors } = await load(planFor(store, { ...plan, connections, requests, path: where }));
  if (errors > 0) throw new Error(`${errors} of ${NAMES} objects could not be written`);
}

/** Stopped, not killed: connections stay open and nobody answers, which is what a lost line looks like. */
async function hang(store: Anello): Promise<true> {
  signalFar(store, 'SIGSTOP');
  // The first seconds, in which the others find out, are in the tests of faults.
  for (let n = 0; n < 20; n += 1) {
    await request(store, 'GET', '/strict?limit=1');
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return true;
}

async function quiet(): Promise<void> {
  while (loadavg()[0]! > Number(values['max-load']))
    await new Promise((resolve) => setTimeout(resolve, 5_000));
}

function signalFar({ folder }: Anello, signal: NodeJS.Signals): void {
  const nodes: { name: string; pid: number }[] = JSON.parse(
    readFileSync(path.join(folder, 'nodes.json'), 'utf8'),
  );
  process.kill(nodes.find(({ name }) => name === FAR_NODE)!.pid, signal);
}

function lines(): Line[] {
  if (!existsSync(values.out)) return [];
  const text = readFileSync(values.out, 'utf8').trim();
  return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as Line);
}

function keyOf(line: Pick<Line, 'rttMs' | 'situation' | 'bytes' | 'what'>): string {
  return `${line.rttMs} ms, ${line.situation}, ${line.bytes} bytes, ${line.what}`;
}

function percentiles({ p50Ms, p99Ms, p999Ms }: LoadResult): string {
  return [p50Ms, p99Ms, p999Ms].map((ms) => (ms < 10 ? ms.toFixed(1) : ms.toFixed(0))).join(' / ');
}

function printTable(all: readonly Line[]): void {
  const heads = ['RTT', 'situation', 'size', ...OPERATIONS.map(({ what }) => what)];
  console.log(
    `\np50 / p99 / p99.9 in ms\n\n| ${heads.join(' | ')} |\n|${'---|'.repeat(heads.length)}`,
  );
  for (const rttMs of new Set(all.map((line) => line.rttMs)))
    for (const situation of ['normal', 'down', 'slow'])
      for (const bytes of new Set(all.map((line) => line.bytes))) {
        const row = all.filter(
          (line) => line.rttMs === rttMs && line.situation === situation && line.bytes === bytes,
        );
        if (row.length === 0) continue;
        const cells = OPERATIONS.map(({ what }) => row.find((line) => line.what === what)).map(
          (line) =>
            line === undefined
              ? ''
              : percentiles(line) + (line.errors > 0 ? `, ${line.errors} errors` : ''),
        );
        console.log(`| ${rttMs} ms | ${situation} | ${bytes / 1024} KiB | ${cells.join(' | ')} |`);
      }
}
