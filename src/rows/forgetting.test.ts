/** Rows that are forgotten, and the marks that keep the log from bringing them back. */
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
  START_SECONDS,
  tombstone,
} from './testing/fixture.ts';
import type { MemoryLog } from './testing/memory-log.ts';

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

const facts = (of = store) => of.facts(CONTAINER_RING, HASH);
const read = (name: string, of = store) => of.read(CONTAINER_RING, HASH, name);
const rows = (of = store) => of.changes(CONTAINER_RING, HASH, 0, 100);
const forget = (names: readonly string[]) =>
  store.forget(
    CONTAINER_RING,
    HASH,
    rows().filter(({ name }) => names.includes(name)),
  );
const standings = (of = store) => log.records.map((record) => of.standing(record.row));

async function rebuilt(): Promise<RowStore> {
  const again = await openStore(folder, `rebuilt-${log.records.length}.db`);
  log.replayInto(again.store);
  return again.store;
}

describe('forgetting rows', () => {
  it('leaves nothing of them in digest, totals, listings and what peers are told', async () => {
    await store.write(row('', live(at(1))));
    await store.write(row('keep', live(at(2))));
    const before = facts()!;
    await store.write(row('gone', live(at(3), { size: 77 })));
    await store.write(row('dead', tombstone(at(4))));
    expect(await forget(['gone', 'dead'])).toBe(2);
    const { sequence, newest } = facts()!;
    expect(facts()).toEqual({ ...before, sequence, newest });
    expect(rows().map(({ name }) => name)).toEqual(['', 'keep']);
    expect(read('gone')).toBeUndefined();
    expect(store.summarise(CONTAINER_RING, 0, 2 ** 20, 1)[0]!.sum).toEqual(before.digest);
    // A peer that had taken in everything is told nothing twice.
    expect(store.changes(CONTAINER_RING, HASH, sequence, 100)).toEqual([]);
  });

  it('of a live row makes the next pull begin anew, of a tombstone not (simulator, seed 52310)', async () => {
    await store.write(row('a', live(at(1))));
    await store.write(row('b', tombstone(at(2))));
    store.setCursor(CONTAINER_RING, HASH, 7, { incarnation: 'peer', sequence: 5 });
    await forget(['b']);
    expect(store.cursor(CONTAINER_RING, HASH, 7)?.sequence).toBe(5);
    await forget(['a']);
    expect(store.cursor(CONTAINER_RING, HASH, 7)).toBeUndefined();
  });

  it('is what a rebuild does again', async () => {
    await store.write(row('a', live(at(1))));
    await store.write(row('b', live(at(2))));
    await forget(['a']);
    const again = await rebuilt();
    expect(read('a', again)).toBeUndefined();
    expect(facts(again)!.digest).toEqual(facts()!.digest);
    expect(again.tombstones(Number.MAX_SAFE_INTEGER, undefined, 10)).toEqual([]);
    again.close();
  });

  it('drops only what is still as it was', async () => {
    await store.write(row('a', tombstone(at(1))));
    await store.write(row('b', tombstone(at(2))));
    const seen = rows();
    await store.write(row('a', live(at(3))));
    log.held = true;
    const written = store.write(row('b', live(at(4))));
    expect(await store.forget(CONTAINER_RING, HASH, seen)).toBe(0);
    log.release();
    await written;
    expect(rows().map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('takes the own state last', async () => {
    await store.write(row('', tombstone(at(1))));
    await store.write(row('a', tombstone(at(2))));
    expect(await forget(['', 'a'])).toBe(1);
    expect(read('')).toBeDefined();
    expect(await forget([''])).toBe(1);
    expect(facts()!.total).toBe(0);
    expect(store.containers(CONTAINER_RING, Buffer.alloc(16), undefined, 10)).toEqual([]);
  });

  it('lets the name begin anew, also while it is under way', async () => {
    await store.write(row('a', tombstone(at(9))));
    log.held = true;
    const forgotten = forget(['a']);
    expect(read('a')).toBeUndefined();
    const written = store.write(row('a', live(at(20), { size: 5 })));
    log.release();
    expect(await forgotten).toBe(1);
    expect(await written).toMatchObject({ outcome: 'stored' });
    expect(facts()).toMatchObject({ total: 1, totals: { rows: 1, bytes: 5 } });
    const again = await rebuilt();
    expect(read('a', again)).toEqual(read('a'));
    again.close();
  });

  it('that failed leaves the row', async () => {
    await store.write(row('a', tombstone(at(1))));
    log.failure = new Error('disk full');
    await expect(forget(['a'])).rejects.toThrow('disk full');
    expect(read('a')).toBeDefined();
    expect(await forget(['a'])).toBe(1);
  });
});

describe('compaction, asked about forgotten rows,', () => {
  it('drops their records and keeps what forgets them', async () => {
    await store.write(row('a', live(at(1))));
    await store.write(row('a', tombstone(at(2))));
    await forget(['a']);
    expect(standings()).toEqual(['dead', 'dead', 'needed']);
    const again = await rebuilt();
    expect(standings(again)).toEqual(['dead', 'dead', 'needed']);
    again.close();
  });

  it('lets them lie where they are while one is being forgotten', async () => {
    await store.write(row('a', tombstone(at(2))));
    log.held = true;
    const forgotten = forget(['a']);
    expect(standings()).toEqual(['undecided']);
    log.release();
    await forgotten;
    // What forgets must not come behind what comes back.
    log.held = true;
    const written = store.write(row('a', live(at(5))));
    expect(standings()).toEqual(['dead', 'undecided']);
    log.release();
    await written;
    expect(standings()).toEqual(['dead', 'dead', 'needed']);
  });

  it('keeps the record of a row that the database never mentions', async () => {
    await store.write(row('a', live(at(1))));
    expect(store.standing(row('vanished', live(at(1))))).toBe('needed');
    expect(store.standing({ ...row('vanished', live(at(1))), forgets: 1 })).toBe('dead');
  });

  it('is asked no more when the segments are gone that could bring them back', async () => {
    await store.write(row('', tombstone(at(1))));
    log.segment = 2;
    await store.write(row('a', tombstone(at(2))));
    log.segment = 4;
    await forget(['a']);
    await forget(['']);
    const { sequence } = facts()!;
    store.noSegments(2, 9); // segment 2 is still there, and 4 is not
    expect(standings()).toEqual(['dead', 'dead', 'needed', 'needed']);
    store.noSegments(1, 5);
    expect(standings().slice(2)).toEqual(['dead', 'needed']);
    store.noSegments(0, 5);
    expect(facts()).toBeUndefined();
    // Made again, the container goes on above: a peer's cursor would else hide its rows.
    await store.write(row('b', live(at(9))));
    expect(facts()!.sequence).toBe(sequence + 1);
    store.close();
    ({ store, log } = await openStore(folder));
    expect(facts()!.sequence).toBe(sequence + 1);
  });

  it('finds marks among what is to be written again', async () => {
    log.segment = 3;
    await store.write(row('a', live(at(1))));
    await forget(['a']);
    await store.write(row('b', live(at(2))));
    const page = store.rowsAfter(undefined, 10).rows;
    expect(page.map(({ name, since, forgets }) => [name, since, forgets])).toEqual([
      ['b', 3, undefined],
      ['a', 3, 3],
    ]);
  });
});

describe('tombstones', () => {
  const died = (beforeMs: number) =>
    store.tombstones(beforeMs, undefined, 100).map(({ name }) => name);

  it('are known by when they were stored here, not by when they were made', async () => {
    log.wallMs = 1000;
    await store.write(row('a', tombstone(at(5))));
    await store.write(row('live', live(at(5))));
    log.wallMs = 2000;
    await store.write(row('b', { data: { ...live(at(1)).data!, kind: 'gone' }, groups: {} }));
    await store.write(row('x', live(at(1), { deleteAt: START_SECONDS + 1 })));
    expect(died(1000)).toEqual([]);
    expect(died(2000)).toEqual(['a']);
    expect(died(2001)).toEqual(['a', 'b']);
    log.wallMs = 3000;
    await store.write(row('a', tombstone(at(6))));
    expect(died(2001)).toEqual(['b']);
    await store.write(row('b', live(at(7))));
    expect(died(9000)).toEqual(['a']);
  });

  it('are also rows of expired versions, until a later expiry gives them back', async () => {
    log.wallMs = 1000;
    const deleteAt = START_SECONDS + 1;
    const alive = live(at(1), { deleteAt });
    await store.write(row('x', alive));
    expect(died(9000)).toEqual([]); // its delete-at may pass: only what the objects say ends it
    const expiredSource = alive.data!.timestamp;
    const expired = {
      data: { ...alive.data!, kind: 'expired' as const, expiredSource },
      groups: {},
    };
    log.wallMs = 2000;
    await store.write(row('x', expired));
    expect(died(9000)).toEqual(['x']);
    await store.write(row('x', { groups: { system: { timestamp: at(3), values: {} } } }));
    expect(died(9000)).toEqual([]);
  });

  it('are walked in pages', async () => {
    const names = Array.from({ length: 25 }, (_, i) => `o${String(i).padStart(2, '0')}`);
    for (const name of names) await store.write(row(name, tombstone(at(1))));
    const found: string[] = [];
    for (let place = undefined as never, more = true; more; ) {
      const page = store.tombstones(1, place, 10);
      found.push(...page.map(({ name }) => name));
      more = page.length === 10;
      place = page.at(-1)?.place as never;
    }
    expect(found).toEqual(names);
  });
});
