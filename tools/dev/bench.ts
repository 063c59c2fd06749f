/**
 * `npm run bench`: the benchmark table. With BENCH_PEER=FOLDER it measures the peer that the folder
 * brings beside it, case by case in turn, and prints the ratios. Options: --quick (short lists),
 * --only NAME[,NAME], --rows N (objects in the large listing), --gib N (what `repair-large` refills, on a
 * device that has a copy of everything; takes 3.5 times as much of the disk), --tuned (the peer's variant).
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  type Case,
  type Figure,
  idleMemory,
  largeObject,
  listings,
  mediumObjects,
  smallObjects,
  throttledUploads,
  uploadInParts,
} from './bench/cases.ts';
import { idleCost, LARGE_SITES, largeRefill, refills } from './bench/repair.ts';
import { signedRequests } from './bench/signed.ts';
import { type Store, startAnello, startSwift } from './bench/store.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    rows: { type: 'string', default: '1000000' },
    tuned: { type: 'boolean', default: false },
    gib: { type: 'string' },
    port: { type: 'string', default: '18080' },
  },
});

const peer = process.env['BENCH_PEER'];
/** The peer lists as fast with 100,000 as with 10,000 and takes an hour to fill a million. */
const PEER_ROWS = [10_000];
const rows = values.quick ? [10_000] : [10_000, Number(values.rows)];

const refill = { count: values.quick ? 500 : 5_000, bodyBytes: 65_536 };
const manyRefill = { count: values.quick ? 5_000 : 100_000, bodyBytes: 4_096 };

const CASES: Readonly<Record<string, { own: Case; peer: Case | undefined }>> = {
  memory: { own: idleMemory, peer: idleMemory },
  small: { own: smallObjects, peer: smallObjects },
  medium: { own: mediumObjects, peer: mediumObjects },
  signed: { own: signedRequests, peer: undefined },
  parts: { own: uploadInParts, peer: undefined },
  large: { own: largeObject, peer: largeObject },
  slow: { own: throttledUploads, peer: undefined },
  repair: { own: refills(refill), peer: undefined },
  'repair-many': { own: refills(manyRefill), peer: undefined },
  'repair-large': {
    own: largeRefill(Number(values.gib ?? (values.quick ? 1 : 4))),
    peer: undefined,
  },
  idle: { own: idleCost(values.quick ? 5_000 : 100_000, values.quick ? 1 : 10), peer: undefined },
  list: { own: listings(rows), peer: listings(PEER_ROWS) },
};

/** Rings need no cluster; their devices come with the peer, or are the local ones. */
const RING_BENCH = fileURLToPath(new URL('./ring-bench.ts', import.meta.url));
const chosen = values.only?.split(',') ?? [...Object.keys(CASES), 'rings'];
const figures = new Map<string, Figure[]>();

console.log(
  `${cpus().length} cores, ${cpus()[0]?.model}, Node ${process.version}; sequential write ${diskMegabytes()} MB/s`,
);
await measure(
  'anello',
  () => startAnello(Number(values.port), values.gib === undefined ? [] : largeSites()),
  (entry) => entry.own,
);
if (peer !== undefined) {
  await measure(
    'peer',
    async () => startSwift(path.resolve(peer), values.tuned),
    (entry) => entry.peer,
  );
}
printTable();
if (chosen.includes('rings')) {
  console.log(`\n${execFileSync(process.execPath, [RING_BENCH], { encoding: 'utf8' })}`);
}

/** `--gib N`: one device that has a copy of everything. */
function largeSites(): string[] {
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-sites-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'sites.yaml');
  writeFileSync(file, JSON.stringify(LARGE_SITES));
  return ['--sites', file];
}

async function measure(
  side: string,
  start: () => Promise<Store>,
  pick: (entry: { own: Case; peer: Case | undefined }) => Case | undefined,
): Promise<void> {
  const store = await start();
  try {
    for (const name of chosen) {
      const entry = CASES[name];
      const run = entry === undefined ? undefined : pick(entry);
      if (run === undefined) continue;
      const found = await run(store);
      figures.set(side, [...(figures.get(side) ?? []), ...found]);
      for (const figure of found) console.log(`  ${store.name}: ${describe(figure)}`);
    }
  } finally {
    await store.stop();
  }
}

function describe(figure: Figure): string {
  const more =
    figure.cpuMsEach === undefined
      ? ''
      : `  p50 ${figure.p50Ms?.toFixed(2)} ms, p99 ${figure.p99Ms?.toFixed(2)} ms, CPU ${figure.cpuMsEach.toFixed(3)} ms each`;
  return `${figure.name}: ${figure.value.toFixed(1)} ${figure.unit}${more}${figure.errors > 0 ? `  ERRORS ${figure.errors}` : ''}`;
}

function printTable(): void {
  console.log(
    '\n| what | Anello | p50 / p99 ms | CPU ms each | peer | ratio |\n|---|---|---|---|---|---|',
  );
  for (const figure of figures.get('anello') ?? []) {
    const other = figures.get('peer')?.find((candidate) => candidate.name === figure.name);
    const ratio =
      other === undefined
        ? ''
        : (figure.better === 'more'
            ? figure.value / other.value
            : other.value / figure.value
          ).toFixed(1);
    const latency =
      figure.p50Ms === undefined ? '' : `${figure.p50Ms.toFixed(1)} / ${figure.p99Ms?.toFixed(1)}`;
    console.log(
      `| ${figure.name} | ${figure.value.toFixed(1)} ${figure.unit} | ${latency} | ${figure.cpuMsEach?.toFixed(2) ?? ''} | ${other === undefined ? '' : `${other.value.toFixed(1)} ${other.unit}`} | ${ratio} |`,
    );
  }
}

/** The disk's limit in this run: dd with a sync at the end. */
function diskMegabytes(): number {
  const folder = mkdtempSync(path.join(process.env['BENCH_DIR'] ?? tmpdir(), 'anello-dd-'));
  const started = performance.now();
  execFileSync(
    'dd',
    ['if=/dev/zero', `of=${folder}/file`, 'bs=1M', 'count=1024', 'conv=fdatasync'],
    { stdio: 'ignore' },
  );
  const seconds = (performance.now() - started) / 1000;
  rmSync(folder, { recursive: true });
  return Math.round((1024 * 1024 * 1024) / 1e6 / seconds);
}
