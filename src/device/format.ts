/**
 * The bytes of the log. All integers are big-endian; every length is in bytes.
 *
 * A segment file is a segment header and then batches without gaps; a batch is what one commit wrote:
 * a batch header and its records. Nothing in a segment is ever changed after it was written.
 *
 *   segment header (64)                     batch header (64)
 *     0  4  magic 'ANLS'                      0  4  magic 'ANLB'
 *     4  2  version 1                         4  2  version 1
 *     6  2  zero                              6  2  flags: 1 previous batch was synced, 2 clean shutdown
 *     8  4  device id                         8  8  batch number, one more than the batch before
 *    12  4  segment number                   16  4  device id
 *    16 16  incarnation                      20  4  segment number
 *    32  8  made at, microseconds            24  8  offset of this header in the segment
 *    40 20  zero                             32  8  written at, microseconds
 *    60  4  CRC-32 of bytes 0-59             40  4  length of all records
 *                                            44  4  number of records
 *                                            48  8  first half of the incarnation
 *                                            56  4  zero
 *                                            60  4  CRC-32 of bytes 0-59
 *   record
 *     0  4  magic 'ANLR'
 *     4  4  CRC-32 of bytes 8 up to the data, started from the device's salt
 *     8  1  version 1
 *     9  1  kind (RECORD_KINDS)
 *    10  2  flags: 1 unlisted
 *    12  4  segment number               } where the record was written: a misdirected write
 *    16  4  offset in the segment        } or a user's bytes that look like a record don't pass
 *    20  2  policy
 *    22  2  slot, for several versions of one name (0 now)
 *    24 16  hash
 *    40  4  since: the oldest segment that may hold an earlier record of this key
 *    44  2  length of the path
 *    46  2  zero
 *    48  4  length of the extra fields
 *    52  4  length of the state
 *    56  6  length of the data
 *    62  2  zero
 *    64     path, UTF-8 (`/account/container/object`)
 *           extra fields: msgpack map, by kind (record-extra.ts); empty for most kinds
 *           state: encodeState() of the joined state (base/entry-codec.ts)
 *           one CRC-32 per block of 64 KiB of data
 *           data: the body of kind `data`
 *
 * The salt is the CRC-32 of the incarnation, which clients never see: nobody can upload bytes that a
 * search for the next good record would take for one.
 */
import { crc32 } from 'node:zlib';
import { OperatingError } from '#base/errors.ts';
import { BLOCK_BYTES, blockCount } from './blocks.ts';

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 64;
export const BATCH_HEADER_BYTES = 64;
export const RECORD_HEADER_BYTES = 64;

const SEGMENT_MAGIC = 0x414e4c53;
export const BATCH_MAGIC = 0x414e4c42;
export const RECORD_MAGIC = 0x414e4c52;

export const FLAG_PREVIOUS_SYNCED = 1;
export const FLAG_CLEAN_SHUTDOWN = 2;
export const FLAG_UNLISTED = 1;

/** A kind's number is its place here and never changes. */
export const RECORD_KINDS = [
  'none',
  'data',
  'blob',
  'metadata',
  'tombstone',
  'row',
  'promise',
  'forget',
  'partition',
  'seal',
] as const;
export type RecordKind = Exclude<(typeof RECORD_KINDS)[number], 'none'>;

export const MAX_PATH_BYTES = 0xffff;
const MAX_STATE_BYTES = 4 * 1024 * 1024;
const MAX_EXTRA_BYTES = 1024 * 1024;
const MAX_INLINE_BYTES = 16 * 1024 * 1024;
/** Bounds what a reader takes into memory at once; writers stay far below (see committer.ts). */
export const MAX_BATCH_BYTES = 64 * 1024 * 1024;

export interface SegmentHeader {
  readonly device: number;
  readonly segment: number;
  readonly incarnation: string;
  readonly madeMicros: number;
}

export interface BatchHeader {
  readonly flags: number;
  readonly number: number;
  readonly segment: number;
  readonly offset: number;
  readonly writtenMicros: number;
  readonly length: number;
  readonly records: number;
}

export interface RecordHeader {
  readonly kind: RecordKind;
  readonly flags: number;
  readonly segment: number;
  readonly offset: number;
  readonly policy: number;
  readonly slot: number;
  readonly hash: Buffer;
  readonly since: number;
  readonly path: string;
  readonly extra: Buffer;
  readonly state: Buffer;
  readonly checksums: readonly number[];
  readonly dataLength: number;
  /** From the magic up to the data. */
  readonly headLength: number;
}

/** Whose log it is: what headers must carry to be believed. */
export interface LogOwner {
  readonly device: number;
  readonly incarnation: string;
}

export function saltOf(incarnation: string): number {
  return crc32(Buffer.from(incarnation, 'hex'));
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  bytes.writeUInt32BE(SEGMENT_MAGIC, 0);
  bytes.writeUInt16BE(FORMAT_VERSION, 4);
  bytes.writeUInt32BE(header.device, 8);
  bytes.writeUInt32BE(header.segment, 12);
  bytes.write(header.incarnation, 16, 16, 'hex');
  putUint64(bytes, header.madeMicros, 32);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 60)), 60);
  return bytes;
}

/** Undefined: not a good header. @throws OperatingError `newer-format` */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES || bytes.readUInt32BE(0) !== SEGMENT_MAGIC)
    return undefined;
  if (bytes.readUInt32BE(60) !== crc32(bytes.subarray(0, 60))) return undefined;
  refuseNewer(bytes.readUInt16BE(4), 'segment');
  return {
    device: bytes.readUInt32BE(8),
    segment: bytes.readUInt32BE(12),
    incarnation: bytes.toString('hex', 16, 32),
    madeMicros: getUint64(bytes, 32),
  };
}

export function encodeBatchHeader(header: BatchHeader, owner: LogOwner): Buffer {
  const bytes = Buffer.alloc(BATCH_HEADER_BYTES);
  bytes.writeUInt32BE(BATCH_MAGIC, 0);
  bytes.writeUInt16BE(FORMAT_VERSION, 4);
  bytes.writeUInt16BE(header.flags, 6);
  putUint64(bytes, header.number, 8);
  bytes.writeUInt32BE(owner.device, 16);
  bytes.writeUInt32BE(header.segment, 20);
  putUint64(bytes, header.offset, 24);
  putUint64(bytes, header.writtenMicros, 32);
  bytes.writeUInt32BE(header.length, 40);
  bytes.writeUInt32BE(header.records, 44);
  bytes.write(owner.incarnation, 48, 8, 'hex');
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 60)), 60);
  return bytes;
}

/**
 * Undefined: no batch of this log begins here. `bytes` begins at `offset` of segment `segment`.
 * @throws OperatingError `newer-format`
 */
export function decodeBatchHeader(
  bytes: Buffer,
  owner: LogOwner,
  segment: number,
  offset: number,
): BatchHeader | undefined {
  if (bytes.length < BATCH_HEADER_BYTES || bytes.readUInt32BE(0) !== BATCH_MAGIC) return undefined;
  if (bytes.readUInt32BE(60) !== crc32(bytes.subarray(0, 60))) return undefined;
  refuseNewer(bytes.readUInt16BE(4), 'batch');
  if (bytes.readUInt32BE(16) !== owner.device || bytes.readUInt32BE(20) !== segment)
    return undefined;
  if (getUint64(bytes, 24) !== offset) return undefined;
  if (bytes.toString('hex', 48, 56) !== owner.incarnation.slice(0, 16)) return undefined;
  const length = bytes.readUInt32BE(40);
  if (length > MAX_BATCH_BYTES) return undefined;
  return {
    flags: bytes.readUInt16BE(6),
    number: getUint64(bytes, 8),
    segment,
    offset,
    writtenMicros: getUint64(bytes, 32),
    length,
    records: bytes.readUInt32BE(44),
  };
}

export interface RecordParts {
  readonly kind: RecordKind;
  readonly flags: number;
  readonly policy: number;
  readonly hash: Buffer;
  readonly since: number;
  readonly path: string;
  readonly extra?: Buffer;
  readonly state?: Buffer;
  /** Of the data, where there is some. */
  readonly checksums?: readonly number[];
  readonly dataLength?: number;
}

const NOTHING = Buffer.alloc(0);

/** Bytes of everything of a record but its data. @throws OperatingError `too-large` */
export function recordHeadLength(parts: RecordParts): number {
  const { extra = NOTHING, state = NOTHING, checksums = [], dataLength = 0 } = parts;
  const pathLength = Buffer.byteLength(parts.path);
  refuseTooLarge(pathLength, extra.length, state.length, dataLength);
  return RECORD_HEADER_BYTES + pathLength + extra.length + state.length + 4 * checksums.length;
}

/** Writes the head of a record over all of `bytes`, which has `recordHeadLength` bytes. */
export function putRecordHead(
  bytes: Buffer,
  parts: RecordParts,
  segment: number,
  offset: number,
  salt: number,
): void {
  const { extra = NOTHING, state = NOTHING, checksums = [], dataLength = 0 } = parts;
  const pathLength =
    bytes.length - RECORD_HEADER_BYTES - extra.length - state.length - 4 * checksums.length;
  bytes.writeUInt32BE(RECORD_MAGIC, 0);
  bytes[8] = FORMAT_VERSION;
  bytes[9] = RECORD_KINDS.indexOf(parts.kind);
  bytes.writeUInt16BE(parts.flags, 10);
  bytes.writeUInt32BE(segment, 12);
  bytes.writeUInt32BE(offset, 16);
  bytes.writeUInt32BE(parts.policy * 0x10000, 20); // and slot 0
  bytes.set(parts.hash, 24);
  bytes.writeUInt32BE(parts.since, 40);
  bytes.writeUInt32BE(pathLength * 0x10000, 44);
  bytes.writeUInt32BE(extra.length, 48);
  bytes.writeUInt32BE(state.length, 52);
  bytes.writeUIntBE(dataLength, 56, 6);
  bytes.writeUInt16BE(0, 62);
  let at = RECORD_HEADER_BYTES + bytes.write(parts.path, RECORD_HEADER_BYTES);
  bytes.set(extra, at);
  bytes.set(state, (at += extra.length));
  at += state.length;
  for (const sum of checksums) at = bytes.writeUInt32BE(sum, at);
  bytes.writeUInt32BE(crc32(bytes.subarray(8), salt), 4);
}

function refuseTooLarge(path: number, extra: number, state: number, data: number): void {
  const fits =
    path <= MAX_PATH_BYTES &&
    extra <= MAX_EXTRA_BYTES &&
    state <= MAX_STATE_BYTES &&
    data <= MAX_INLINE_BYTES;
  if (fits) return;
  throw new OperatingError('too-large', 'more than a record can hold', {
    path,
    extra,
    state,
    data,
  });
}

/**
 * The record whose first byte is bytes[at], which is `offset` of segment `segment`. Undefined: no good
 * head. The data behind it is not looked at. Buffers are views into `bytes`.
 * @throws OperatingError `newer-format`
 */
export function decodeRecordHead(
  bytes: Buffer,
  at: number,
  segment: number,
  offset: number,
  salt: number,
): RecordHeader | undefined {
  if (at + RECORD_HEADER_BYTES > bytes.length) return undefined;
  if (bytes.readUInt32BE(at) !== RECORD_MAGIC) return undefined;
  const pathLength = bytes.readUInt16BE(at + 44);
  const extraLength = bytes.readUInt32BE(at + 48);
  const stateLength = bytes.readUInt32BE(at + 52);
  const dataLength = bytes.readUIntBE(at + 56, 6);
  if (extraLength > MAX_EXTRA_BYTES || stateLength > MAX_STATE_BYTES) return undefined;
  if (dataLength > MAX_INLINE_BYTES) return undefined;
  const sums = blockCount(dataLength);
  const headLength = RECORD_HEADER_BYTES + pathLength + extraLength + stateLength + 4 * sums;
  if (at + headLength > bytes.length) return undefined;
  if (bytes.readUInt32BE(at + 4) !== crc32(bytes.subarray(at + 8, at + headLength), salt)) {
    return undefined;
  }
  refuseNewer(bytes[at + 8]!, 'record');
  if (bytes.readUInt32BE(at + 12) !== segment || bytes.readUInt32BE(at + 16) !== offset) {
    return undefined;
  }
  const kind = RECORD_KINDS[bytes[at + 9]!];
  if (kind === undefined || kind === 'none') return undefined;
  const extraAt = at + RECORD_HEADER_BYTES + pathLength;
  const stateAt = extraAt + extraLength;
  return {
    kind,
    flags: bytes.readUInt16BE(at + 10),
    segment,
    offset,
    policy: bytes.readUInt16BE(at + 20),
    slot: bytes.readUInt16BE(at + 22),
    hash: bytes.subarray(at + 24, at + 40),
    since: bytes.readUInt32BE(at + 40),
    path: bytes.toString('utf8', at + RECORD_HEADER_BYTES, extraAt),
    extra: bytes.subarray(extraAt, stateAt),
    state: bytes.subarray(stateAt, stateAt + stateLength),
    checksums: readChecksums(bytes, stateAt + stateLength, sums),
    dataLength,
    headLength,
  };
}

export function readChecksums(bytes: Buffer, at: number, count: number): number[] {
  const sums = new Array<number>(count);
  for (let i = 0; i < count; i++) sums[i] = bytes.readUInt32BE(at + 4 * i);
  return sums;
}

/** The length of a record on disk. */
export function recordLength(header: RecordHeader): number {
  return header.headLength + header.dataLength;
}

export { BLOCK_BYTES };

export function refuseNewer(version: number, what: string): void {
  if (version > FORMAT_VERSION) {
    throw new OperatingError('newer-format', `a ${what} was written by a newer version`, {
      version,
    });
  }
}

export function putUint64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  bytes.writeUInt32BE(value % 2 ** 32, at + 4);
}

export function getUint64(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

export function segmentName(segment: number): string {
  return `${String(segment).padStart(8, '0')}.seg`;
}

/** Undefined: not the name of a segment. */
export function segmentNumber(name: string): number | undefined {
  const match = /^(\d{8,10})\.seg$/.exec(name);
  return match ? Number(match[1]) : undefined;
}
