/**
 * Timestamp: the one order of all writes (a hybrid logical clock's reading).
 *
 * 80 bits: 64 bits of microseconds since 1970, then the 16-bit id of the worker that issued it, so
 * that no two are equal. In memory it is the 20 lower-case hex digits of these 10 bytes: a string
 * compares, hashes and prints as it is, and `a < b` is the order. On disk and wire it is 10 bytes,
 * big-endian, so that memcmp is the order there too.
 */
import { assert } from './assert.ts';
import { OperatingError } from './errors.ts';

declare const brand: unique symbol;
export type Timestamp = string & { readonly [brand]: 'Timestamp' };

export const TIMESTAMP_BYTES = 10;
export const MAX_WORKER_ID = 0xffff;
/** Below every timestamp that is ever issued. */
export const ZERO_TIMESTAMP = '00000000000000000000' as Timestamp;

export function makeTimestamp(micros: number, workerId: number): Timestamp {
  assert(Number.isSafeInteger(micros) && micros >= 0, `timestamp micros ${micros}`);
  assert(Number.isInteger(workerId) && workerId >= 0 && workerId <= MAX_WORKER_ID, 'worker id');
  return (micros.toString(16).padStart(16, '0') +
    workerId.toString(16).padStart(4, '0')) as Timestamp;
}

export function microsOf(timestamp: Timestamp): number {
  return Number.parseInt(timestamp.slice(0, 16), 16);
}

export function workerOf(timestamp: Timestamp): number {
  return Number.parseInt(timestamp.slice(16), 16);
}

export function timestampToBytes(timestamp: Timestamp): Buffer {
  return Buffer.from(timestamp, 'hex');
}

/** @throws OperatingError `malformed` when the bytes end too early (a view must not read its neighbours) */
export function timestampFromBytes(bytes: Uint8Array, offset = 0): Timestamp {
  if (offset < 0 || offset + TIMESTAMP_BYTES > bytes.length) {
    throw new OperatingError('malformed', 'a timestamp is cut short', {
      length: bytes.length,
      offset,
    });
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + offset, TIMESTAMP_BYTES);
  return view.toString('hex') as Timestamp;
}

const PATTERN = /^00[0-9a-f]{18}$/;

/** Parses what came from outside. @throws OperatingError `bad-timestamp` */
export function parseTimestamp(text: unknown): Timestamp {
  if (typeof text !== 'string' || !PATTERN.test(text)) {
    throw new OperatingError('bad-timestamp', 'not a timestamp', { text });
  }
  return text as Timestamp;
}

export function maxTimestamp(a: Timestamp, b: Timestamp): Timestamp {
  return a >= b ? a : b;
}

/** The lowest that this worker can put above another one. Its clock has not issued it: see who asks for it. */
export function justAbove(timestamp: Timestamp, workerId: number): Timestamp {
  return makeTimestamp(microsOf(timestamp) + 1, workerId);
}

/** Swift's X-Timestamp: seconds with five decimals, from microseconds. */
export function formatSeconds(micros: number): string {
  const tens = Math.floor(micros / 10);
  const seconds = Math.floor(tens / 100_000);
  return `${String(seconds).padStart(10, '0')}.${String(tens % 100_000).padStart(5, '0')}`;
}
