import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';

describe('coverage', () => {
  it('holds what every bucket of is in some range', () => {
    const range = fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 8 }));
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), range, (ranges, [from, width]) => {
        const given = ranges.map(([start, length]) => ({ from: start, to: start + length }));
        const buckets = Array.from({ length: width }, (_, i) => from + i);
        const isIn = buckets.every((bucket) =>
          given.some((one) => one.from <= bucket && bucket < one.to),
        );
        expect(new Coverage(given).has(from, from + width)).toBe(isIn);
      }),
    );
  });
});
