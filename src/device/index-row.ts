/**
 * One row of the index: everything known of an entry in one blob with its own checksum, because SQLite
 * has none and a flipped byte in a database page would otherwise be believed.
 *
 *     0  4  CRC-32 of all that follows, started from the key
 *     4  1  body: 0 none, 1 inline, 2 blob
 *     5  4  since
 *     9 12  record: segment, offset, length
 *    21  6  stored at, milliseconds
 *    27  6  unlisted since, milliseconds; 0 no
 *    33 16  contribution to the bucket's digest
 *    49  2  length of the path      51  4  length of the state
 *    55     path, state
 *           body's record (12), length (6), then
 *             inline: start (4), one CRC-32 per block
 *             blob: CRC-32 of the checksum list (4), name
 */
import { crc32 } from 'node:zlib';
import { blockCount } from './blocks.ts';
import type { EntryKey } from './contract.ts';
import { damaged } from './errors.ts';
import { readChecksums } from './format.ts';
import { type BodyPlace, type RecordPlace, StoredEntry } from './stored-entry.ts';

const FIXED_BYTES = 55;
const BODY_BYTES = 22;

export function encodeIndexRow(entry: StoredEntry): Buffer {
  const { body, stateBytes } = entry;
  const pathLength = Buffer.byteLength(entry.path);
  const bodyBytes =
    body === undefined
      ? 0
      : BODY_BYTES + (body.kind === 'inline' ? 4 * body.checksums.length : body.name.length);
  const bytes = Buffer.allocUnsafe(FIXED_BYTES + pathLength + stateBytes.length + bodyBytes);
  bytes[4] = body === undefined ? 0 : body.kind === 'inline' ? 1 : 2;
  bytes.writeUInt32BE(entry.since, 5);
  putPlace(bytes, entry.record, 9);
  bytes.writeUIntBE(entry.storedMs, 21, 6);
  bytes.writeUIntBE(entry.unlistedSinceMs, 27, 6);
  bytes.set(entry.contribution, 33);
  bytes.writeUInt16BE(pathLength, 49);
  bytes.writeUInt32BE(stateBytes.length, 51);
  bytes.write(entry.path, FIXED_BYTES);
  bytes.set(stateBytes, FIXED_BYTES + pathLength);
  if (body !== undefined) putBody(bytes, body, FIXED_BYTES + pathLength + stateBytes.length);
  bytes.writeUInt32BE(crc32(bytes.subarray(4), seedOf(entry.key)), 0);
  return bytes;
}

/**
 * `bytes` is what SQLite answers, which after a flipped byte may be of any type.
 * @throws OperatingError `damaged`
 */
export function decodeIndexRow(key: EntryKey, bytes: Buffer): StoredEntry {
  const good =
    Buffer.isBuffer(key.hash) &&
    key.hash.length === 16 &&
    Buffer.isBuffer(bytes) &&
    bytes.length >= FIXED_BYTES &&
    bytes.readUInt32BE(0) === crc32(bytes.subarray(4), seedOf(key));
  if (!good)
    throw damaged('a row of the index is damaged', {
      hash: Buffer.from(key.hash ?? '').toString('hex'),
    });
  const stateAt = FIXED_BYTES + bytes.readUInt16BE(49);
  const bodyAt = stateAt + bytes.readUInt32BE(51);
  return new StoredEntry({
    key,
    path: bytes.toString('utf8', FIXED_BYTES, stateAt),
    stateBytes: bytes.subarray(stateAt, bodyAt),
    record: getPlace(bytes, 9),
    body: getBody(bytes, bytes[4]!, bodyAt),
    unlistedSinceMs: bytes.readUIntBE(27, 6),
    since: bytes.readUInt32BE(5),
    storedMs: bytes.readUIntBE(21, 6),
    contribution: bytes.subarray(33, 49),
  });
}

function putBody(bytes: Buffer, body: BodyPlace, at: number): void {
  putPlace(bytes, body.record, at);
  bytes.writeUIntBE(body.length, at + 12, 6);
  if (body.kind === 'blob') {
    bytes.writeUInt32BE(body.check, at + 18);
    bytes.write(body.name, at + BODY_BYTES, 'latin1');
    return;
  }
  bytes.writeUInt32BE(body.start, at + 18);
  let next = at + BODY_BYTES;
  for (const sum of body.checksums) next = bytes.writeUInt32BE(sum, next);
}

function getBody(bytes: Buffer, kind: number, at: number): BodyPlace | undefined {
  if (kind === 0) return undefined;
  const record = getPlace(bytes, at);
  const length = bytes.readUIntBE(at + 12, 6);
  if (kind === 2) {
    const name = bytes.toString('latin1', at + BODY_BYTES);
    return { kind: 'blob', record, length, check: bytes.readUInt32BE(at + 18), name };
  }
  const checksums = readChecksums(bytes, at + BODY_BYTES, blockCount(length));
  return { kind: 'inline', record, length, start: bytes.readUInt32BE(at + 18), checksums };
}

function putPlace(bytes: Buffer, place: RecordPlace, at: number): void {
  bytes.writeUInt32BE(place.segment, at);
  bytes.writeUInt32BE(place.offset, at + 4);
  bytes.writeUInt32BE(place.length, at + 8);
}

function getPlace(bytes: Buffer, at: number): RecordPlace {
  return {
    segment: bytes.readUInt32BE(at),
    offset: bytes.readUInt32BE(at + 4),
    length: bytes.readUInt32BE(at + 8),
  };
}

/** The checksum depends on the key, so a row under a wrong key doesn't pass. */
function seedOf(key: EntryKey): number {
  let seed = key.policy;
  for (let at = 0; at < 16; at += 4) {
    seed = Math.imul(seed ^ key.hash.readUInt32BE(at), 0x9e3779b1) ^ at;
  }
  return seed >>> 0;
}
