/** Listings against a model that filters and rolls up a sorted array, on a real database. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONTAINER_RING } from '#base/names.ts';
import { cutPage } from './listing.ts';
import type { Listing, ListQuery } from './query.ts';
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

let folder: Folder;
let store: RowStore;

beforeAll(async () => {
  folder = makeFolder();
  ({ store } = await openStore(folder));
});
afterAll(async () => {
  store.close();
  await folder.remove();
});

const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** What a listing must be, written the slow way. */
function model(
  names: readonly string[],
  query: ListQuery,
): { items: string[]; truncated: boolean } {
  const {
    prefix = '',
    delimiter = '',
    marker = '',
    endMarker = '',
    reverse = false,
    limit,
  } = query;
  const [after, before] = reverse ? [endMarker, marker] : [marker, endMarker];
  const inRange = names.filter(
    (name) =>
      name.startsWith(prefix) &&
      (after === '' || compare(name, after) > 0) &&
      (before === '' || compare(name, before) < 0),
  );
  inRange.sort(compare);
  if (reverse) inRange.reverse();
  const items: string[] = [];
  for (const name of inRange) {
    const at = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length);
    const item = at < 0 ? `row ${name}` : `prefix ${name.slice(0, at + delimiter.length)}`;
    if (item !== `prefix ${marker}` && items.at(-1) !== item) items.push(item);
  }
  return { items: items.slice(0, limit), truncated: limit > 0 && items.length > limit };
}

function shown(listing: Listing): { items: string[]; truncated: boolean } {
  const items = listing.items.map((item) =>
    typeof item === 'string' ? `prefix ${item}` : `row ${item[0]}`,
  );
  return { items, truncated: listing.truncated };
}

const text = (min: number, max: number) =>
  fc
    .array(
      fc.constantFrom(
        'a',
        'b',
        '/',
        '//',
        '-',
        '\0',
        '\u007f',
        'é',
        '\uffff',
        '\ue000',
        '😀',
        '𐀀',
        '~',
      ),
      {
        minLength: min,
        maxLength: max,
      },
    )
    .map((units) => units.join(''));

const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

describe('listing', () => {
  let run = 0;

  it('equals the model for any names and any question', async () => {
    const names = fc.uniqueArray(text(1, 6), { maxLength: 60 });
    const query = fc.record({
      limit: fc.integer({ min: 0, max: 40 }),
      prefix: maybe(text(0, 3)),
      delimiter: maybe(text(0, 2)),
      marker: maybe(text(0, 4)),
      endMarker: maybe(text(0, 4)),
      reverse: maybe(fc.boolean()),
    });
    const property = fc.asyncProperty(
      names,
      fc.array(fc.boolean(), { maxLength: 60 }),
      fc.array(query, { minLength: 20, maxLength: 20 }),
      async (all, deleted, queries) => {
        const hash = Buffer.alloc(16);
        hash.writeUInt32BE(run++);
        await Promise.all(all.map((name) => store.write(row(name, live(at(1)), hash))));
        const gone = all.filter((_, i) => deleted[i]);
        await Promise.all(gone.map((name) => store.write(row(name, tombstone(at(2)), hash))));
        const left = all.filter((_, i) => !deleted[i]);
        for (const item of queries) {
          expect(shown(store.list(CONTAINER_RING, hash, item))).toEqual(model(left, item));
        }
        expect(store.facts(CONTAINER_RING, hash)?.totals.rows ?? 0).toBe(left.length);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });

  it('visits every name exactly once over pages of any size, with a delimiter too', async () => {
    const all = Array.from({ length: 200 }, (_, i) => `${'abc'[i % 3]}/${i % 7}/${i}`);
    await Promise.all(all.map((name) => store.write(row(name, live(at(1))))));
    for (const delimiter of [undefined, '/', '/1']) {
      for (const limit of [1, 3, 7, 199, 200]) {
        for (const reverse of [false, true]) {
          const pages: string[] = [];
          let marker: string | undefined;
          for (;;) {
            const page = store.list(CONTAINER_RING, HASH, { limit, delimiter, reverse, marker });
            pages.push(...shown(page).items);
            if (!page.truncated) break;
            const last = page.items.at(-1)!;
            marker = typeof last === 'string' ? last : last[0];
          }
          expect(pages).toEqual(model(all, { limit: 1000, delimiter, reverse }).items);
        }
      }
    }
  });

  it('cuts a page that is larger than allowed', () => {
    expect(store.list(CONTAINER_RING, HASH, { limit: 1e9 }).items.length).toBe(200);
    expect(store.list(CONTAINER_RING, HASH, { limit: -1 }).items.length).toBe(0);
  });

  it('is cut where one message could not carry it, and never to nothing', () => {
    const name = '€'.repeat(300);
    const items = Array.from(
      { length: 10 },
      (_, i) => [`${i}${name}`, 1, 2, 'etag', 'type', 0] as const,
    );
    const page = { items, truncated: false };
    expect(cutPage(page)).toBe(page);
    expect(cutPage(page, 10_000)).toBe(page);
    expect(cutPage(page, 5000)).toEqual({ items: items.slice(0, 5), truncated: true });
    expect(cutPage(page, 10)).toEqual({ items: items.slice(0, 1), truncated: true });
    expect(cutPage({ items: ['a/', 'b/'], truncated: true }, 100).items).toEqual(['a/']);
  });

  it('is empty for a container that nobody has heard of', () => {
    const listing = store.list(CONTAINER_RING, Buffer.alloc(16, 9), { limit: 10 });
    expect(listing).toEqual({ items: [], truncated: false });
  });
});
