/** A flipped byte in the header of rows.db: SQLite calls the file read-only, of a future format, or its statements wrong. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { CONTAINER_RING } from '#base/names.ts';
import type { RowStore } from './row-store.ts';
import { at, HASH, live, makeFolder, openStore, row } from './testing/fixture.ts';

const HEADER_BYTES = 100;

/** Gives how many rows are listed. */
async function use(store: RowStore, place: number): Promise<number> {
  await store.write(row('a', live(at(place + 1))));
  return store.list(CONTAINER_RING, HASH, { limit: 9 }).items.length;
}

it('begins a new database, at once or at the next start, or harms nothing', async () => {
  const folder = makeFolder();
  const file = path.join(folder.path, 'rows.db');
  let { store } = await openStore(folder);
  let wasDamaged = false;
  for (let place = 0; place < HEADER_BYTES; place++) {
    for (const bits of [1, 4, 0x80]) {
      store.close();
      const image = readFileSync(file);
      image[place]! ^= bits;
      writeFileSync(file, image);
      ({ store } = await openStore(folder));
      const told = await use(store, place).catch(codeOf);
      if (told === 1) continue;
      expect(told).toBe('rows-damaged');
      wasDamaged = true;
      store.close();
      ({ store } = await openStore(folder));
      expect(await use(store, place)).toBe(1);
    }
  }
  expect(wasDamaged).toBe(true);
  store.close();
  await folder.remove();
});
