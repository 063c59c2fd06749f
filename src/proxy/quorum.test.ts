import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Quorum, readQuorum, writeQuorum } from './quorum.ts';

const oddSize = fc.integer({ min: 1, max: 4 }).map((n) => 2 * n + 1);

/** OLD, NEW with some devices in common, and two random selections of all of them. */
const joint = fc
  .tuple(oddSize, oddSize, fc.nat(9))
  .map(([a, b, shared]) => {
    const old = Array.from({ length: a }, (_, i) => i);
    const kept = Math.min(shared, a, b);
    const next = [...old.slice(0, kept), ...Array.from({ length: b - kept }, (_, i) => 100 + i)];
    return { old, next, all: [...new Set([...old, ...next])] };
  })
  .chain((sets) =>
    fc.record({
      sets: fc.constant(sets),
      one: fc.subarray(sets.all).map((devices) => new Set(devices)),
      two: fc.subarray(sets.all).map((devices) => new Set(devices)),
    }),
  );

const intersects = (a: Set<number>, b: Set<number>, within: readonly number[]): boolean =>
  within.some((device) => a.has(device) && b.has(device));

describe('quorum', () => {
  it('knows the sizes of the design', () => {
    expect([3, 5, 7].map(writeQuorum)).toEqual([2, 3, 4]);
    expect([3, 5, 7].map(readQuorum)).toEqual([2, 3, 4]);
    expect([writeQuorum(4), readQuorum(4)]).toEqual([3, 2]);
  });

  it('any two write majorities, and a write and a read majority, share a replica of each set', () => {
    fc.assert(
      fc.property(joint, ({ sets, one, two }) => {
        const quorum = new Quorum([sets.old, sets.next]);
        for (const set of quorum.sets) {
          if (quorum.isWrite(one) && quorum.isWrite(two))
            expect(intersects(one, two, set)).toBe(true);
          if (quorum.isWrite(one) && quorum.isRead(two))
            expect(intersects(one, two, set)).toBe(true);
        }
      }),
    );
  });

  it('a write under the joint ring meets reads of the old ring alone and of the new ring alone', () => {
    fc.assert(
      fc.property(joint, ({ sets, one, two }) => {
        fc.pre(new Quorum([sets.old, sets.next]).isWrite(one));
        if (new Quorum([sets.old]).isRead(two)) expect(intersects(one, two, sets.old)).toBe(true);
        if (new Quorum([sets.next]).isRead(two)) expect(intersects(one, two, sets.next)).toBe(true);
      }),
    );
  });

  it('says that a majority can be had exactly when all that is not lost makes one', () => {
    fc.assert(
      fc.property(joint, ({ sets, one: lost }) => {
        const quorum = new Quorum([sets.old, sets.next]);
        const rest = new Set(sets.all.filter((device) => !lost.has(device)));
        expect(quorum.canWrite(lost)).toBe(quorum.isWrite(rest));
        expect(quorum.canRead(lost)).toBe(quorum.isRead(rest));
      }),
    );
  });

  it('asking those that help always reaches a read majority when nothing is lost', () => {
    fc.assert(
      fc.property(joint, ({ sets }) => {
        const quorum = new Quorum([sets.old, sets.next]);
        const counted = new Set<number>();
        for (const device of sets.all) if (quorum.helpsRead(device, counted)) counted.add(device);
        expect(quorum.isRead(counted)).toBe(true);
        expect(quorum.readShortfall(counted)).toBe(0);
      }),
    );
  });

  it('{A,B} suffices for {A,B,C} to {A,B,D}, and any one of the four may be down', () => {
    const quorum = new Quorum([
      [1, 2, 3],
      [1, 2, 4],
    ]);
    expect(quorum.isWrite(new Set([1, 2]))).toBe(true);
    expect(quorum.isWrite(new Set([1, 3]))).toBe(false);
    for (const down of [1, 2, 3, 4]) {
      expect(quorum.isWrite(new Set([1, 2, 3, 4].filter((device) => device !== down)))).toBe(true);
    }
  });

  it('an incomplete replica never counts, a joining one does in NEW only', () => {
    const settled = new Quorum([[1, 2, 3]]);
    expect(settled.countsIn(1, false)).toBe(false);
    expect(settled.countsIn(1, true)).toBe(true);
    expect(settled.countsIn(9, true)).toBe(false);
    const changing = new Quorum(
      [
        [1, 2, 3],
        [1, 2, 4],
      ],
      [4],
    );
    expect(changing.countsIn(4, false)).toBe(true);
    expect(changing.countsIn(3, false)).toBe(false);
    expect(changing.countsIn(9, true)).toBe(false);
  });
});
