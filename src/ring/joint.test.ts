import { describe, expect, it } from 'vitest';
import { majority, mustLearn } from './joint.ts';

/** Every subset of `size` of a list. */
function* subsets(list: readonly number[], size: number): Generator<number[]> {
  if (size === 0) yield [];
  else if (list.length >= size) {
    const [first, ...rest] = list;
    for (const subset of subsets(rest, size - 1)) yield [first!, ...subset];
    yield* subsets(rest, size);
  }
}

describe('who must learn in a ring change', () => {
  it('is exactly so many that any readers of NEW know any write of OLD', () => {
    const sets = [3, 4, 5, 6, 7];
    for (const before of sets) {
      for (const after of sets) {
        for (let kept = 0; kept <= Math.min(before, after); kept++)
          checkOverlap(before, after, kept);
      }
    }
  });

  it('are the joining devices alone when one replica of three moves', () => {
    const learns = [1, 2, 4].map((id) => mustLearn([1, 2, 3], [1, 2, 4], id));
    expect(learns).toEqual([false, false, true]);
  });

  it('are all where five replicas become three', () => {
    expect([1, 2, 3].map((id) => mustLearn([1, 2, 3, 4, 5], [1, 2, 3], id))).toEqual([
      true,
      true,
      true,
    ]);
  });
});

function checkOverlap(before: number, after: number, kept: number): void {
  const former = Array.from({ length: before }, (_, i) => i);
  const primaries = Array.from({ length: after }, (_, i) => (i < kept ? i : 100 + i));
  const learns = new Set(primaries.filter((id) => mustLearn(former, primaries, id)));
  const readers = after - majority(after) + 1;
  for (const read of subsets(primaries, readers)) {
    if (read.some((id) => learns.has(id))) continue;
    for (const write of subsets(former, majority(before))) {
      expect(write.some((id) => read.includes(id))).toBe(true);
    }
  }
}
