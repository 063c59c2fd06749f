/**
 * The bytes of a row's `state` column.
 *
 *   offset 0       form: 1 compact, 2 full, 3 compact with an owner, 4 with a checksum
 *   compact:  1    kind, an index of KINDS
 *             2    data timestamp, 10 bytes
 *            12    write id, 8 bytes
 *   owned:         as compact, then
 *            20    the owner's id, which is of hex digits in pairs, as bytes
 *   checked:       as compact, then
 *            20    what checksum the object has (row-checksum.ts), 1 byte
 *            21    the owner's id, if there is one
 *   full:     1    encodeState() of the row's state
 *   last 4         CRC-32, big-endian, of all bytes before, continued from the state check
 *
 * A plain object's row has nothing that is not in its columns but kind, timestamp, write id, checksum and owner, and
 * such rows are nearly all: the compact form halves the row, hence the pages that a commit writes.
 * The form is a function of the state alone, so equal states have equal bytes on every replica.
 *
 * The listing check (column `crc`) is the CRC-32 of what a listing shows; it is verified on every
 * row that leaves, and so is the state's where the state is read. Integers are big-endian. The state check
 * continues it with `partial`, `died`, `since`, `until`: by a flipped one a deletion could be forgotten early.
 */
import { crc32 } from 'node:zlib';
import { type EntryState, KINDS } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import { timestampFromBytes } from '#base/timestamp.ts';
import type { Columns } from './columns.ts';
import { checksumCode, isTold, toldChecksums } from './row-checksum.ts';

const COMPACT = 1;
const FULL = 2;
const OWNED = 3;
const CHECKED = 4;
const CRC_BYTES = 4;
const COMPACT_BYTES = 20;
const CHECKED_BYTES = COMPACT_BYTES + 1;
const WRITE_ID = /^[0-9a-f]{16}$/;
const OWNER = /^(?:[0-9a-f]{2}){1,64}$/;

/** CRC-32 of the listed columns, which a listing verifies row by row. */
export function listingCheck(
  name: string,
  micros: number,
  size: number,
  etag: string,
  type: string,
  count: number,
): number {
  return crc32(`${name}\0${micros}\0${size}\0${etag}\0${type}\0${count}`);
}

export interface CheckedColumns {
  readonly crc: number;
  readonly partial: number;
  readonly died: number | null;
  readonly since: number;
  readonly until: number | null;
}

export function stateCheck({ crc, partial, died, since, until }: CheckedColumns): number {
  return crc32(`${partial} ${died} ${since} ${until}`, crc);
}

export function encodeRowState(
  ring: PolicyIndex,
  name: string,
  state: EntryState,
  check: number,
): Buffer {
  const bytes = isPlain(ring, name, state) ? compactBytes(state.data!) : fullBytes(state);
  const end = bytes.length - CRC_BYTES;
  bytes.writeUInt32BE(crc32(bytes.subarray(0, end), check), end);
  return bytes;
}

function compactBytes(data: NonNullable<EntryState['data']>): Buffer {
  const { owner = '', checksums } = data;
  const head = checksums === undefined ? COMPACT_BYTES : CHECKED_BYTES;
  const bytes = Buffer.allocUnsafe(head + owner.length / 2 + CRC_BYTES);
  bytes[0] = checksums !== undefined ? CHECKED : owner === '' ? COMPACT : OWNED;
  bytes[1] = KINDS.indexOf(data.kind);
  bytes.write(data.timestamp, 2, 'hex');
  bytes.write(data.writeId, 12, 'hex');
  if (checksums !== undefined) bytes[COMPACT_BYTES] = checksumCode(checksums);
  bytes.write(owner, head, 'hex');
  return bytes;
}

function fullBytes(state: EntryState): Buffer {
  const encoded = encodeState(state);
  const bytes = Buffer.allocUnsafe(1 + encoded.length + CRC_BYTES);
  bytes[0] = FULL;
  encoded.copy(bytes, 1);
  return bytes;
}

const PLAIN_FIELDS = new Set([
  'timestamp',
  'kind',
  'writeId',
  'clientMicros',
  'etag',
  'size',
  'contentType',
  'checksums',
  'owner',
]);

/** Whether columns, kind, timestamp, write id, checksum and owner are all there is. */
function isPlain(ring: PolicyIndex, name: string, state: EntryState): boolean {
  const { data } = state;
  if (ring !== CONTAINER_RING || name === '' || data === undefined) return false;
  for (const _ in state.groups) return false;
  for (const field in data) {
    if (!PLAIN_FIELDS.has(field) && data[field as keyof typeof data] !== undefined) return false;
  }
  const { writeId, owner, checksums } = data;
  if (checksums !== undefined && !isTold(checksums)) return false;
  return WRITE_ID.test(writeId) && (owner === undefined || OWNER.test(owner));
}

/** The owner that a compact row names, `''`: none; undefined: only its whole state tells. */
export function ownerIn(bytes: Buffer): string | undefined {
  if (bytes[0] === COMPACT) return '';
  if (bytes[0] !== OWNED && bytes[0] !== CHECKED) return undefined;
  const start = bytes[0] === OWNED ? COMPACT_BYTES : CHECKED_BYTES;
  return bytes.toString('hex', start, bytes.length - CRC_BYTES);
}

/** @throws OperatingError `rows-damaged` */
export function decodeRowState(
  bytes: Buffer,
  columns: Omit<Columns, 'hidden' | 'expires'>,
  check: number,
): EntryState {
  const end = bytes.length - CRC_BYTES;
  if (end < 1 || crc32(bytes.subarray(0, end), check) !== bytes.readUInt32BE(end)) {
    throw new OperatingError('rows-damaged', 'a row of the rows database fails its checksum');
  }
  if (bytes[0] === FULL) return decodeState(bytes.subarray(1, end));
  const kind = KINDS[bytes[1]!];
  const owner = ownerIn(bytes);
  const isChecked = bytes[0] === CHECKED;
  const checksums = isChecked ? toldChecksums(bytes[COMPACT_BYTES]!) : undefined;
  const head = isChecked ? CHECKED_BYTES : COMPACT_BYTES;
  const isWhole = end >= head && (owner !== '' || end === head);
  const isKnown = kind !== undefined && isChecked === (checksums !== undefined);
  if (owner === undefined || !isKnown || !isWhole) {
    throw new OperatingError('newer-format', 'a row in a form that this version does not know', {
      form: bytes[0],
    });
  }
  return {
    data: {
      timestamp: timestampFromBytes(bytes, 2),
      kind,
      writeId: bytes.toString('hex', 12, 20),
      clientMicros: columns.micros,
      etag: columns.etag,
      size: columns.size,
      contentType: columns.type,
      ...(checksums !== undefined && { checksums }),
      ...(owner !== '' && { owner }),
    },
    groups: {},
  };
}

/** What of the bytes the digest covers: all but the checksum. */
export function statePayload(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length - CRC_BYTES);
}
