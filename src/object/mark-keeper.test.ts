import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { without } from './mark-keeper.ts';

const SIZE = 30;
const ranges = fc
  .uniqueArray(fc.nat(SIZE), { maxLength: 12 })
  .map((bounds) => bounds.sort((a, b) => a - b))
  .map((bounds) =>
    Array.from({ length: bounds.length >> 1 }, (_, i) => ({
      from: bounds[2 * i]!,
      to: bounds[2 * i + 1]!,
    })),
  );
const bucketsIn = (list: readonly { from: number; to: number }[]): number[] =>
  Array.from({ length: SIZE + 1 }, (_, i) => i).filter((i) =>
    list.some(({ from, to }) => from <= i && i < to),
  );

describe('ranges without others', () => {
  it('are exactly the buckets that are in the one and not in the other', () => {
    fc.assert(
      fc.property(ranges, ranges, (own, others) => {
        const taken = bucketsIn(others);
        const left = without(own, others);
        expect(bucketsIn(left)).toEqual(bucketsIn(own).filter((i) => !taken.includes(i)));
        expect(left.every(({ from, to }) => from < to)).toBe(true);
      }),
      { seed: 3 },
    );
  });
});
