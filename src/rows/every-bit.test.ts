/**
 * One flipped bit anywhere in rows.db: the audit finds it, or nothing that the database says has changed.
 * ANELLO_EVERY_BIT=1 goes through all of them (half a minute); otherwise a sample, the schema's page thinner.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { RowAudit } from './audit.ts';
import { saysRowsDamage } from './damage-guard.ts';
import type { RowStore } from './row-store.ts';
import {
  at,
  type Folder,
  HASH,
  live,
  makeFolder,
  openStore,
  row,
  tombstone,
} from './testing/fixture.ts';

const [SCHEMA_STRIDE, STRIDE] = process.env['ANELLO_EVERY_BIT'] === undefined ? [131, 17] : [1, 1];
const TIMEOUT_MS = 300_000;
const OTHER = Buffer.from(HASH).reverse();
const OWNER = 'a0'.repeat(16);
/** Zeros so far from anything else are free. */
const NEAR = 4;

/** Something in every table: rows that are listed, deleted, expired and forgotten, of a container and of an account. */
async function fill(store: RowStore): Promise<void> {
  for (const [n, name] of ['', 'alpha', 'beta', 'gamma'].entries()) {
    await store.write(row(name, live(at(n + 1), { owner: OWNER })));
  }
  await store.write(row('beta', tombstone(at(20))));
  const box = [OTHER, CONTAINER_RING, '/a/d'] as const;
  await store.write(row('', live(at(21)), ...box));
  await store.write(row('expired', live(at(22), { deleteAt: 99_999 }), ...box));
  await store.write(row('gone', tombstone(at(23)), ...box));
  const gone = store.changes(CONTAINER_RING, OTHER, 0, 10).filter(({ name }) => name === 'gone');
  expect(await store.forget(CONTAINER_RING, OTHER, gone)).toBe(1);
  await store.write(row('', live(at(24)), OTHER, ACCOUNT_RING, '/a'));
  await store.write(row('c', live(at(25)), OTHER, ACCOUNT_RING, '/a'));
  store.setCursor(CONTAINER_RING, HASH, 7, { incarnation: 'peer', sequence: 1 });
  store.markReported(CONTAINER_RING, HASH, 2);
}

class Flips {
  readonly #folder: Folder;
  readonly #file: string;
  readonly #store: Pick<RowStore, 'incarnation' | 'applied'>;
  readonly #image: Buffer;
  readonly #lines: string;

  constructor(folder: Folder, store: Pick<RowStore, 'incarnation' | 'applied'>) {
    this.#folder = folder;
    this.#store = store;
    this.#file = path.join(folder.path, 'flipped.db');
    this.#image = imageOf(path.join(folder.path, 'rows.db'));
    writeFileSync(this.#file, this.#image);
    this.#lines = linesOf(this.#file);
  }

  *places(): Generator<number> {
    const image = this.#image;
    const pageBytes = image.readUInt16BE(16);
    for (let place = 0; place < image.length; place += place < pageBytes ? SCHEMA_STRIDE : STRIDE) {
      const around = image.subarray(Math.max(0, place - NEAR), place + NEAR + 1);
      if (around.some((byte) => byte !== 0)) yield place;
    }
  }

  /** What another value is taken for the right one; undefined: none. */
  async harm(place: number, bit: number): Promise<string | undefined> {
    this.#image[place]! ^= 1 << bit;
    writeFileSync(this.#file, this.#image);
    this.#image[place]! ^= 1 << bit;
    if (await this.isFound()) return undefined;
    const lines = linesOf(this.#file);
    return lines === this.#lines ? undefined : `bit ${bit} of byte ${place}: ${lines}`;
  }

  async isFound(): Promise<boolean> {
    const look = () => this.#folder.env.disk.openDatabase(this.#file, { readOnly: true });
    const { incarnation } = this.#store;
    const audit = new RowAudit({
      key: 'cluster',
      verify: async () => verify(this.#file),
      checkpoint: async () => true,
      isThere: () => true,
      look,
      applied: () => this.#store.applied(),
      incarnation: () => incarnation,
      device: 'a',
    });
    try {
      const { next } = await audit.step(0, 1_000);
      expect(next).toBeUndefined();
      return false;
    } catch (error) {
      if (!saysRowsDamage(codeOf(error))) throw error;
      return true;
    }
  }
}

/** All of the database in one file. */
function imageOf(file: string): Buffer {
  const db = new Database(file);
  db.pragma('journal_mode = DELETE');
  db.close();
  return readFileSync(file);
}

/** As the worker does it (env/node/verify-worker.js), without one. */
function verify(file: string): string | undefined {
  const db = new Database(file, { readonly: true });
  try {
    const found = String(db.pragma('integrity_check(1)', { simple: true }));
    return found === 'ok' ? undefined : found;
  } catch (error) {
    return String(error);
  } finally {
    db.close();
  }
}

/** Every value of every table, with its type. */
function linesOf(file: string): string {
  const db = new Database(file, { readonly: true });
  const tables = db
    .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .pluck()
    .all();
  const all = ['sqlite_schema', ...tables].flatMap((table) =>
    db.prepare<[], unknown[]>(`SELECT * FROM ${table}`).raw().all(),
  );
  db.close();
  return JSON.stringify(all);
}

it('every flipped bit in rows.db is found by the audit, or changes nothing', {
  timeout: TIMEOUT_MS,
}, async () => {
  const folder = makeFolder();
  const { store } = await openStore(folder);
  await fill(store);
  const { incarnation } = store;
  const applied = store.applied();
  store.close();
  const flips = new Flips(folder, { incarnation, applied: () => applied });
  expect(await flips.isFound()).toBe(false);
  const harms: string[] = [];
  let count = 0;
  for (const place of flips.places()) {
    for (let bit = 0; bit < 8; bit++, count++) {
      const harm = await flips.harm(place, bit);
      if (harm !== undefined) harms.push(harm);
    }
  }
  expect(count).toBeGreaterThan(1_000);
  expect(harms).toEqual([]);
  await folder.remove();
});
