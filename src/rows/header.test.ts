/**
 * A flipped byte in a header of rows.db: of the file (SQLite calls it read-only, of a future format, or its statements
 * wrong), or of one of its pages, also those that a start looks at first.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
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

/** Flips bits at these places, one after the other; each time the rows are there at once, or at the next start. */
async function flipEach(
  places: (image: Buffer) => Iterable<readonly [number, number]>,
): Promise<void> {
  const folder = makeFolder();
  const file = path.join(folder.path, 'rows.db');
  let { store } = await openStore(folder);
  let wasDamaged = false;
  await use(store, 0);
  store.close();
  for (const [place, bits] of places(readFileSync(file))) {
    const image = readFileSync(file);
    image[place]! ^= bits;
    writeFileSync(file, image);
    ({ store } = await openStore(folder));
    const told = await use(store, place).catch(codeOf);
    if (told !== 1) {
      expect(told).toBe('rows-damaged');
      wasDamaged = true;
      store.close();
      ({ store } = await openStore(folder));
      expect(await use(store, place)).toBe(1);
    }
    store.close();
  }
  expect(wasDamaged).toBe(true);
  await folder.remove();
}

describe('a flipped byte begins a new database, at once or at the next start, or harms nothing', () => {
  it('in the header of the file', () =>
    flipEach(function* () {
      for (let place = 0; place < HEADER_BYTES; place++)
        for (const bits of [1, 4, 0x80]) yield [place, bits];
    }));

  it("in a page's", () =>
    flipEach(function* (image) {
      const pageBytes = image.readUInt16BE(16);
      for (let page = pageBytes; page < image.length; page += pageBytes)
        for (const place of [0, 3, 6]) yield [page + place, 4];
    }));
});
