import { expect, it } from 'vitest';
import type { ListedObject, Operation, Store } from './contract.ts';
import { RowCursor } from './row-cursor.ts';

const NAME = { account: 'a', container: 'c' };
const FOLDERS = 30;
const FILES = 300;
const PAGE = 1000;

/** Folders of files, and how many rows were read of them. */
function shelf() {
  const names = Array.from(
    { length: FOLDERS * FILES },
    (_, i) => `${1000 + Math.floor(i / FILES)}/${1000 + (i % FILES)}`,
  );
  const shelf = { read: 0 };
  const listObjects = async (
    _: Operation,
    __: unknown,
    query: { limit: number; marker?: string },
  ) => {
    const from = query.marker === undefined ? 0 : names.filter((n) => n <= query.marker!).length;
    const items = names.slice(from, from + query.limit).map((name) => ({ name }) as ListedObject);
    shelf.read += items.length;
    return { items, truncated: from + items.length < names.length };
  };
  const store = { listObjects } as unknown as Store;
  return { shelf, cursor: new RowCursor(store, {} as Operation, NAME, '', PAGE) };
}

it('reads a few rows of each folder that it leaps over', async () => {
  const { shelf: rows, cursor } = shelf();
  const seen: string[] = [];
  for (let row = await cursor.head(); row !== undefined; row = await cursor.head()) {
    seen.push(row.name);
    cursor.leap(`${row.name.split('/')[0]}/\u{10ffff}`);
  }
  expect(seen).toHaveLength(FOLDERS);
  expect(rows.read).toBeLessThan(PAGE + 8 * FOLDERS);
});

it('gives every row once, in pages that grow again', async () => {
  const { shelf: rows, cursor } = shelf();
  cursor.leap('1000/1000');
  let count = 0;
  for (; (await cursor.head()) !== undefined; cursor.next()) count += 1;
  expect(count).toBe(FOLDERS * FILES - 1);
  expect(rows.read).toBe(count);
});
