/**
 * The form of a value in state that matters: versioned, checksummed, checked against its schema on
 * every read.
 *
 *   0  1  magic 0xA7
 *   1  1  version of the record kind
 *   2  4  CRC-32, big-endian, of bytes 0-1 and everything from 6 on
 *   6     msgpack of the fields (a map; unknown fields are refused)
 *
 * A newer version is refused, an older one is read by `upgrade`.
 */
import { crc32 } from 'node:zlib';
import type { z } from 'zod';
import { pack, unpack } from '#base/codec.ts';
import { OperatingError } from '#base/errors.ts';

const MAGIC = 0xa7;
const HEADER_BYTES = 6;

export interface RecordFormat<Fields> {
  readonly name: string;
  encode(fields: Fields): Buffer;
  /** @throws OperatingError `malformed`, `newer-format` */
  decode(bytes: Uint8Array): Fields;
}

export interface RecordOptions<Fields> {
  readonly name: string;
  readonly version: number;
  readonly schema: z.ZodType<Fields>;
  /** From the fields of an older version to today's, before the schema checks them. */
  readonly upgrade?: (fields: unknown, version: number) => unknown;
}

export function defineRecord<Fields>(options: RecordOptions<Fields>): RecordFormat<Fields> {
  const { name, version, schema, upgrade } = options;
  return {
    name,
    encode(fields) {
      const body = pack(withoutUndefined(schema.parse(fields)));
      const header = Buffer.alloc(HEADER_BYTES);
      header[0] = MAGIC;
      header[1] = version;
      header.writeUInt32BE(checksum(header, body), 2);
      return Buffer.concat([header, body]);
    },
    decode(bytes) {
      const record = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const found = checkHeader(record, name, version);
      const raw = unpack(record.subarray(HEADER_BYTES));
      const parsed = schema.safeParse(found < version && upgrade ? upgrade(raw, found) : raw);
      if (!parsed.success) throw malformed(name, parsed.error.issues[0]?.message ?? 'schema');
      return parsed.data;
    },
  };
}

function checkHeader(record: Buffer, name: string, version: number): number {
  if (record.length < HEADER_BYTES || record[0] !== MAGIC) throw malformed(name, 'magic');
  const found = record[1]!;
  if (record.readUInt32BE(2) !== checksum(record, record.subarray(HEADER_BYTES))) {
    throw malformed(name, 'checksum');
  }
  if (found > version) {
    throw new OperatingError('newer-format', `${name} written by a newer version`, {
      version: found,
    });
  }
  return found;
}

function checksum(header: Buffer, body: Buffer): number {
  return crc32(body, crc32(header.subarray(0, 2)));
}

function malformed(name: string, why: string): OperatingError {
  return new OperatingError('malformed', `damaged record of ${name}: ${why}`, { name, why });
}

function withoutUndefined(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  if (value instanceof Uint8Array) return value;
  const kept = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(kept.map(([key, field]) => [key, withoutUndefined(field)]));
}
