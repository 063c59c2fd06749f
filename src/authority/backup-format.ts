/**
 * A backup of the state store in one file, all integers big-endian:
 *
 *   offset  size  field
 *   0       8     magic "ANELBKUP"
 *   8       2     format version (1)
 *   10      6     reserved, 0
 *   16      8     length of the payload, n
 *   24      32    SHA-256 of bytes 0 .. 24 and the payload
 *   56      n     payload: gzip of msgpack {clusterId, madeMs, revision, bundleVersion, items}
 *
 * `items` are [key, value] in key order, values as they are in the store: secrets among them are sealed
 * with the master key, which is in no backup.
 */
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import { pack, unpack } from '#base/codec.ts';
import { OperatingError } from '#base/errors.ts';

const MAGIC = Buffer.from('ANELBKUP');
const BACKUP_FORMAT = 1;
const HEADER_BYTES = 56;
const CHECKED_HEADER_BYTES = 24;
/** Of the payload, unpacked: nothing that is read may fill the memory. */
const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024 * 1024;

const bytes = z.instanceof(Uint8Array<ArrayBufferLike>);

const payloadSchema = z.object({
  clusterId: z.string(),
  madeMs: z.number(),
  /** Of the store: the moment that all items are of. */
  revision: z.number(),
  bundleVersion: z.number(),
  items: z.array(z.tuple([z.string().min(1), bytes])),
});

export type Backup = z.infer<typeof payloadSchema>;

export function encodeBackup(backup: Backup): Buffer {
  const payload = gzipSync(pack(payloadSchema.parse(backup)));
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt16BE(BACKUP_FORMAT, 8);
  header.writeBigUInt64BE(BigInt(payload.length), 16);
  checksum(header, payload).copy(header, CHECKED_HEADER_BYTES);
  return Buffer.concat([header, payload]);
}

/** @throws OperatingError `malformed`, `newer-format` */
export function decodeBackup(file: Buffer): Backup {
  if (file.length < HEADER_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC))
    throw malformed('it is no backup');
  const version = file.readUInt16BE(8);
  if (version > BACKUP_FORMAT)
    throw new OperatingError('newer-format', `the backup has format ${version}`, { version });
  const payload = file.subarray(HEADER_BYTES);
  if (file.readBigUInt64BE(16) !== BigInt(payload.length)) throw malformed('it was cut off');
  if (!checksum(file, payload).equals(file.subarray(CHECKED_HEADER_BYTES, HEADER_BYTES)))
    throw malformed('its checksum is wrong');
  const parsed = payloadSchema.safeParse(unpacked(payload));
  if (parsed.success) return parsed.data;
  throw malformed(parsed.error.issues[0]?.message ?? 'schema');
}

function unpacked(payload: Buffer): unknown {
  try {
    return unpack(gunzipSync(payload, { maxOutputLength: MAX_PAYLOAD_BYTES }));
  } catch (cause) {
    throw new OperatingError('malformed', 'damaged backup: it cannot be unpacked', {}, { cause });
  }
}

function checksum(header: Buffer, payload: Buffer): Buffer {
  const sum = createHash('sha256').update(header.subarray(0, CHECKED_HEADER_BYTES));
  return sum.update(payload).digest();
}

function malformed(why: string): OperatingError {
  return new OperatingError('malformed', `damaged backup: ${why}`);
}
