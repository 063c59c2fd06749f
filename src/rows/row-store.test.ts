import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { LINK_ROLE } from './query.ts';
import { checksumCode } from './row-checksum.ts';
import { containerRowOf } from './row-state.ts';
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

const names = (from = store): string[] => {
  const { items } = from.list(CONTAINER_RING, HASH, { limit: 100 });
  return items.map((item) => (typeof item === 'string' ? item : item[0]));
};
const facts = (from = store) => from.facts(CONTAINER_RING, HASH)!;

describe('writing rows', () => {
  it('lists a row with what its object shows', async () => {
    const result = await store.write(
      row('photo', live(at(5), { size: 77, etag: 'e', contentType: 'image/png' })),
    );
    expect(result).toEqual({ outcome: 'stored', newest: at(5) });
    const { items } = store.list(CONTAINER_RING, HASH, { limit: 10 });
    expect(items).toEqual([['photo', START_SECONDS * 1e6 + 5, 77, 'e', 'image/png', 0]]);
    expect(facts().totals).toEqual({ rows: 1, bytes: 77, objects: 0 });
  });

  it('tells checksums to who asks for them, beside rows that were written without', async () => {
    await store.write(row('a', live(at(1))));
    await store.write(
      row('b', live(at(2), { checksums: { crc64nvme: '' }, owner: 'a0'.repeat(16) })),
    );
    await store.write(row('c', live(at(3), { checksums: { sha256: '-' }, versionId: 'v' })));
    // Nobody knows it: the whole state is kept, and the listing tells nothing.
    await store.write(row('d', live(at(4), { checksums: { md7: 'AAAA' } })));
    const extras = (checksums: boolean) =>
      store.list(CONTAINER_RING, HASH, { limit: 10, checksums }).items.map((item) => item[5]);
    const codes = [0, checksumCode({ crc64nvme: '' }), checksumCode({ sha256: '-' }), 0];
    expect(extras(true)).toEqual([0, 4 * codes[1]!, 4 * codes[2]! + LINK_ROLE, 0]);
    expect(extras(false)).toEqual([0, 0, LINK_ROLE, 0]);
    const { state } = store.changes(CONTAINER_RING, HASH, 0, 10).find(({ name }) => name === 'd')!;
    expect(state.data?.checksums).toEqual({ md7: 'AAAA' });
  });

  it.each(['1.5', '1e300', 'soon', '-1e300'])(
    'takes whatever delete-at somebody told it: %s',
    async (text) => {
      const values = { 'delete-at': text };
      const groups = { system: { timestamp: at(2), values } };
      await store.write(row('o', { ...live(at(1)), groups }));
      const expired = Number(text) < START_SECONDS;
      expect(names()).toEqual(expired ? [] : ['o']);
    },
  );

  it('says that an older write is superseded, and keeps the newer', async () => {
    await store.write(row('o', live(at(9), { size: 9 })));
    expect(await store.write(row('o', live(at(5), { size: 5 })))).toEqual({
      outcome: 'superseded',
      newest: at(9),
    });
    expect(facts().totals.bytes).toBe(9);
    expect(facts().sequence).toBe(1);
  });

  it('acknowledges the same write again without a new record', async () => {
    await store.write(row('o', live(at(9))));
    expect(await store.write(row('o', live(at(9))))).toEqual({ outcome: 'stored', newest: at(9) });
    expect(log.records.length).toBe(1);
  });

  it('does not acknowledge a repeated write before the first is durable', async () => {
    log.held = true;
    const first = store.write(row('o', live(at(9))));
    let answered = false;
    const second = store.write(row('o', live(at(9)))).then((result) => {
      answered = true;
      return result;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    log.release();
    expect((await first).outcome).toBe('stored');
    expect((await second).outcome).toBe('stored');
  });

  it('joins rows that are committed in one group', async () => {
    log.held = true;
    const writes = [
      live(at(3), { size: 3 }),
      live(at(7), { size: 7 }),
      live(at(5), { size: 5 }),
      tombstone(at(6)),
    ];
    const results = writes.map((state) => store.write(row('o', state)));
    expect(store.read(CONTAINER_RING, HASH, 'o')?.data?.size).toBe(7);
    expect(store.hasLiveRow(CONTAINER_RING, HASH)).toBe(true);
    log.release();
    expect((await Promise.all(results)).map((result) => result.outcome)).toEqual([
      'stored',
      'stored',
      'superseded',
      'superseded',
    ]);
    expect(facts().totals).toEqual({ rows: 1, bytes: 7, objects: 0 });
    expect(log.records.length).toBe(2);
  });

  it('fails the write when the log fails, and goes on when it recovers', async () => {
    log.failure = new Error('no room');
    await expect(store.write(row('o', live(at(3))))).rejects.toThrow('no room');
    expect(store.read(CONTAINER_RING, HASH, 'o')).toBeUndefined();
    expect(store.hasLiveRow(CONTAINER_RING, HASH)).toBe(false);
    await store.write(row('o', live(at(4))));
    expect(names()).toEqual(['o']);
  });
});

describe('deleted and expired rows', () => {
  it('takes a deleted row out of listing and totals, and keeps its tombstone', async () => {
    await store.write(row('o', live(at(3))));
    await store.write(row('o', tombstone(at(5))));
    expect(names()).toEqual([]);
    expect(facts()).toMatchObject({ totals: { rows: 0, bytes: 0 }, total: 1 });
    expect((await store.write(row('o', live(at(4))))).outcome).toBe('superseded');
    expect(names()).toEqual([]);
    await store.write(row('o', live(at(6))));
    expect(names()).toEqual(['o']);
  });

  it('does not list an object past its delete-at, also after a restart', async () => {
    await store.write(row('soon', live(at(1), { deleteAt: START_SECONDS + 10, size: 4 })));
    await store.write(row('later', live(at(2), { deleteAt: START_SECONDS + 20, size: 5 })));
    const digest = facts().digest;
    expect(names()).toEqual(['later', 'soon']);
    folder.env.clock.seconds += 10;
    expect(names()).toEqual(['later']);
    expect(facts()).toMatchObject({ totals: { rows: 1, bytes: 5 }, sequence: 2, digest });
    store.close();
    ({ store } = await openStore(folder));
    folder.env.clock.seconds += 10;
    expect(names()).toEqual([]);
    expect(facts()).toMatchObject({ totals: { rows: 0, bytes: 0 }, total: 2, digest });
  });

  it('lists an expired object again when a post had moved its expiry', async () => {
    await store.write(row('o', live(at(1), { deleteAt: START_SECONDS + 10 })));
    folder.env.clock.seconds += 11;
    expect(names()).toEqual([]);
    const state = live(at(1), { deleteAt: START_SECONDS + 10 });
    await store.write(row('o', { ...state, groups: { system: { timestamp: at(2), values: {} } } }));
    expect(names()).toEqual(['o']);
    expect(facts().totals.rows).toBe(1);
  });

  it('counts right when a row expires while a newer version is on its way', async () => {
    await store.write(row('o', live(at(1), { deleteAt: START_SECONDS + 10, size: 4 })));
    log.held = true;
    const newer = store.write(row('o', live(at(2), { size: 6 })));
    folder.env.clock.seconds += 11;
    expect(names()).toEqual([]);
    log.release();
    await newer;
    expect(facts().totals).toEqual({ rows: 1, bytes: 6, objects: 0 });
  });
});

describe('the own state of a container', () => {
  it('is a row without a name that is never listed or counted', async () => {
    await store.write(
      row('', { ...live(at(1)), groups: { 'h:x': { timestamp: at(1), values: { x: '1' } } } }),
    );
    await store.write(row('', { groups: { 'h:y': { timestamp: at(2), values: { y: '2' } } } }));
    const own = store.read(CONTAINER_RING, HASH, '');
    expect(Object.keys(own!.groups)).toEqual(['h:x', 'h:y']);
    expect(names()).toEqual([]);
    expect(facts()).toMatchObject({ totals: { rows: 0 }, total: 1, path: '/a/c' });
  });
});

describe('rows of an account', () => {
  const account = Buffer.alloc(16, 3);
  const put = (state: Parameters<typeof row>[1]) =>
    store.write(row('c', state, account, ACCOUNT_RING, '/a'));
  const slot = (device: number, objects: number, bytes: number, newest: number) => ({
    device,
    objects,
    bytes,
    newest: at(newest),
  });

  it('shows the slot with the newest row, and sums what is shown', async () => {
    await put(containerRowOf(live(at(1)), slot(1, 5, 50, 20), at(30)));
    await put(containerRowOf(live(at(1)), slot(2, 6, 60, 21), at(29)));
    const { items } = store.list(ACCOUNT_RING, account, { limit: 10 });
    expect(items).toEqual([['c', START_SECONDS * 1e6 + 1, 60, '', '', 6]]);
    expect(store.facts(ACCOUNT_RING, account)?.totals).toEqual({ rows: 1, bytes: 60, objects: 6 });
    await put(containerRowOf(live(at(1)), slot(1, 7, 70, 22), at(31)));
    expect(store.facts(ACCOUNT_RING, account)?.totals).toEqual({ rows: 1, bytes: 70, objects: 7 });
  });

  it('does not call the write of a container superseded by a report of totals', async () => {
    await put(containerRowOf(live(at(1)), slot(1, 5, 50, 20), at(30)));
    expect(await put(tombstone(at(25)))).toEqual({ outcome: 'stored', newest: at(25) });
  });

  it('lists a deleted container again when a late row is reported', async () => {
    await put(containerRowOf(live(at(1)), slot(1, 0, 0, 1), at(2)));
    await put(tombstone(at(5)));
    expect(store.facts(ACCOUNT_RING, account)?.totals.rows).toBe(0);
    await put(containerRowOf(tombstone(at(5)), slot(1, 1, 10, 4), at(8)));
    expect(store.facts(ACCOUNT_RING, account)?.totals).toEqual({ rows: 1, bytes: 10, objects: 1 });
  });
});

describe('digest, sequence and changes', () => {
  it('gives equal digests for equal rows in any order of arrival', async () => {
    const other = await openStore(folder, 'other.db');
    const rows = [
      row('a', live(at(1))),
      row('a', live(at(4))),
      row('b', tombstone(at(2))),
      row('', live(at(3))),
      row('c', {
        ...live(at(5)),
        groups: { system: { timestamp: at(6), values: { 'content-type': 'x/y' } } },
      }),
    ];
    for (const item of rows) await store.write(item);
    for (const item of rows.toReversed()) await other.store.write(item);
    expect(facts(other.store).digest).toEqual(facts().digest);
    expect(facts(other.store).totals).toEqual(facts().totals);
    await other.store.write(row('d', live(at(9))));
    expect(facts(other.store).digest).not.toEqual(facts().digest);
    other.store.close();
  });

  it('gives what changed since a sequence, each row once, in commit order', async () => {
    for (const [i, name] of ['a', 'b', 'c', 'a'].entries())
      await store.write(row(name, live(at(i + 1))));
    const changes = store.changes(CONTAINER_RING, HASH, 1, 10);
    expect(changes.map(({ name, sequence }) => [name, sequence])).toEqual([
      ['b', 2],
      ['c', 3],
      ['a', 4],
    ]);
    expect(changes[2]?.state).toEqual(live(at(4)));
    expect(store.changes(CONTAINER_RING, HASH, 1, 1).map((change) => change.name)).toEqual(['b']);
  });

  it('remembers until where totals were reported, and what changed after', async () => {
    await store.write(row('a', live(at(1))));
    expect(store.unreported(CONTAINER_RING, undefined, 10).map((item) => item.path)).toEqual([
      '/a/c',
    ]);
    store.markReported(CONTAINER_RING, HASH, 1);
    expect(store.unreported(CONTAINER_RING, undefined, 10)).toEqual([]);
    await store.write(row('b', live(at(2))));
    expect(store.unreported(CONTAINER_RING, undefined, 10).length).toBe(1);
  });
});

describe('restart and loss', () => {
  const fill = async (): Promise<void> => {
    for (let i = 0; i < 30; i++)
      await store.write(
        row(`o${i % 12}`, i % 5 === 4 ? tombstone(at(i)) : live(at(i), { size: i })),
      );
    await store.write(row('', live(at(50))));
  };

  it('changes nothing when rows that were applied are replayed', async () => {
    await fill();
    const before = facts();
    store.apply(log.records.slice(3, 20), { segment: 1, offset: 31 });
    store.apply(log.records, { segment: 1, offset: 31 });
    expect(facts()).toEqual(before);
  });

  it('goes on after a restart where it was', async () => {
    await fill();
    const before = facts();
    const { incarnation } = store;
    store.close();
    ({ store, log } = await openStore(folder));
    expect(store.applied()).toEqual({ segment: 1, offset: 31 });
    expect(store.incarnation).toBe(incarnation);
    expect(facts()).toEqual(before);
    await store.write(row('new', live(at(60))));
    expect(facts().sequence).toBe(before.sequence + 1);
  });

  it('rebuilds a lost database from the log, with a new incarnation', async () => {
    await fill();
    const rebuilt = await openStore(folder, 'rebuilt.db');
    expect(rebuilt.store.applied()).toBeUndefined();
    log.replayInto(rebuilt.store);
    expect(facts(rebuilt.store)).toEqual(facts());
    expect(names(rebuilt.store)).toEqual(names());
    expect(rebuilt.store.incarnation).not.toBe(store.incarnation);
    rebuilt.store.close();
  });

  it('does not use the database of another incarnation of the device', async () => {
    await fill();
    store.close();
    ({ store, log } = await openStore(folder, 'rows.db', 'another'));
    expect(store.applied()).toBeUndefined();
    expect(store.facts(CONTAINER_RING, HASH)).toBeUndefined();
  });

  it('knows which records compaction must keep', async () => {
    await store.write(row('a', live(at(1))));
    await store.write(row('a', { groups: { system: { timestamp: at(2), values: {} } } }));
    await store.write(row('b', tombstone(at(3))));
    expect(log.records.map((record) => store.standing(record.row))).toEqual([
      'dead',
      'needed',
      'needed',
    ]);
  });
});

describe('rows that are durable and wait for the database', () => {
  beforeEach(() => {
    log.lazy = true;
  });

  it('are there for every look, in the order of their commits', async () => {
    await store.write(row('a', live(at(1), { size: 1 })));
    await store.write(row('b', live(at(2), { size: 2 })));
    await store.write(row('a', live(at(3), { size: 3 })));
    expect(store.applied()).toBeUndefined();
    expect(store.read(CONTAINER_RING, HASH, 'a')?.data?.size).toBe(3);
    expect(store.applied()).toBeUndefined();
    expect(names()).toEqual(['a', 'b']);
    expect(store.applied()).toEqual({ segment: 1, offset: 3 });
    expect(facts()).toMatchObject({ sequence: 3, totals: { rows: 2, bytes: 5 } });
  });

  it('are joined by the next write of the row', async () => {
    const group = (n: number) => ({ groups: { [`g${n}`]: { timestamp: at(n), values: {} } } });
    for (const n of [1, 2, 3]) await store.write(row('a', group(n)));
    const last = log.records.at(-1)!.row.state;
    expect(Object.keys(last.groups)).toEqual(['g1', 'g2', 'g3']);
    log.apply();
    expect(log.records.map((record) => store.standing(record.row))).toEqual([
      'dead',
      'dead',
      'needed',
    ]);
  });

  it('stay what is known of the row when a later write of it fails', async () => {
    await store.write(row('a', live(at(1), { size: 1 })));
    log.failure = new Error('disk full');
    await expect(store.write(row('a', live(at(2), { size: 2 })))).rejects.toThrow('disk full');
    expect(store.read(CONTAINER_RING, HASH, 'a')?.data?.size).toBe(1);
    expect(names()).toEqual(['a']);
    expect(store.read(CONTAINER_RING, HASH, 'a')?.data?.size).toBe(1);
    expect(facts().totals.bytes).toBe(1);
  });

  it('stay behind a later write that is still under way', async () => {
    await store.write(row('a', live(at(1), { size: 1 })));
    log.held = true;
    const later = store.write(row('a', tombstone(at(2))));
    expect(names()).toEqual(['a']);
    expect(store.read(CONTAINER_RING, HASH, 'a')?.data?.kind).toBe('deleted');
    log.release();
    await later;
    expect(names()).toEqual([]);
    expect(facts().totals.rows).toBe(0);
  });

  it('are not left out of a listing when the database can not take them', async () => {
    await store.write(row('a', live(at(1))));
    log.sinkFailure = new Error('disk full');
    expect(() => names()).toThrow('disk full');
    log.sinkFailure = undefined;
    expect(names()).toEqual(['a']);
  });
});

describe('a database that could not take a record in at once', () => {
  it('keeps every record that still says something, until a whole one follows', async () => {
    const group = (n: number) => ({ groups: { [`g${n}`]: { timestamp: at(n), values: {} } } });
    await store.write(row('a', group(1)));
    log.sinkFailure = new Error('disk full');
    await expect(store.write(row('a', group(2)))).rejects.toThrow('disk full');
    // Decided without knowing of the second, which is in the log.
    await store.write(row('a', group(3)));
    expect(Object.keys(store.read(CONTAINER_RING, HASH, 'a')!.groups)).toEqual(['g1', 'g2', 'g3']);
    const current = () => log.records.map((record) => store.standing(record.row) === 'needed');
    expect(current()).toEqual([true, true, true]);
    await store.write(row('a', group(4)));
    expect(current()).toEqual([false, false, false, true]);
  });
});
