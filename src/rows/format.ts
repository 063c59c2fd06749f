/**
 * The bytes of a row's `state` column.
 *
 *   offset 0       form: 1 compact, 2 full
 *   compact:  1    kind, an index of KINDS
 *             2    data timestamp, 10 bytes
 *            12    write id, 8 bytes
 *   full:     1    encodeState() of the row's state
 *   last 4         CRC-32, big-endian, of all bytes before, continued from the state check
 *
 * A plain object's row has nothing that is not in its columns but kind, timestamp and write id, and
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

const COMPACT = 1;
const FULL = 2;
const CRC_BYTES = 4;
const COMPACT_BYTES = 20 + CRC_BYTES;
const WRITE_ID = /^[0-9a-f]{16}$/;

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
  const bytes = Buffer.allocUnsafe(COMPACT_BYTES);
  bytes[0] = COMPACT;
  bytes[1] = KINDS.indexOf(data.kind);
  bytes.write(data.timestamp, 2, 'hex');
  bytes.write(data.writeId, 12, 'hex');
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
]);

/** Whether columns, kind, timestamp and write id are all there is. */
function isPlain(ring: PolicyIndex, name: string, state: EntryState): boolean {
  const { data } = state;
  if (ring !== CONTAINER_RING || name === '' || data === undefined) return false;
  for (const _ in state.groups) return false;
  for (const field in data) {
    if (!PLAIN_FIELDS.has(field) && data[field as keyof typeof data] !== undefined) return false;
  }
  return WRITE_ID.test(data.writeId);
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
  if (bytes[0] !== COMPACT || kind === undefined || bytes.length !== COMPACT_BYTES) {
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
    },
    groups: {},
  };
}

/** What of the bytes the digest covers: all but the checksum. */
export function statePayload(bytes: Buffer): Buffer {
  return bytes.subarray(0, bytes.length - CRC_BYTES);
}
