/**
 * Every bit of index.db: a flip of it is found, by the start or by the auditor, so that the index is rebuilt
 * from the log; or it means nothing, because every value of every table is the same with it as without.
 *
 * Here a sample of them; `ANELLO_EVERY_BIT=1` takes all, for some minutes.
 */
import { expect, it } from 'vitest';
import { newestTimestamp } from '#base/entry.ts';
import { CONTAINER_RING } from '#base/names.ts';
import type { Database } from '#env/env.ts';
import { SimDatabase } from '#env/sim/database.ts';
import { DatabaseStore } from '#env/sim/database-store.ts';
import { IndexAudit, type IndexPlace } from './audit-index.ts';
import type { BlobStore } from './blob-store.ts';
import { DigestStore } from './digest-store.ts';
import { EntryStore } from './entry-store.ts';
import { damaged } from './errors.ts';
import { hasIndexTables, IndexFile, isIndexDamage } from './index-file.ts';
import type { LogDevice } from './log-device.ts';
import type { SegmentFiles } from './segment-files.ts';
import {
  bytes,
  type DeviceFixture,
  FOLDER,
  keyOf,
  pathOf,
  withDevice,
} from './testing/device-fixture.ts';

const EVERY = process.env['ANELLO_EVERY_BIT'] === '1';
const STRIDE = EVERY ? 1 : 151;
/** Zeros with so many zeros around are room for rows to come. */
const MARGIN = 4;

/** What a device has in memory. */
interface Known {
  readonly store: EntryStore;
  readonly files: SegmentFiles;
}

/** Something in every table, and of every kind. */
async function fill(fixture: DeviceFixture, first: LogDevice): Promise<LogDevice> {
  await write(fixture, first, 0);
  await first.close(); // pages of digests
  const device = await fixture.open();
  await write(fixture, device, 20); // changes of digests
  await device.checkpoint();
  return device;
}

async function write(fixture: DeviceFixture, device: LogDevice, from: number): Promise<void> {
  await device.completeness.mark(0, 0, 1 << 20, true);
  await device.versions.fence(0, [[5, 9]], 3);
  for (let n = from; n < from + 6; n++) await fixture.put(device, n, bytes(50 * n, n));
  const expiring = fixture.live(9, { deleteAt: 2_000_000_000 + from });
  await fixture.put(device, from + 6, bytes(9), expiring);
  await fixture.putStaged(device, from + 7, bytes(300_000));
  await fixture.remove(device, from + 2);
  const row = { key: keyOf(100, CONTAINER_RING), path: '/AUTH_test/c', name: `${from}` };
  await device.rowLog.append({ ...row, state: fixture.live(0) });
  await device.promise(keyOf(from + 3), pathOf(3), fixture.clock.now());
  await device.promise(keyOf(from + 8), pathOf(8), fixture.clock.now());
  const state = fixture.live(9);
  const request = { key: keyOf(from, 2), path: pathOf(from), state, body: bytes(9) };
  await device.write({ ...request, unlisted: true, intent: 'write' });
  const listed = device.stat(keyOf(from + 1))!;
  device.markListed(listed.key, newestTimestamp(listed.state));
}

function opened(image: Buffer): SimDatabase {
  const gate = { check: () => undefined, checkpoint: async () => true };
  return new SimDatabase(new DatabaseStore(image), gate, false, true);
}

/** What a device has in memory that starts with such an index. @throws OperatingError, or SQLite's errors */
function started(image: Buffer, files: SegmentFiles): Known {
  const database = opened(image);
  try {
    if (!hasIndexTables(database)) throw damaged('other tables');
    const index = new IndexFile(database);
    const digests = new DigestStore(database);
    digests.load();
    return { files, store: new EntryStore(index, digests, index.position()!, 8) };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** All of the auditor's steps. @throws what it says of the index */
async function audit({ store, files }: Known, image: Buffer): Promise<void> {
  store.index.database.verify = async () => new DatabaseStore(image).verify();
  const auditor = new IndexAudit({
    store,
    files,
    blobs: { exists: async () => true } as unknown as BlobStore,
    isThere: async () => true,
    look: () => opened(image),
    flush: () => undefined,
    damaged: () => undefined,
  });
  let place: IndexPlace | undefined;
  do place = (await auditor.step(place, 1000)).next;
  while (place !== undefined);
}

/** By the start, or by the auditor of the device that it has made. */
async function startAndAudit(image: Buffer, files: SegmentFiles): Promise<void> {
  const known = started(image, files);
  try {
    await audit(known, image);
  } finally {
    known.store.index.database.close();
  }
}

/** What would have the index rebuilt; an error of any other kind is none that the auditor may end with. */
async function isFound(look: Promise<void>): Promise<boolean> {
  try {
    await look;
    return false;
  } catch (error) {
    if (!isIndexDamage(error)) throw error;
    return true;
  }
}

/** Everything that SQLite reads in it, with its types. */
function dump(image: Buffer): string {
  const database = opened(image);
  try {
    const sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    const tables = database.prepare<string>(sql).pluck().all();
    return ['sqlite_schema', ...tables].map((table) => rowsOf(database, table)).join('\n');
  } finally {
    database.close();
  }
}

function rowsOf(database: Database, table: string): string {
  const rows = database.prepare<unknown[]>(`SELECT * FROM ${table}`).raw().all();
  return rows.map((row) => row.map(textOf).join(' ')).join('\n');
}

function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? `x${value.toString('hex')}` : JSON.stringify(value);
}

function isNearBytes(image: Buffer, at: number): boolean {
  return image.subarray(Math.max(0, at - MARGIN), at + MARGIN + 1).some((byte) => byte !== 0);
}

/** Undefined: it is found, whether it flipped before the start or after it; or it means nothing. */
async function missed(known: Known, image: Buffer, content: string): Promise<string | undefined> {
  const after = await isFound(audit(known, image));
  const before = await isFound(startAndAudit(image, known.files));
  if (after && before) return undefined;
  const is = dump(image);
  if (is === content) return undefined;
  const was = content.split('\n');
  const changed = is.split('\n').filter((line) => !was.includes(line));
  return `found ${JSON.stringify({ after, before })}: ${changed.join(', ').slice(0, 300)}`;
}

/** Of the bits that are tried, those whose flips are neither found nor without a meaning. */
async function tried(image: Buffer, files: SegmentFiles): Promise<[flips: number, bad: string[]]> {
  const known = started(Buffer.from(image), files);
  const content = dump(image);
  const bad: string[] = [];
  let flips = 0;
  for (let at = 0; at < image.length; at += STRIDE) {
    if (!isNearBytes(image, at)) continue;
    for (let bit = 1; bit < 256; bit *= 2, flips++) {
      const flipped = Buffer.from(image);
      flipped[at]! ^= bit;
      const problem = await missed(known, flipped, content).catch(String);
      if (problem !== undefined) bad.push(`byte ${at}, bit ${bit}: ${problem}`);
    }
  }
  known.store.index.database.close();
  return [flips, bad];
}

it('a flip of any bit is found, or means nothing', { timeout: EVERY ? 3_600_000 : 30_000 }, () =>
  withDevice(async (fixture, first) => {
    const device = await fill(fixture, first);
    const { disk } = fixture.env;
    const image = await disk.read(`${FOLDER}/index.db`);
    const size = (await disk.read(`${FOLDER}/log/00000001.seg`)).length;
    const files = { numbers: () => [1], size: () => size } as unknown as SegmentFiles;
    await startAndAudit(image, files);
    const [flips, bad] = await tried(image, files);
    expect(bad).toEqual([]);
    expect(flips).toBeGreaterThan(200);
    await device.close();
  }),
);

it('all tables are STRICT, so that SQLite tells a column of another type', () =>
  withDevice(async (fixture, device) => {
    const database = fixture.env.disk.openDatabase(`${FOLDER}/index.db`);
    const sql = "SELECT name FROM pragma_table_list WHERE name NOT LIKE 'sqlite_%' AND NOT strict";
    expect(database.prepare(sql).all()).toEqual([]);
    await device.close();
  }));
