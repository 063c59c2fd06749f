/**
 * What a value looks like after msgpack took it across a socket, without the bytes: fresh maps and
 * arrays (so neither side can change the other's), null for undefined, Buffers for binary. Bytes
 * themselves are shared, as views are on a socket's other end.
 *
 * @throws TypeError for what msgpack would not carry
 */
import { MAX_DEPTH } from './value-codec.ts';

export function arrivedValue(value: unknown, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return value + 0; // msgpack writes -0 as 0.
    case 'undefined':
      return null;
    case 'bigint':
      return Number(value);
    case 'object':
      return value === null ? null : arrivedObject(value, depth + 1);
    default:
      throw new TypeError(`a ${typeof value} can't be sent`);
  }
}

function arrivedObject(value: object, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new TypeError('nested too deeply');
  if (value instanceof Uint8Array) return asBuffer(value);
  if (Array.isArray(value)) return value.map((item) => arrivedValue(item, depth));
  if (value instanceof Date) return new Date(value);
  const result: Record<string, unknown> = {};
  const entries = value instanceof Map ? value.entries() : Object.entries(value);
  for (const [key, item] of entries) result[String(key)] = arrivedValue(item, depth);
  return result;
}

export function asBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
