/**
 * How fast the row store is by itself: writes as a device's commit groups bring them, pages of a large
 * and a small container, pages at random markers, a full pull. The figures stand in src/rows/README.md.
 *
 *   node tools/dev/rows-bench.ts [ROWS]      default 1,000,000 in the large container
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pack, unpack } from '#base/codec.ts';
import { encodeState } from '#base/entry-codec.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { makeTimestamp } from '#base/timestamp.ts';
import type { LoggedRow, RowLog, RowRecord, RowSink } from '#device/contract.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { RowStore } from '#rows/row-store.ts';

const ROWS = Number(process.argv[2] ?? 1_000_000);
const SMALL = 10_000;
const GROUPS = [16, 64, 256];
const MEASURED = 50_000;
/** A device checkpoints every ten seconds. */
const CHECKPOINT_ROWS = 20_000;

/** Applies at once what was appended since the last flush, as one commit group. */
class GroupLog implements RowLog {
  readonly #sink: RowSink;
  #waiting: LoggedRow[] = [];
  #offset = 0;

  constructor(sink: RowSink) {
    this.#sink = sink;
  }

  append(row: RowRecord): Promise<void> {
    const position = { segment: 1, offset: this.#offset++ };
    this.#waiting.push({ row: { ...row, since: 1 }, position, writtenMs: 0 });
    return Promise.resolve();
  }

  apply(): void {
    const group = this.#waiting;
    this.#waiting = [];
    this.#sink.apply(group, { segment: 1, offset: this.#offset });
  }
}

const folder = mkdtempSync(path.join(tmpdir(), 'anello-rows-bench-'));
const env = createNodeEnv({ logLevel: 'error' });
const file = path.join(folder, 'rows.db');
const store = RowStore.open(env, { file, incarnation: 'i', digestKey: 'bench' });
const log = new GroupLog(store);
store.bind(log);
const large = Buffer.alloc(16, 1);
const small = Buffer.alloc(16, 2);

let sinceCheckpoint = 0;

/** Spread over the names as hashes of uploads are: neighbours in time are not neighbours in the tree. */
function nameOf(i: number): string {
  return `folder${(i * 7919) % 100}/object-${String((i * 48271) % 100_000_007).padStart(9, '0')}`;
}

async function write(hash: Buffer, from: number, to: number, group: number): Promise<void> {
  for (let i = from; i < to; ) {
    const writes: Promise<unknown>[] = [];
    for (const end = Math.min(to, i + group); i < end; i++) {
      const timestamp = makeTimestamp(1_800_000_000_000_000 + i, 1);
      const data = {
        timestamp,
        kind: 'live' as const,
        writeId: '0123456789abcdef',
        clientMicros: 1_800_000_000_000_000 + i,
        etag: 'd41d8cd98f00b204e9800998ecf8427e',
        size: 4096,
        contentType: 'application/octet-stream',
      };
      const key = { policy: CONTAINER_RING, hash };
      writes.push(store.write({ key, path: '/a/c', name: nameOf(i), state: { data, groups: {} } }));
    }
    log.apply();
    await Promise.all(writes);
    sinceCheckpoint += group;
    if (sinceCheckpoint >= CHECKPOINT_ROWS) {
      sinceCheckpoint = 0;
      await store.checkpoint();
    }
  }
}

function median(times: number, work: () => void): number {
  work();
  const taken = Array.from({ length: times }, () => {
    const start = performance.now();
    work();
    return performance.now() - start;
  });
  return taken.sort((a, b) => a - b)[times >> 1]!;
}

async function timed(work: () => Promise<void>): Promise<{ wall: number; cpu: number }> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { wall: performance.now() - start, cpu: (user + system) / 1000 };
}

function line(what: string, figure: string): void {
  console.log(`${what.padEnd(56)} ${figure}`);
}

await write(small, 0, SMALL, 256);
const fill = await timed(() => write(large, 0, ROWS, 1000));
line(`fill ${ROWS} rows, groups of 1000`, `${((fill.wall * 1000) / ROWS).toFixed(1)} us/row`);
await store.checkpoint();
line('database', `${(statSync(file).size / (ROWS + SMALL)).toFixed(0)} bytes/row`);

let next = ROWS;
for (const group of GROUPS) {
  const { wall, cpu } = await timed(() => write(large, next, next + MEASURED, group));
  next += MEASURED;
  const figure = `${((wall * 1000) / MEASURED).toFixed(1)} us/row, CPU ${((cpu * 1000) / MEASURED).toFixed(1)}`;
  line(`write into ${ROWS} rows, groups of ${group}`, figure);
  await store.checkpoint();
}

const page = (hash: Buffer, marker?: string, limit = 10_000) =>
  store.list(CONTAINER_RING, hash, { limit, marker });
line('page of 10,000 of the small container', `${median(15, () => page(small)).toFixed(2)} ms`);
line('page of 10,000 of the large container', `${median(15, () => page(large)).toFixed(2)} ms`);
const middle = nameOf(ROWS >> 1);
line('page of 10,000 in its middle', `${median(15, () => page(large, middle)).toFixed(2)} ms`);
const items = page(large).items;
const packed = pack(items);
line(
  '  pack, unpack it for the wire',
  `${median(15, () => pack(items)).toFixed(2)} ms, ${median(15, () => unpack(packed)).toFixed(2)} ms`,
);

let pages = 0;
const end = performance.now() + 2000;
while (performance.now() < end) page(large, nameOf((pages++ * 7919) % ROWS), 100);
line('pages of 100 at a random marker', `${(pages / 2).toFixed(0)} /s`);
const roots = median(50, () => store.list(CONTAINER_RING, large, { limit: 100, delimiter: '/' }));
line('100 common prefixes (delimiter) of all rows', `${roots.toFixed(2)} ms`);

let sequence = 0;
let pulled = 0;
const start = performance.now();
while (pulled < 100_000) {
  const changes = store.changes(CONTAINER_RING, large, sequence, 500);
  if (changes.length === 0) break;
  for (const change of changes) encodeState(change.state);
  sequence = changes.at(-1)!.sequence;
  pulled += changes.length;
}
line(
  'rows given to a pull',
  `${(((performance.now() - start) * 1000) / pulled).toFixed(1)} us/row`,
);
const totals = median(1000, () => store.facts(CONTAINER_RING, large));
line('totals and digest of the large container', `${(totals * 1000).toFixed(1)} us`);

store.close();
await env.close();
rmSync(folder, { recursive: true, force: true });
