/**
 * A device more in a running cluster of twenty (5 %), under load: what was moved, against the least that could
 * be moved, and how much longer requests took meanwhile. Options: --objects N, --bytes N (of each), --port BASE.
 *
 * The twenty-first device is in the rings from the start, with a weight of nothing; it gets its weight then. The
 * least is its share by weight of all that is stored. Ends with 1 when more than 1.05 times that was moved.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { load, planFor, preload } from './bench/cases.ts';
import type { LoadResult } from './bench/load.ts';
import { startAnello } from './bench/store.ts';

const { values } = parseArgs({
  options: {
    objects: { type: 'string', default: '2000' },
    bytes: { type: 'string', default: '200000' },
    port: { type: 'string', default: '19180' },
  },
});

const run = promisify(execFile);
const CLI = fileURLToPath(new URL('../anello.js', import.meta.url));
const SITES = ['lngs', 'bari', 'padova'];
const PER_SITE = 7;
const REPLICAS = 3;
const SMALL = 4096;
const MOST = 1.05;
const SLICE_SECONDS = 5;
const UNDISTURBED_SLICES = 6;
const objects = Number(values.objects);
const bytes = Number(values.bytes);
const container = 'rebalance';

/** Three sites of seven devices, the last of which has no weight yet. */
function description(): string {
  const sites = SITES.map((site, s) => {
    const devices = Array.from({ length: PER_SITE }, (_, d) => {
      const isNew = s === SITES.length - 1 && d === PER_SITE - 1;
      return `{name: d${d + 1}, weight: ${isNew ? 0 : 100}}`;
    });
    return `  ${site}: [{node: ${site}-1, wire: "127.0.0.1:1", devices: [${devices.join(', ')}]}]`;
  });
  return `format: 1
name: rebalance
part_power: 10
overload: 1
min_part_hours: 0
policies: [{name: standard, index: 0, replicas: ${REPLICAS}, default: true}]
sites:
${sites.join('\n')}
`;
}

const folder = mkdtempSync(path.join(tmpdir(), 'anello-rebalance-'));
const file = path.join(folder, 'sites.yaml');
writeFileSync(file, description());
const store = await startAnello(Number(values.port), ['--sites', file]);
try {
  await preload(store, container, objects, bytes);
  await untilStill();
  const before = await slices(UNDISTURBED_SLICES, async () => false);
  const stored = objects * bytes + before.reduce((sum, { PUT }) => sum + PUT.requests * SMALL, 0);
  const receivedBefore = await received();
  const startedMs = performance.now();
  const added = `${SITES.at(-1)}/${SITES.at(-1)}-1/d${PER_SITE}=100`;
  await anello('ring', 'apply', '--set-weight', added);
  let takenMs = 0;
  const during = await slices(1_000, async () => {
    if (!(await isSettled())) return false;
    takenMs = performance.now() - startedMs;
    return true;
  });
  await untilStill();
  const moved = (await received()) - receivedBefore;
  // A third of everything is at each site, a seventh of that on each device of it.
  const least = (stored * REPLICAS) / (SITES.length * PER_SITE);
  console.log(
    `moved ${moved} bytes, least ${Math.round(least)}: ${(moved / least).toFixed(3)} times`,
  );
  console.log(
    `settled within ${(takenMs / 1000).toFixed(1)} s; load average ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const kind of ['PUT', 'GET'] as const)
    console.log(
      `${kind} 4 KiB p50 / p99: undisturbed ${median(before, kind)} ms, meanwhile ${median(during, kind)} ms (medians of slices of ${SLICE_SECONDS} s)`,
    );
  if (moved > MOST * least) process.exitCode = 1;
} finally {
  await store.stop();
  rmSync(folder, { recursive: true });
}

type Slice = Readonly<Record<'PUT' | 'GET', LoadResult>>;

/** Load in slices until `done` or the number of them is reached; at least one. */
async function slices(most: number, done: () => Promise<boolean>): Promise<Slice[]> {
  const all: Slice[] = [];
  do {
    const [put, get] = await Promise.all([foreground('PUT'), foreground('GET')]);
    all.push({ PUT: put, GET: get });
  } while (all.length < most && !(await done()));
  return all;
}

function foreground(method: 'PUT' | 'GET'): Promise<LoadResult> {
  const isPut = method === 'PUT';
  const where = isPut ? `small-${performance.now()}-%` : 'k%';
  return load(
    planFor(store, {
      method,
      path: `${store.account}/${container}/${where}`,
      order: isPut ? 'sequential' : 'random',
      keys: objects,
      bodyBytes: isPut ? SMALL : 0,
      connections: 2,
      seconds: SLICE_SECONDS,
      headers: isPut ? {} : { Range: `bytes=0-${SMALL - 1}` },
    }),
  );
}

/** Of an even number the mean of the two in the middle: a change that is over in two slices showed the worse one. */
function median(all: readonly Slice[], kind: 'PUT' | 'GET'): string {
  const middle = (pick: (result: LoadResult) => number): string => {
    const sorted = all.map((slice) => pick(slice[kind])).sort((a, b) => a - b);
    const [low, high] = [Math.floor((all.length - 1) / 2), Math.floor(all.length / 2)];
    return ((sorted[low]! + sorted[high]!) / 2).toFixed(1);
  };
  return `${middle(({ p50Ms }) => p50Ms)} / ${middle(({ p99Ms }) => p99Ms)}`;
}

async function anello(...args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [CLI, ...args, '--data', store.folder]);
  return stdout;
}

async function isSettled(): Promise<boolean> {
  const status = JSON.parse(await anello('ring', 'status', '--json'));
  const joint = status.rings.reduce((sum: number, ring: { joint: number }) => sum + ring.joint, 0);
  return joint === 0 && status.inForceEverywhere;
}

/** Bodies that repair has brought to any node. */
async function received(): Promise<number> {
  const { nodes } = JSON.parse(await anello('repair', 'show', '--json'));
  const each = nodes.flatMap(({ value }: { value: { received: Record<string, number> } }) =>
    Object.values(value.received),
  );
  return each.reduce((sum: number, one: number) => sum + one, 0);
}

/** Nothing has been brought anywhere for ten seconds. */
async function untilStill(): Promise<void> {
  for (let last = -1, same = 0; same < 5; await sleep(2_000)) {
    const now = await received();
    same = now === last ? same + 1 : 0;
    last = now;
  }
}
