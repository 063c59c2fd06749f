/**
 * Flips random single bits in the files of one device that runs, lets the auditor read everything, and
 * says what became of each: mended (other bytes are there now, or the file is gone), or dead.
 *
 * Dead is proven, not assumed. After the audit, of every flip that is still on the disk:
 * - in a segment or blob: a copy of the folder without its databases, brought up from the log alone by the
 *   device's own code, has every entry, every body and every row, as the running device has them;
 * - in a database: every table of a copy has the same rows as one in which the bits are flipped back,
 *   and SQLite finds nothing wrong with its pages and indexes.
 */
import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import Database from 'better-sqlite3';
import { encodeState } from '#base/entry-codec.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { DEFAULT_INLINE_LIMIT, type Entry } from '#device/contract.ts';
import { type LogDevice, openDevice } from '#device/open.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { Prng } from '#env/sim/prng.ts';
import { RowStore } from '#rows/row-store.ts';
import { type LocalCluster, type LocalNode, SILENT } from './local-nodes.ts';

export const CLASSES = ['segments', 'blobs', 'index', 'rows'] as const;
export type FileClass = (typeof CLASSES)[number];

export interface Flip {
  readonly class: FileClass;
  readonly file: string;
  readonly offset: number;
  /** What was there before, and what is there since. */
  readonly byte: number;
  readonly flipped: number;
  /** Which file it is: inode numbers are used again at once. */
  readonly identity: string;
}

export interface FlipTally {
  readonly flips: Record<FileClass, number>;
  readonly mended: Record<FileClass, number>;
  readonly dead: Record<FileClass, number>;
  /** What the auditor counted as damage. */
  found: number;
  reads: number;
}

/** What a device has, a line each. */
interface Holdings {
  readonly entries: readonly string[];
  readonly rows: readonly string[];
}

const OBJECTS = 160;
const POLICY = 0;

export class FlipExperiment {
  readonly #cluster: LocalCluster;
  readonly #node: LocalNode;
  readonly #random: Prng;
  readonly #bodies = new Map<string, Buffer>();
  readonly tally: FlipTally = {
    flips: zeros(),
    mended: zeros(),
    dead: zeros(),
    found: 0,
    reads: 0,
  };

  constructor(cluster: LocalCluster, seed: number) {
    this.#cluster = cluster;
    this.#node = cluster.nodes[0]!;
    this.#random = new Prng(seed, 'flips');
  }

  async fill(): Promise<void> {
    const { proxy } = this.#node;
    for (const container of ['box', 'bag']) {
      const name = { account: 'AUTH_test', container };
      await proxy.createContainer(this.#cluster.operation(), name, { changes: {} });
    }
    for (let n = 0; n < OBJECTS; n++) await this.#put(n);
    for (let n = 0; n < OBJECTS; n += 7) await this.#put(n); // what was overwritten is dead
    for (let n = 3; n < OBJECTS; n += 11) {
      await proxy.deleteObject(this.#cluster.operation(), nameOf(n));
      this.#bodies.delete(`${n}`);
    }
    await this.#settle();
  }

  /** Flips some bits at once, audits, and proves what became of them. */
  async round(count: number): Promise<void> {
    const flips = Array.from({ length: count }, () => this.#flip());
    await this.#readSome(6);
    await this.#audit();
    await this.#settle();
    const remaining = flips.filter((flip) => this.#isThere(flip));
    for (const flip of flips) {
      this.tally.flips[flip.class]++;
      this.tally[remaining.includes(flip) ? 'dead' : 'mended'][flip.class]++;
    }
    if (remaining.length > 0) await this.#proveDead(remaining);
    await this.#readSome(6);
  }

  /** Everything, from this device alone and through the proxy; listings too. */
  async readAll(): Promise<void> {
    for (const n of this.#bodies.keys()) await this.#read(n);
    for (const container of ['box', 'bag']) {
      const name = { account: 'AUTH_test', container };
      const query = { limit: 10_000 };
      const operation = this.#cluster.operation();
      const page = await this.#node.proxy.listObjects(operation, name, query);
      const names = page!.items.map((item) => ('name' in item ? item.name : ''));
      const wanted = [...this.#bodies.keys()].filter((n) => containerOf(Number(n)) === container);
      expectEqual(names.sort(), wanted.map((n) => `o${n}`).sort(), `listing of ${container}`);
    }
    for (const entry of entriesOf(this.#node.open!.device)) {
      if (entry.state.data?.kind === 'live') await this.#readOwn(entry);
    }
  }

  async #put(n: number): Promise<void> {
    const body = this.#random.bytes(this.#size(n));
    this.#bodies.set(`${n}`, body);
    const source = (async function* () {
      if (body.length > 0) yield body;
    })();
    await this.#node.proxy.putObject(this.#cluster.operation(), nameOf(n), {
      body: source,
      length: body.length,
      maxLength: 1e9,
      contentType: 'application/octet-stream',
      user: { 'x-object-meta-n': String(n) },
      system: {},
    });
  }

  /** Half of them are blobs. Of those, what repair brings stays one only above the limit that every device has. */
  #size(n: number): number {
    if (n % 2 === 0) return this.#random.integer(9_000);
    return (n % 8 === 1 ? DEFAULT_INLINE_LIMIT : 40_000) + 500 * n;
  }

  async #readSome(count: number): Promise<void> {
    const names = [...this.#bodies.keys()];
    for (let i = 0; i < count; i++) await this.#read(names[this.#random.integer(names.length)]!);
  }

  async #read(n: string): Promise<void> {
    const operation = this.#cluster.operation();
    const reader = await this.#node.proxy.openObject(operation, nameOf(Number(n)));
    if (reader === undefined) throw new Error(`object ${n} is not found`);
    const parts: Buffer[] = [];
    for await (const part of reader.read(0, reader.length)) parts.push(part);
    this.tally.reads++;
    if (!Buffer.concat(parts).equals(this.#bodies.get(n)!)) throw new Error(`bad bytes of ${n}`);
  }

  /** From the device itself: what is good on it must be the right bytes. */
  async #readOwn(entry: Entry): Promise<void> {
    const n = /o(\d+)$/.exec(entry.path)![1]!;
    const parts: Buffer[] = [];
    const range = { start: 0, end: 1e9 };
    for await (const part of this.#node.open!.device.read(entry, range)) parts.push(part);
    if (!Buffer.concat(parts).equals(this.#bodies.get(n)!))
      throw new Error(`bad own bytes of ${n}`);
  }

  #flip(): Flip {
    // A database that was just made may still be in its WAL as a whole.
    const filled = CLASSES.filter((one) =>
      this.#files(one).some((file) => statSync(file).size > 0),
    );
    const kind = filled[this.#random.integer(filled.length)]!;
    const files = this.#files(kind);
    const sizes = files.map((file) => statSync(file).size);
    let at = this.#random.integer(sizes.reduce((sum, size) => sum + size, 0));
    let i = 0;
    while (at >= sizes[i]!) at -= sizes[i++]!;
    const file = files[i]!;
    const byte = read(file, at);
    const flipped = byte ^ (1 << this.#random.integer(8));
    write(file, at, flipped);
    return { class: kind, file, offset: at, byte, flipped, identity: identityOf(file) };
  }

  #files(kind: FileClass): string[] {
    const { folder } = this.#node;
    const under = (name: string): string[] =>
      readdirSync(path.join(folder, name)).map((file) => path.join(folder, name, file));
    switch (kind) {
      case 'segments':
        return under('log');
      case 'blobs':
        return readdirSync(path.join(folder, 'blobs')).flatMap((name) => under(`blobs/${name}`));
      case 'index':
        return [path.join(folder, 'index.db')];
      case 'rows':
        return [path.join(folder, 'rows.db')];
    }
  }

  /** The flipped byte is still what it was flipped to. */
  #isThere({ file, offset, flipped, identity }: Flip): boolean {
    const stat = statSync(file, { throwIfNoEntry: false });
    if (stat === undefined || offset >= stat.size) return false;
    return identityOf(file) === identity && read(file, offset) === flipped;
  }

  /** A whole cycle, over as many openings as it takes. */
  async #audit(): Promise<void> {
    const { auditor } = this.#node;
    const before = this.#found();
    auditor.run(undefined);
    const isDone = (): boolean => {
      const open = this.#node.open;
      return open !== undefined && !auditor.report(open.device).urgent;
    };
    const why = (): string => {
      const { open } = this.#node;
      if (open === undefined) return 'the device is away';
      return `${open.device.status}, ${JSON.stringify(auditor.report(open.device))}`;
    };
    await until(isDone, () => `the audit does not end: ${why()}`);
    this.tally.found += Math.max(0, this.#found() - before);
  }

  #found(): number {
    return this.#node.open?.device.audit.facts().found ?? 0;
  }

  /** Bodies fetched, segments rewritten and removed, complete again, databases written back. */
  async #settle(): Promise<void> {
    const isSettled = (): boolean => {
      // Its own job looks every ten seconds.
      this.#node.open?.device.compactStep().catch(() => undefined);
      return this.#unsettled() === '';
    };
    await until(isSettled, () => `does not settle: ${this.#unsettled()}`);
    const { device } = this.#node.open!;
    while (await device.compactStep());
    for (let i = 0; i < 3; i++) await device.checkpoint();
  }

  #unsettled(): string {
    const { open, report } = this.#node;
    if (open === undefined || report === undefined || open.device.status !== 'ok') return 'away';
    if (open.rows.damage !== undefined) return 'rows';
    const { device } = open;
    const { bodiless } = device.digests.summarise(POLICY, 0, 1 << 20, 1)[0]!;
    const incomplete = Object.values(report.complete).some((share) => share < 1);
    return [
      ...(bodiless! > 0 ? [`${bodiless} without body`] : []),
      ...(incomplete ? ['incomplete'] : []),
      ...(device.audit.facts().suspects > 0 ? ['suspects'] : []),
    ].join(', ');
  }

  async #proveDead(flips: readonly Flip[]): Promise<void> {
    const inLog = flips.filter((flip) => flip.class === 'segments' || flip.class === 'blobs');
    const facts = flips.map(({ file, offset }) => `${path.basename(file)}:${offset}`).join(', ');
    if (inLog.length > 0) await this.#proveLog(facts);
    for (const name of ['index.db', 'rows.db']) {
      const inDatabase = flips.filter(({ file }) => path.basename(file) === name);
      if (inDatabase.length > 0) this.#proveDatabase(name, inDatabase, facts);
    }
  }

  /** From the log and the blobs alone everything comes back. */
  async #proveLog(facts: string): Promise<void> {
    const copy = `${this.#node.folder}.copy`;
    const { entries: wanted, rows: wantedRows } = await this.#copyAtRest(copy);
    for (const name of readdirSync(copy)) if (/\.db/.test(name)) rmSync(path.join(copy, name));
    const env = createNodeEnv({ logLevel: 'error', logDestination: 2 });
    const wallMicros = (): number => env.clock.wallMicros();
    const clock = new HybridClock({ workerId: 9, wallMicros, bound: 0, reserve: () => undefined });
    let rows: RowStore | undefined;
    const rebuilt = await openDevice({ ...env, log: SILENT }, copy, {
      clusterId: '0123456789abcdef0123456789abcdef',
      deviceId: this.#node.open!.device.id,
      clock,
      openRows: (folder, incarnation) => {
        const file = path.join(folder, 'rows.db');
        const digestKey = '0123456789abcdef0123456789abcdef';
        rows = RowStore.open({ ...env, log: SILENT }, { file, incarnation, digestKey });
        return rows;
      },
    });
    const entries = entriesOf(rebuilt);
    expectEqual(entries.map(describe), wanted, `entries: ${facts}`);
    for (const entry of entries) {
      await collect(rebuilt, entry).catch((error: unknown) => {
        throw new Error(`${entry.path} in a rebuilt device: ${facts}`, { cause: error });
      });
    }
    expectEqual(rowsOf(rows!), wantedRows, `rows: ${facts}`);
    await rebuilt.close();
    await env.close();
    rmSync(copy, { recursive: true });
  }

  /** A device of which nothing was being written: its jobs go on, totals for one are told now and then. */
  async #copyAtRest(copy: string): Promise<Holdings> {
    for (let attempt = 0; attempt < 20; attempt++) {
      const holdings = this.#holdings();
      cpSync(this.#node.folder, copy, { recursive: true });
      await sleep(AT_REST_MS);
      if (isDeepStrictEqual(this.#holdings(), holdings)) return holdings;
      rmSync(copy, { recursive: true });
    }
    throw new Error('the device does not come to rest');
  }

  #holdings(): Holdings {
    const { device, rows } = this.#node.open!;
    return { entries: entriesOf(device).map(describe), rows: rowsOf(rows) };
  }

  /** The same rows in every table as without the flips. */
  #proveDatabase(name: string, flips: readonly Flip[], facts: string): void {
    const copies = [`${this.#node.folder}.flipped`, `${this.#node.folder}.restored`];
    const [flipped, restored] = copies.map((folder) => {
      mkdirSync(folder);
      for (const suffix of ['', '-wal']) {
        cpSync(path.join(this.#node.folder, name + suffix), path.join(folder, name + suffix));
      }
      return path.join(folder, name);
    });
    for (const flip of flips) write(restored!, flip.offset, flip.byte);
    expectEqual(linesOf(flipped!), linesOf(restored!), `${name}: ${facts}`);
    for (const folder of copies) rmSync(folder, { recursive: true });
  }
}

/** Every row of every table, and what SQLite says of pages and indexes. */
function linesOf(file: string): string[] {
  const db = new Database(file);
  const objects = db.prepare('SELECT type, name, tbl_name, sql FROM sqlite_master').all();
  const lines = [
    JSON.stringify(objects),
    String(db.pragma('integrity_check(1)', { simple: true })),
  ];
  const tables = db
    .prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .pluck()
    .all();
  for (const table of tables) {
    for (const row of db.prepare<[], unknown[]>(`SELECT * FROM ${table}`).raw().all()) {
      const cells = row.map((cell) => (Buffer.isBuffer(cell) ? cell.toString('hex') : cell));
      lines.push(`${table} ${cells.join(' ')}`);
    }
  }
  db.close();
  return lines;
}

/** What was being written into the log when it was copied is applied after that. */
const AT_REST_MS = 100;

/** Machines may be busy. */
const LIMIT_MS = 240_000;

async function until(isDone: () => boolean, why: () => string): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!isDone()) {
    if (performance.now() > endMs) throw new Error(why());
    await sleep(10);
  }
}

function zeros(): Record<FileClass, number> {
  return { segments: 0, blobs: 0, index: 0, rows: 0 };
}

function containerOf(n: number): string {
  return n % 5 === 0 ? 'bag' : 'box';
}

function nameOf(n: number) {
  return { account: 'AUTH_test', container: containerOf(n), object: `o${n}` };
}

function entriesOf(device: LogDevice): Entry[] {
  return device.entries(POLICY, Buffer.alloc(16), undefined, 10_000);
}

function describe({ key, path: name, state, hasBody }: Entry): string {
  return `${key.hash.toString('hex')} ${name} ${encodeState(state).toString('base64')} ${hasBody}`;
}

function rowsOf(rows: RowStore): string[] {
  const found: string[] = [];
  for (let page = rows.rowsAfter(undefined, 1_000); ; page = rows.rowsAfter(page.next, 1_000)) {
    for (const { path: name, name: row, state } of page.rows) {
      found.push(`${name} ${row} ${encodeState(state).toString('base64')}`);
    }
    if (page.next === undefined) return found.sort();
  }
}

async function collect(device: LogDevice, entry: Entry): Promise<void> {
  if (entry.state.data?.kind !== 'live') return;
  for await (const part of device.read(entry, { start: 0, end: 1e9 })) void part;
}

function expectEqual(found: readonly string[], wanted: readonly string[], what: string): void {
  const lacks = wanted.find((line) => !found.includes(line));
  const tooMuch = found.find((line) => !wanted.includes(line));
  if (lacks === undefined && tooMuch === undefined && found.length === wanted.length) return;
  const from = Math.max(0, firstDifference(tooMuch ?? '', lacks ?? '') - 100);
  const shown = (line: string | undefined) => line?.slice(from, from + 300);
  throw new Error(`${what}: ${shown(tooMuch)} should be ${shown(lacks)}`);
}

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}

function identityOf(file: string): string {
  const { ino, birthtimeNs } = statSync(file, { bigint: true });
  return `${ino} ${birthtimeNs}`;
}

function read(file: string, offset: number): number {
  const descriptor = openSync(file, 'r');
  const byte = Buffer.alloc(1);
  readSync(descriptor, byte, 0, 1, offset);
  closeSync(descriptor);
  return byte[0]!;
}

function write(file: string, offset: number, byte: number): void {
  const descriptor = openSync(file, 'r+');
  writeSync(descriptor, Buffer.of(byte), 0, 1, offset);
  closeSync(descriptor);
}
