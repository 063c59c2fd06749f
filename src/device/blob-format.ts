/**
 * A blob: the body of one object that is too large for a record, one file under blobs/.
 *
 *   0          body
 *   length     one CRC-32 (4, big-endian) per block of 64 KiB of the body
 *   then  0  4 magic 'ANLO'        4  2 version 1      6  2 policy
 *         8 16 hash               24  8 length        32  4 CRC-32 of the checksum list
 *        36  4 device id          40 16 incarnation   56  4 zero    60  4 CRC-32 of bytes 0-59
 *
 * The list's CRC-32 stands in the log record too, so a blob that another one was copied over does not pass.
 */
import { crc32 } from 'node:zlib';
import { blockCount } from './blocks.ts';
import type { EntryKey } from './contract.ts';
import { FORMAT_VERSION, getUint64, type LogOwner, putUint64, refuseNewer } from './format.ts';

const BLOB_MAGIC = 0x414e4c4f;
export const BLOB_TRAILER_BYTES = 64;

export interface BlobTrailer {
  readonly policy: number;
  readonly hash: Buffer;
  readonly length: number;
  readonly check: number;
}

export function encodeChecksumList(checksums: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * checksums.length);
  let at = 0;
  for (const sum of checksums) at = bytes.writeUInt32BE(sum, at);
  return bytes;
}

export function encodeBlobTrailer(
  key: EntryKey,
  length: number,
  list: Buffer,
  owner: LogOwner,
): { bytes: Buffer; check: number } {
  const check = crc32(list);
  const bytes = Buffer.alloc(BLOB_TRAILER_BYTES);
  bytes.writeUInt32BE(BLOB_MAGIC, 0);
  bytes.writeUInt16BE(FORMAT_VERSION, 4);
  bytes.writeUInt16BE(key.policy, 6);
  bytes.set(key.hash, 8);
  putUint64(bytes, length, 24);
  bytes.writeUInt32BE(check, 32);
  bytes.writeUInt32BE(owner.device, 36);
  bytes.write(owner.incarnation, 40, 16, 'hex');
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 60)), 60);
  return { bytes, check };
}

/** Undefined: not a good trailer. @throws OperatingError `newer-format` */
export function decodeBlobTrailer(bytes: Buffer): BlobTrailer | undefined {
  if (bytes.length < BLOB_TRAILER_BYTES || bytes.readUInt32BE(0) !== BLOB_MAGIC) return undefined;
  if (bytes.readUInt32BE(60) !== crc32(bytes.subarray(0, 60))) return undefined;
  refuseNewer(bytes.readUInt16BE(4), 'blob');
  return {
    policy: bytes.readUInt16BE(6),
    hash: bytes.subarray(8, 24),
    length: getUint64(bytes, 24),
    check: bytes.readUInt32BE(32),
  };
}

/** Bytes of the file of a body of this length. */
export function blobFileBytes(length: number): number {
  return length + 4 * blockCount(length) + BLOB_TRAILER_BYTES;
}
