/** A flipped bit in the tree of rows: SQLite takes most of them as they are, and may find another row than was asked for. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { saysRowsDamage } from './damage-guard.ts';
import { RowTable } from './row-table.ts';
import { at, live, makeFolder, openStore, row } from './testing/fixture.ts';

const NAMES = ['', 'key0', 'key1', 'key2'];
/** The first container's number. */
const CONTAINER = 1;

it('a row is never told for that of another name (simulator, seed 12005906)', async () => {
  const folder = makeFolder();
  const { store } = await openStore(folder);
  for (const [n, name] of NAMES.entries()) await store.write(row(name, live(at(n + 1))));
  store.close();
  const { image, page } = pageOfRows(path.join(folder.path, 'rows.db'));
  const file = path.join(folder.path, 'flipped.db');
  let [right, damaged] = [0, 0];
  for (let bit = 8 * page.from; bit < 8 * page.to; bit++) {
    const byte = bit >> 3;
    if (image[byte] === 0) continue; // what is used of the page, and fewer of it
    image[byte]! ^= 1 << (bit & 7);
    writeFileSync(file, image);
    image[byte]! ^= 1 << (bit & 7);
    const db = folder.env.disk.openDatabase(file);
    for (const name of NAMES) {
      try {
        const found = new RowTable(db).find(CONTAINER, Buffer.from(name));
        // A row that is hidden is for the audit to find (audit.ts), and for R replicas to know.
        expect(found?.name ?? name).toBe(name);
        right++;
      } catch (error) {
        if (!saysRowsDamage(codeOf(error))) throw error;
        damaged++;
      }
    }
    db.close();
  }
  expect(right).toBeGreaterThan(damaged);
  expect(damaged).toBeGreaterThan(0);
  await folder.remove();
});

/** All of the database in one file, and where the tree of `row` stands: it is one page. */
function pageOfRows(file: string) {
  const db = new Database(file);
  db.pragma('journal_mode = DELETE');
  const root = db
    .prepare<[], number>("SELECT rootpage FROM sqlite_schema WHERE name = 'row'")
    .pluck()
    .get()!;
  db.close();
  const image = readFileSync(file);
  const bytes = image.readUInt16BE(16);
  return { image, page: { from: (root - 1) * bytes, to: root * bytes } };
}
