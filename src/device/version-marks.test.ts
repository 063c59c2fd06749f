import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  kept,
  leastVersion,
  parseMarks,
  raised,
  type VersionMarks,
  versionAt,
} from './version-marks.ts';

const SIZE = 24;
const range = fc
  .tuple(fc.nat(SIZE - 1), fc.integer({ min: 1, max: SIZE }))
  .map(([from, length]) => [from, Math.min(SIZE, from + length)] as const);
const step = fc.record({
  ranges: fc.array(range, { minLength: 1, maxLength: 4 }),
  version: fc.integer({ min: 1, max: 5 }),
});

describe('versions by range', () => {
  it('are the highest that each bucket was given, however they came', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const naive = new Array<number>(SIZE).fill(0);
        let marks: VersionMarks = [];
        for (const { ranges, version } of steps) {
          marks = raised(marks, ranges, version);
          for (const [from, to] of ranges)
            for (let i = from; i < to; i++) naive[i] = Math.max(naive[i]!, version);
        }
        expect(naive.map((_, bucket) => versionAt(marks, bucket))).toEqual(naive);
        expect(parseMarks([...marks], SIZE)).toEqual(marks);
        for (let from = 0; from < SIZE; from += 3) {
          for (let to = from + 1; to <= SIZE; to += 2) {
            expect(leastVersion(marks, [from, to])).toBe(Math.min(...naive.slice(from, to)));
          }
        }
        const high = kept(marks, (_, version) => version > 2);
        expect(naive.map((_, bucket) => versionAt(high, bucket))).toEqual(
          naive.map((version) => (version > 2 ? version : 0)),
        );
      }),
      { seed: 7 },
    );
  });

  it('are as few as they can be: neighbours of one version are one', () => {
    const marks = raised(
      raised(
        [],
        [
          [4, 6],
          [0, 2],
        ],
        3,
      ),
      [[2, 4]],
      3,
    );
    expect(marks).toEqual([0, 6, 3]);
  });

  it('that are none are not taken: of another shape, out of order, beyond the last bucket', () => {
    const bad = [
      7,
      [1, 2],
      [1, 2, 'x'],
      [2, 1, 3],
      [0, 4, 1, 3, 5, 1],
      [0, SIZE + 1, 1],
      [0, 1, -1],
    ];
    for (const value of bad) expect(parseMarks(value, SIZE)).toBeUndefined();
  });
});
