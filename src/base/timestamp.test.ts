import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from './assert.ts';
import {
  formatSeconds,
  makeTimestamp,
  maxTimestamp,
  microsOf,
  parseTimestamp,
  timestampFromBytes,
  timestampToBytes,
  workerOf,
} from './timestamp.ts';

const micros = fc.maxSafeNat();
const worker = fc.nat(0xffff);

describe('timestamp', () => {
  it('holds microseconds and worker, as text and as bytes', () => {
    fc.assert(
      fc.property(micros, worker, (m, w) => {
        const timestamp = makeTimestamp(m, w);
        expect([microsOf(timestamp), workerOf(timestamp)]).toEqual([m, w]);
        expect(timestampFromBytes(timestampToBytes(timestamp))).toBe(timestamp);
        expect(parseTimestamp(timestamp)).toBe(timestamp);
      }),
    );
  });

  it('text and bytes have one order: time, then worker', () => {
    fc.assert(
      fc.property(micros, worker, micros, worker, (m1, w1, m2, w2) => {
        const [a, b] = [makeTimestamp(m1, w1), makeTimestamp(m2, w2)];
        const order = Math.sign(m1 - m2) || Math.sign(w1 - w2);
        expect(a < b ? -1 : a > b ? 1 : 0).toBe(order);
        expect(Buffer.compare(timestampToBytes(a), timestampToBytes(b))).toBe(order);
        expect(maxTimestamp(a, b)).toBe(order >= 0 ? a : b);
      }),
    );
  });

  it('is read from an offset, never from beyond the bytes given', () => {
    const timestamp = makeTimestamp(123_456, 7);
    const large = Buffer.concat([
      Buffer.from('xx'),
      timestampToBytes(timestamp),
      Buffer.from('yyyy'),
    ]);
    expect(timestampFromBytes(large, 2)).toBe(timestamp);
    expect(() => timestampFromBytes(large.subarray(0, 8))).toThrow('cut short');
    expect(() => timestampFromBytes(large.subarray(0, 12), 3)).toThrow('cut short');
    expect(() => timestampFromBytes(large, -1)).toThrow('cut short');
  });

  it('refuses what is none', () => {
    for (const text of [
      '',
      '0'.repeat(19),
      '0'.repeat(21),
      `01${'0'.repeat(18)}`,
      'g'.repeat(20),
      5,
      null,
    ]) {
      expect(() => parseTimestamp(text)).toThrow('not a timestamp');
    }
    expect(() => parseTimestamp(makeTimestamp(1, 1).toUpperCase().replace('1', 'A'))).toThrow();
    for (const bad of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => makeTimestamp(bad, 0)).toThrow(AssertionError);
    }
    expect(() => makeTimestamp(0, 0x10000)).toThrow(AssertionError);
  });

  it('is shown as seconds with five decimals, cut, not rounded', () => {
    expect(formatSeconds(1_767_225_600_123_459)).toBe('1767225600.12345');
    expect(formatSeconds(0)).toBe('0000000000.00000');
  });
});
