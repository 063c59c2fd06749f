/** Damage in rows.db is noticed, by whoever reads or by the audit; the database is made anew from the log. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTAINER_RING } from '#base/names.ts';
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
import type { MemoryLog } from './testing/memory-log.ts';
import { spoilFile } from './testing/spoil.ts';

let folder: Folder;
let store: RowStore;
let log: MemoryLog;

beforeEach(async () => {
  folder = makeFolder();
  ({ store, log } = await openStore(folder));
});
afterEach(async () => {
  store.close();
  await folder.remove();
});

const names = (from = store): string[] => {
  const { items } = from.list(CONTAINER_RING, HASH, { limit: 100 });
  return items.map((item) => (typeof item === 'string' ? item : item[0]));
};
const facts = (from = store) => from.facts(CONTAINER_RING, HASH)!;

describe('damage', () => {
  const spoil = async (sql: string): Promise<void> => {
    await store.write(row('a', live(at(1))));
    await store.write(row('b', live(at(2))));
    store.close();
    spoilFile(path.join(folder.path, 'rows.db'), sql);
    ({ store } = await openStore(folder));
  };

  it.each([
    ['a listed column', "UPDATE row SET size = 11 WHERE name = x'61'", () => names()],
    ['a name', "UPDATE row SET name = x'6263' WHERE name = x'62'", () => names()],
    [
      'a state',
      "UPDATE row SET state = zeroblob(24) WHERE name = x'61'",
      () => store.changes(CONTAINER_RING, HASH, 0, 9),
    ],
    ['the totals', 'UPDATE container SET rows = 3', () => facts()],
    // A flipped bit in a record's header changes what type a column has (seed 1024).
    [
      "a state's type",
      "UPDATE row SET state = 'text' WHERE name = x'61'",
      () => store.changes(CONTAINER_RING, HASH, 0, 9),
    ],
    [
      "a listed column's type",
      "UPDATE row SET type = CAST(type AS BLOB) WHERE name = x'61'",
      () => names(),
    ],
    ["a path's type", 'UPDATE container SET path = CAST(path AS BLOB)', () => facts()],
    ["the digest's type", "UPDATE container SET digest = 'text'", () => facts()],
    ['what was reported', 'UPDATE container SET reported = 2', () => facts()],
  ])('of %s is noticed, taken out of use, and rebuilt by the next start', async (_, sql, read) => {
    await spoil(sql);
    expect(read).toThrowError(expect.objectContaining({ code: 'rows-damaged' }));
    expect(names).toThrowError(expect.objectContaining({ code: 'rows-damaged' }));
    await expect(store.write(row('c', live(at(3))))).rejects.toMatchObject({
      code: 'rows-damaged',
    });
    expect(folder.env.log.events).toContain('rows.damaged');
    store.close();
    ({ store } = await openStore(folder));
    expect(store.applied()).toBeUndefined();
    log.replayInto(store);
    expect(names()).toEqual(['a', 'b']);
    expect(store.damage).toBeUndefined();
  });

  it('of the schema itself (brief seed 1031) begins a new database, not an error for ever', async () => {
    await store.write(row('a', live(at(1))));
    store.close();
    const file = path.join(folder.path, 'rows.db');
    const db = new Database(file);
    db.pragma('wal_checkpoint(TRUNCATE)');
    db.close();
    const bytes = readFileSync(file);
    const place = bytes.indexOf('sequence INTEGER NOT NULL');
    bytes[place]! ^= 1;
    writeFileSync(file, bytes);
    ({ store } = await openStore(folder));
    expect(store.applied()).toBeUndefined();
    log.replayInto(store);
    expect(names()).toEqual(['a']);
    expect(store.damage).toBeUndefined();
  });

  it('that a report on the device is the first to meet is no error of the report (seed 12000438)', async () => {
    await spoil("UPDATE container SET digest = 'text'");
    expect(store.rowCount).toBe(0);
    expect(store.damage).toBeDefined();
  });

  it('of a cursor makes the next pull longer and no more', async () => {
    await store.write(row('a', live(at(1))));
    store.setCursor(CONTAINER_RING, HASH, 7, { incarnation: 'peer', sequence: 5 });
    const cursor = () => store.cursor(CONTAINER_RING, HASH, 7);
    expect(cursor()).toEqual({ incarnation: 'peer', sequence: 5 });
    const db = new Database(path.join(folder.path, 'rows.db'));
    db.exec('UPDATE cursor SET sequence = 7');
    db.close();
    store.close();
    ({ store } = await openStore(folder));
    expect(cursor()).toBeUndefined();
  });

  it('met while rows are applied does not fail the device, and loses nothing', async () => {
    await store.write(row('a', live(at(1), { size: 5 })));
    const db = new Database(path.join(folder.path, 'rows.db'));
    db.exec('UPDATE row SET size = 6');
    db.close();
    // What is replayed meets the damaged row.
    const replayed = { ...row('a', live(at(9))), since: 1 };
    const position = { segment: 1, offset: 1 };
    store.apply([{ row: replayed, position, writtenMs: 0 }], { segment: 1, offset: 2 });
    expect(store.damage).toBeDefined();
    expect(store.standing(row('a', live(at(1), { size: 5 })))).toBe('undecided');
    expect(await store.checkpoint()).toBe(false);
    store.apply([], { segment: 1, offset: 3 });
    store.close();
    ({ store } = await openStore(folder));
    log.replayInto(store);
    expect(names()).toEqual(['a']);
  });

  it.each([
    ['a row that is gone', "DELETE FROM row WHERE name = x'61'"],
    ['a row that is hidden', "UPDATE row SET hidden = 1 WHERE name = x'61'"],
    ['a state that no listing reads', "UPDATE row SET state = zeroblob(24) WHERE name = x'61'"],
    ['a mark that lets compaction drop records', "UPDATE row SET partial = 1 WHERE name = x'61'"],
    ['an expiry that nobody set', "UPDATE row SET expires = 9 WHERE name = x'61'"],
    ['totals that would never be reported', 'UPDATE container SET reported = 99'],
    ['how far a peer was heard', 'UPDATE cursor SET sequence = 7'],
    ['a cursor of no container', 'UPDATE cursor SET container = 77'],
  ])('is found by reading all rows again: %s', async (_, sql) => {
    await store.write(row('c', live(at(1))));
    store.setCursor(CONTAINER_RING, HASH, 7, { incarnation: 'peer', sequence: 1 });
    await spoil(sql);
    await expect(store.audit(0, 10)).rejects.toMatchObject({ code: 'rows-damaged' });
    expect(store.damage).toBeDefined();
  });

  it.each([
    ['an index that is gone', 'DROP INDEX row_by_death'],
    [
      'the table of an index that SQLite made',
      "UPDATE sqlite_schema SET tbl_name = 'kontainer' WHERE sql IS NULL AND tbl_name = 'container'",
    ],
  ])('of what the tables are made as is found, though they can be read: %s', async (_, sql) => {
    await store.write(row('a', live(at(1))));
    const db = new Database(path.join(folder.path, 'rows.db'));
    db.unsafeMode(true);
    db.pragma('writable_schema = ON');
    expect(db.prepare(sql).run()).toBeDefined();
    db.close();
    await expect(store.audit(0, 10)).rejects.toMatchObject({ code: 'rows-damaged' });
  });

  it.each([
    "UPDATE meta SET value = '7 7 0' WHERE key = 'position'",
    "DELETE FROM meta WHERE key = 'position'",
  ])('of the position in the log is found, and never skips records: %s', async (sql) => {
    await store.write(row('a', live(at(1))));
    const db = new Database(path.join(folder.path, 'rows.db'));
    db.exec(sql);
    db.close();
    await expect(store.audit(0, 10)).rejects.toMatchObject({ code: 'rows-damaged' });
    store.close();
    ({ store } = await openStore(folder));
    expect(store.applied()).toBeUndefined();
  });

  it('is not seen where there is none: every row once, in any number of steps', async () => {
    for (let i = 0; i < 40; i++) await store.write(row(`o${i}`, live(at(i))));
    const first = await store.audit(0, 15);
    expect(first).toMatchObject({ rows: 15, next: expect.any(Number) });
    let rows = first.rows;
    for (let next = first.next; next !== undefined; ) {
      const step = await store.audit(next, 15);
      rows += step.rows;
      next = step.next;
    }
    expect(rows).toBeGreaterThanOrEqual(store.rowCount);
  });

  it('rows can be gone through in pages, whole', async () => {
    for (let i = 0; i < 25; i++) {
      await store.write(row(`o${i}`, i % 3 === 0 ? tombstone(at(i)) : live(at(i))));
    }
    const names: string[] = [];
    for (let page = store.rowsAfter(undefined, 7); ; page = store.rowsAfter(page.next, 7)) {
      names.push(...page.rows.map((found) => found.name));
      if (page.next === undefined) break;
    }
    expect(new Set(names).size).toBe(25);
    expect(names).toHaveLength(25);
  });

  it('is not found where rows are written while they are read again', async () => {
    for (let i = 0; i < 50; i++) {
      await store.write(row(`o${i}`, i % 3 === 0 ? tombstone(at(i)) : live(at(i))));
    }
    for (let i = 0, next: number | undefined = 0; next !== undefined; i++) {
      ({ next } = await store.audit(next, 7));
      if (i < 10) await store.write(row(`o${i * 5}`, live(at(100 + i))));
      expect(i).toBeLessThan(30);
    }
    expect(store.damage).toBeUndefined();
    expect(names().length).toBeGreaterThan(30);
  });

  it('of the file itself begins a new database', async () => {
    await store.write(row('a', live(at(1))));
    store.close();
    await folder.env.disk.replace(path.join(folder.path, 'rows.db'), Buffer.alloc(8192, 7));
    ({ store } = await openStore(folder));
    expect(store.applied()).toBeUndefined();
    log.replayInto(store);
    expect(names()).toEqual(['a']);
  });
});
