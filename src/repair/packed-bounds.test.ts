/** What is packed is unpacked; what nobody packed is refused. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BUCKET_BITS } from '#base/hash.ts';
import { packBounds, unpackBounds } from './packed-bounds.ts';

const LIMIT = 512;

it('bounds come back as they were', () => {
  const bound = fc.integer({ min: 0, max: 2 ** BUCKET_BITS });
  const lists = fc.uniqueArray(bound, { maxLength: LIMIT });
  fc.assert(
    fc.property(lists, fc.integer({ min: 0, max: 12 }), (list, shift) => {
      const even = list.slice(0, list.length - (list.length % 2)).sort((a, b) => a - b);
      const bounds = even.map((one) => (one >>> shift) << shift);
      expect(unpackBounds(packBounds(bounds), LIMIT)).toEqual(bounds);
    }),
  );
});

it('a bound of a whole partition takes one byte', () => {
  const partitions = Array.from({ length: 256 }, (_, i) => i * 2 ** (BUCKET_BITS - 8));
  expect(packBounds(partitions)).toHaveLength(257);
});

it('bytes that nobody packed are refused', () => {
  const wrong = [
    [0, 0x80], // does not end
    [0, 1], // a range without an end
    [255, 1, 1], // far too large
    [0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
    [20, 2, 0], // beyond the last bucket
    [0, ...Array.from({ length: 2 * LIMIT }, () => 1)],
  ];
  for (const bytes of wrong)
    expect(() => unpackBounds(Uint8Array.from(bytes), LIMIT)).toThrow(/malformed/);
  expect(unpackBounds(new Uint8Array(), LIMIT)).toEqual([]);
});
