import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pack, unpack } from './codec.ts';
import { codeOf } from './errors.ts';

const leaf = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true }).map((number) => number + 0), // msgpack writes -0 as 0
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
);
const value = fc.letrec((tie) => ({
  any: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('any'), { maxLength: 4 }), tie('map')),
  map: fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), tie('any'), {
    maxKeys: 4,
    noNullPrototype: true,
  }),
})).any;

describe('msgpack codec', () => {
  it('holds numbers, text, bytes, arrays and maps', () => {
    fc.assert(
      fc.property(value, (input) => {
        expect(unpack(pack(input))).toEqual(input);
      }),
    );
  });

  it('writes plain msgpack: maps are maps, integers as short as they go', () => {
    expect(pack({ a: 1 }).toString('hex')).toBe('de0001a16101');
    expect(pack([1, 300, Buffer.from('x'), undefined]).toString('hex')).toBe('9401cd012cc40178c0');
    expect(pack(new Map([[3, 'x']])).toString('hex')).toBe('8103a178');
  });

  it('gives every caller bytes of its own', () => {
    const first = pack('first');
    pack('second');
    expect(unpack(first)).toBe('first');
  });

  it('random bytes are malformed or a value, and leave nothing behind', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          unpack(bytes);
        } catch (error) {
          expect(codeOf(error)).toBe('malformed');
        }
        expect(unpack(pack([64, 127, 'x']))).toEqual([64, 127, 'x']);
      }),
      { numRuns: 3000 },
    );
  });

  it('a record definition, an extension of msgpackr, does not outlive its message', () => {
    unpack(Buffer.from('d4724092a161a1620102', 'hex'));
    expect(unpack(pack([64, 1, 2]))).toEqual([64, 1, 2]);
  });
});
