import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pack, unpack } from './codec.ts';
import { decodeState, ENTRY_VERSION, encodeState } from './entry-codec.ts';
import { codeOf } from './errors.ts';
import { anyState, at, live } from './testing/states.ts';
import { timestampToBytes, ZERO_TIMESTAMP } from './timestamp.ts';

/** `ok`, or the code of what was thrown. */
function outcome(bytes: Uint8Array): string {
  try {
    decodeState(bytes);
    return 'ok';
  } catch (error) {
    return codeOf(error);
  }
}

/** etag, content type, version id, owner. */
const TEXT_FIELDS = [6, 8, 12, 16];

const HOSTILE = ['ok', 'malformed', 'newer-format'];

describe('hostile bytes of an entry', () => {
  it('random ones are refused, or decode to something that can be written again', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(HOSTILE).toContain(outcome(bytes));
      }),
      { numRuns: 3000 },
    );
  });

  it('damaged, cut and lengthened ones are refused by name, or decode', () => {
    fc.assert(
      fc.property(anyState, fc.nat(), fc.integer({ min: 1, max: 255 }), (state, position, mask) => {
        const bytes = encodeState(state);
        const flipped = Buffer.from(bytes);
        flipped[position % bytes.length]! ^= mask;
        expect(HOSTILE).toContain(outcome(flipped));
        expect(outcome(bytes.subarray(0, position % bytes.length))).toBe('malformed');
        expect(outcome(Buffer.concat([bytes, Buffer.from([mask & 0x7f])]))).toBe('malformed');
      }),
      { numRuns: 500 },
    );
  });

  it('any msgpack value in any place is refused, or decodes', () => {
    const anything = fc.anything({ maxDepth: 3, withNullPrototype: false });
    fc.assert(
      fc.property(anything, anything, anything, (a, b, c) => {
        for (const value of [a, [ENTRY_VERSION, a, b], [ENTRY_VERSION, null, [[a, b, c]]]]) {
          expect(HOSTILE).toContain(outcome(packAnything(value)));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('a field of the wrong type is malformed, wherever it stands', () => {
    const good = unpack(encodeState({ data: live(1), groups: {} })) as [number, object, unknown[]];
    for (let field = 0; field <= 16; field++) {
      for (const wrong of [{}, [1, 2, 3], -1, Number.NaN, 'x', true]) {
        const fields = new Map(Object.entries(good[1]).map(([key, value]) => [Number(key), value]));
        fields.set(field, wrong);
        const code = outcome(pack([ENTRY_VERSION, fields, []]));
        const fits = TEXT_FIELDS.includes(field) ? wrong === 'x' : field === 13 && wrong === true;
        if (!fits) expect([field, wrong, code]).toEqual([field, wrong, 'malformed']);
      }
    }
  });

  it('length headers that promise gigabytes cost nothing', () => {
    for (const hex of ['ddffffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', 'c9ffffffff01']) {
      expect(outcome(Buffer.from(`93 01 c0 ${hex}`.replaceAll(' ', ''), 'hex'))).toBe('malformed');
    }
    expect(outcome(Buffer.alloc(1_000_000, 0x91))).toBe('malformed');
  });

  it('a newer version is told from damage', () => {
    expect(outcome(pack([ENTRY_VERSION + 1, 'whatever comes', 'then']))).toBe('newer-format');
    expect(outcome(pack(['1', null, []]))).toBe('malformed');
  });

  it('a timestamp of another length, or beyond all time, is malformed', () => {
    const group = (bytes: Uint8Array) => pack([ENTRY_VERSION, null, [['user', bytes, []]]]);
    expect(outcome(group(timestampToBytes(at(1))))).toBe('ok');
    expect(outcome(group(timestampToBytes(ZERO_TIMESTAMP)))).toBe('ok');
    expect(outcome(group(Buffer.alloc(9)))).toBe('malformed');
    expect(outcome(group(Buffer.alloc(11)))).toBe('malformed');
    expect(outcome(group(Buffer.alloc(10, 0xff)))).toBe('malformed');
  });

  it('metadata called __proto__ is kept, a group called so is refused', () => {
    const values = Object.fromEntries([['__proto__', 'kept']]);
    const state = { groups: { user: { timestamp: at(1), values } } };
    const decoded = decodeState(encodeState(state)).groups['user']!.values;
    expect(Object.entries(decoded)).toEqual([['__proto__', 'kept']]);
    const bytes = pack([ENTRY_VERSION, null, [['__proto__', timestampToBytes(at(1)), []]]]);
    expect(outcome(bytes)).toBe('malformed');
  });

  it('as many groups as can be read back are written, and no more', () => {
    const groups = (count: number) => {
      const names = Array.from({ length: count }, (_, i) => `h:${i}`);
      return Object.fromEntries(names.map((name) => [name, { timestamp: at(1), values: {} }]));
    };
    expect(outcome(encodeState({ groups: groups(4096) }))).toBe('ok');
    expect(() => encodeState({ groups: groups(4097) })).toThrow('too many');
  });
});

/** What msgpack cannot say (functions, symbols) is left out. */
function packAnything(value: unknown): Buffer {
  try {
    return pack(value);
  } catch {
    return pack(String(value));
  }
}
