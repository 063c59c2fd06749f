/** What users hold of a container, against a model, and after all that may happen to a database. */
import path from 'node:path';
import Database from 'better-sqlite3';
import fc from 'fast-check';
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

/** Two users with ids as identity makes them, and one of another form. */
const ANNA = 'a'.repeat(32);
const BERT = '0123456789abcdef'.repeat(2);
const OWNERS = [ANNA, BERT, 'mapped user', undefined] as const;

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

const owned = (micros: number, owner: string | undefined, size = 10, more: object = {}) =>
  row('o', live(at(micros), { size, ...more, ...(owner !== undefined && { owner }) }));
const write = (name: string, made: ReturnType<typeof owned>, hash = HASH) =>
  store.write({ ...made, name, key: { policy: CONTAINER_RING, hash } });
const held = (from = store, hash = HASH) =>
  Object.fromEntries(
    OWNERS.flatMap((owner) => {
      const holding = owner === undefined ? undefined : from.holding(CONTAINER_RING, hash, owner);
      return holding === undefined || holding.rows === 0
        ? []
        : [[holding.owner, [holding.rows, holding.bytes]]];
    }),
  );

describe('what users hold', () => {
  it('goes back to the owner, whoever deletes or overwrites', async () => {
    await write('a', owned(1, ANNA, 5));
    await write('b', owned(2, ANNA, 7));
    await write('c', owned(3, BERT, 1));
    expect(held()).toEqual({ [ANNA]: [2, 12], [BERT]: [1, 1] });
    await write('a', owned(4, BERT, 100));
    await store.write(row('c', tombstone(at(5))));
    expect(held()).toEqual({ [ANNA]: [1, 7], [BERT]: [1, 100] });
  });

  it('ends when the row expires, also of one that is told in full', async () => {
    const deleteAt = START_SECONDS + 10;
    await write('a', owned(1, ANNA, 5, { deleteAt }));
    await write('b', owned(2, 'mapped user', 6, { deleteAt }));
    expect(held()).toEqual({ [ANNA]: [1, 5], 'mapped user': [1, 6] });
    folder.env.clock.seconds += 11;
    expect(held()).toEqual({});
  });

  it('is what the rows say after any writes, and in a database made anew', async () => {
    const step = fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      owner: fc.constantFrom(...OWNERS),
      size: fc.nat(50),
      what: fc.constantFrom('put', 'put', 'put', 'delete', 'forget', 'report'),
      micros: fc.integer({ min: 1, max: 40 }),
    });
    let runs = 0;
    const one = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const hash = Buffer.alloc(16, ++runs);
      for (const { name, owner, size, what, micros } of steps) {
        if (what === 'put') await write(name, owned(micros, owner, size), hash);
        if (what === 'delete') await store.write(row(name, tombstone(at(micros)), hash));
        if (what === 'forget') await forget(hash, name);
        if (what === 'report') store.markReported(CONTAINER_RING, hash, sequence(hash));
      }
      expect(held(store, hash)).toEqual(counted(hash));
    });
    await fc.assert(one, { numRuns: 50 });
    await auditAll();
    const { store: anew } = await openStore(folder, 'anew.db');
    log.replayInto(anew);
    for (let run = 1; run <= runs; run++) {
      const hash = Buffer.alloc(16, run);
      expect(held(anew, hash)).toEqual(counted(hash));
    }
    anew.close();
  });

  it('is told once to its account, also when it has become nothing', async () => {
    const unreported = () =>
      store.unreportedHoldings(CONTAINER_RING, HASH, 10).map(({ owner, bytes }) => [owner, bytes]);
    await write('a', owned(1, ANNA, 5));
    await write('b', owned(2, BERT, 6));
    expect(unreported()).toEqual([
      [ANNA, 5],
      [BERT, 6],
    ]);
    store.markReported(CONTAINER_RING, HASH, sequence());
    expect(unreported()).toEqual([]);
    await store.write(row('a', tombstone(at(3))));
    expect(unreported()).toEqual([[ANNA, 0]]);
    store.markReported(CONTAINER_RING, HASH, sequence());
    expect(unreported()).toEqual([]);
  });

  it('is counted again by the audit', async () => {
    await write('a', owned(1, ANNA, 5));
    await auditAll();
    const db = new Database(path.join(folder.path, 'rows.db'));
    db.exec('UPDATE holder SET bytes = 4');
    db.close();
    await expect(auditAll()).rejects.toMatchObject({ code: 'rows-damaged' });
  });
});

function sequence(hash = HASH): number {
  return store.facts(CONTAINER_RING, hash)?.sequence ?? 0;
}

async function forget(hash: Buffer, name: string): Promise<void> {
  const found = store.changes(CONTAINER_RING, hash, 0, 100).find((change) => change.name === name);
  if (found !== undefined) await store.forget(CONTAINER_RING, hash, [found]);
}

/** From the rows themselves. */
function counted(hash: Buffer): Record<string, [number, number]> {
  const totals: Record<string, [number, number]> = {};
  for (const { state } of store.changes(CONTAINER_RING, hash, 0, 100)) {
    const { owner, size, kind } = state.data!;
    if (owner === undefined || kind !== 'live') continue;
    const [rows, bytes] = totals[owner] ?? [0, 0];
    totals[owner] = [rows + 1, bytes + size];
  }
  return totals;
}

async function auditAll(): Promise<void> {
  for (let next: number | undefined = 0; next !== undefined; ) {
    ({ next } = await store.audit(next, 100));
  }
}
