import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EntryState } from '#base/entry.ts';
import { makeTimestamp, microsOf } from '#base/timestamp.ts';
import { changeRanges, MAX_RANGES } from './completeness.ts';
import { BUCKETS, DigestTable, type Weight } from './digest-table.ts';
import { bytes, keyOf, withDevice } from './testing/device-fixture.ts';

const weight = fc.record({
  contribution: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((array) => Buffer.from(array)),
  live: fc.boolean(),
  bodiless: fc.boolean(),
});
const changes = fc.array(fc.tuple(fc.nat(BUCKETS - 1), weight), { maxLength: 60 });

function fill(table: DigestTable, list: readonly (readonly [number, Weight])[]): DigestTable {
  for (const [bucket, one] of list) table.change(bucket, one, 1);
  return table;
}

describe('digests', () => {
  it('do not depend on the order, and taking away undoes adding', () => {
    fc.assert(
      fc.property(changes, changes, (kept, gone) => {
        const one = fill(new DigestTable(), [...kept, ...gone]);
        for (const [bucket, entry] of gone) one.change(bucket, entry, -1);
        const other = fill(new DigestTable(), [...kept].reverse());
        expect(one.summarise(0, BUCKETS, 8)).toEqual(other.summarise(0, BUCKETS, 8));
      }),
    );
  });

  it('of a range are the sums of its parts', () => {
    fc.assert(
      fc.property(changes, fc.nat(BUCKETS), fc.nat(BUCKETS), (list, a, b) => {
        const table = fill(new DigestTable(), list);
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const inside = list.filter(([bucket]) => bucket >= from && bucket < to);
        const sum = inside.reduce((total, [, one]) => total + number(one.contribution), 0n);
        const [whole] = table.summarise(from, to, 1);
        expect(number(whole!.sum)).toBe(sum % (1n << 128n));
        expect(whole!.total).toBe(inside.length);
        const parts = table.summarise(from, to, 7);
        const again = parts.reduce((total, part) => total + number(part.sum), 0n);
        expect(again % (1n << 128n)).toBe(sum % (1n << 128n));
        expect(parts.reduce((total, part) => total + part.live, 0)).toBe(whole!.live);
      }),
    );
  });

  it('come back from their pages', () => {
    fc.assert(
      fc.property(changes, (list) => {
        const table = fill(new DigestTable(), list);
        const copy = new DigestTable();
        for (let page = 0; page < 1024; page++) {
          const saved = table.exportPage(page);
          if (saved !== undefined) copy.importPage(page, saved);
        }
        expect(copy.summarise(0, BUCKETS, 16)).toEqual(table.summarise(0, BUCKETS, 16));
      }),
      { numRuns: 20 },
    );
  });

  it('are equal on two devices that hold the same states, however they came there', async () => {
    let states: (readonly [number, EntryState])[] = [];
    let sums: unknown;
    await withDevice(async (fixture, one) => {
      states = [1, 2, 3].map((number) => [number, fixture.live(10)] as const);
      for (const [number, state] of states) await fixture.put(one, number, bytes(10), state);
      sums = one.digests.summarise(0, 0, BUCKETS, 4).map(({ sum, total }) => ({ sum, total }));
      await one.close();
    });
    await withDevice(async (fixture, two) => {
      const older = makeTimestamp(microsOf(states[1]![1].data!.timestamp) - 5, 3);
      await fixture.put(two, 2, bytes(5), fixture.live(5, { at: older }));
      for (const [number, state] of [...states].reverse()) {
        await two.write({
          key: keyOf(number),
          path: '/other',
          state,
          unlisted: false,
          intent: 'join',
        });
      }
      expect(two.digests.summarise(0, 0, BUCKETS, 4)).toMatchObject(sums as object[]);
      await two.close();
    });
  });
});

function number(sum: Buffer): bigint {
  return [...sum].reduceRight((total, byte) => (total << 8n) | BigInt(byte), 0n);
}

describe('ranges of completeness', () => {
  it('are what a set of buckets would be', () => {
    const step = fc.record({
      from: fc.nat(30),
      length: fc.integer({ min: 1, max: 10 }),
      complete: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const set = new Set<number>();
        let bounds: number[] = [];
        for (const { from, length, complete } of steps) {
          bounds = changeRanges(bounds, from, from + length, complete);
          for (let i = from; i < from + length; i++) complete ? set.add(i) : set.delete(i);
        }
        const inside = (bucket: number): boolean =>
          bounds.filter((bound) => bound <= bucket).length % 2 === 1;
        for (let bucket = 0; bucket < 45; bucket++) expect(inside(bucket)).toBe(set.has(bucket));
        for (let i = 1; i < bounds.length; i++) expect(bounds[i]!).toBeGreaterThan(bounds[i - 1]!);
      }),
    );
  });

  it('beyond the limit are given up, rather than grow', () => {
    let bounds: number[] = [];
    bounds = changeRanges(
      [...Array(2 * MAX_RANGES - 2).keys()],
      2 * MAX_RANGES - 2,
      2 * MAX_RANGES - 1,
      true,
    );
    expect(bounds).toHaveLength(2 * MAX_RANGES);
    expect(changeRanges(bounds, 2 * MAX_RANGES, 2 * MAX_RANGES + 1, true)).toEqual([]);
  });
});
