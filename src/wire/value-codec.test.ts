import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arrivedValue } from './arrived-value.ts';
import { ProtocolError } from './protocol-error.ts';
import { checkValue, decodeValue, encodeValue, MAX_DEPTH } from './value-codec.ts';

function encoded(value: unknown): Buffer {
  const bytes = encodeValue(value);
  return Buffer.from(bytes.subarray(bytes.start, bytes.end));
}

const key = fc.string({ maxLength: 40 }).filter((text) => text !== '__proto__');
const { value: anyValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(
      null,
      undefined,
      true,
      false,
      new Date(1_767_225_600_123),
      new Date(5),
      new Date(-1e13),
      new Date(Number.NaN),
    ),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }),
    fc.string({ unit: 'binary', maxLength: 300 }).map((text) => text.toWellFormed()),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(key, tie('value'), { maxKeys: 20, noNullPrototype: true }),
  ),
}));

describe('a value', () => {
  it('arrives over a socket as the in-process call has it', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = encoded(value);
        expect(decodeValue(bytes, 0, bytes.length)).toEqual(arrivedValue(value));
      }),
      { numRuns: 500 },
    );
  });

  it('has one zero', () => {
    const bytes = encoded([-0]);
    expect(decodeValue(bytes, 0, bytes.length)).toEqual([0]);
    expect(arrivedValue([-0])).toEqual([0]);
  });

  it('is found whole or not at all', () => {
    fc.assert(
      fc.property(anyValue, fc.nat(), (value, cut) => {
        const bytes = encoded(value);
        const length = cut % bytes.length;
        expect(() => checkValue(bytes, 0, length)).toThrow(ProtocolError);
        const longer = Buffer.concat([bytes, Buffer.of(0xc0)]);
        expect(() => checkValue(longer, 0, longer.length)).toThrow(ProtocolError);
      }),
      { numRuns: 300 },
    );
  });

  it('of random bytes is decoded or refused, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (array) => {
        const bytes = Buffer.from(array);
        try {
          decodeValue(bytes, 0, bytes.length);
        } catch (error) {
          expect(error).toMatchObject({ code: 'malformed-frame' });
        }
      }),
      { numRuns: 3000 },
    );
  });

  it(`may be nested ${MAX_DEPTH} deep`, () => {
    const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
    const deepest = encoded(nested(MAX_DEPTH));
    expect(decodeValue(deepest, 0, deepest.length)).toEqual(nested(MAX_DEPTH));
    expect(() => encodeValue(nested(MAX_DEPTH + 1))).toThrow('nested too deeply');
    const deeper = Buffer.concat([Buffer.alloc(MAX_DEPTH + 1, 0x91), Buffer.of(1)]);
    expect(() => decodeValue(deeper, 0, deeper.length)).toThrow('nested too deeply');
    expect(() => arrivedValue(nested(MAX_DEPTH + 1))).toThrow('nested too deeply');
  });

  it("can't give an object another prototype", () => {
    const bytes = Buffer.concat([
      Buffer.of(0x81, 0xa9),
      Buffer.from('__proto__'),
      Buffer.of(0x81, 0xa1, 0x78, 1),
    ]);
    const value = decodeValue(bytes, 0, bytes.length) as Record<string, unknown>;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(value['x']).toBeUndefined();
  });

  it('of a kind that is no data is refused', () => {
    expect(() => arrivedValue(() => 1)).toThrow(TypeError);
    expect(() => arrivedValue(Symbol('x'))).toThrow(TypeError);
  });
});
