/**
 * The extra fields of a record: a msgpack map from field number to value. A number is never reused.
 *
 *   blob       1 name of the file under blobs/   2 length of the body   3 CRC-32 of its checksum list
 *   row        4 name of the row ('' = the container's or account's own state)
 *   promise    5 ballot (10 bytes)               15 newest timestamp seen (10 bytes; absent: unknown)
 *   forget     7 first hash, 8 end hash          (a range, reserved; absent: the record's own key)
 *              4 name of the row                 (of a row ring: only this row is forgotten)
 *              16 the last segment that may hold what it forgets (absent: its own)
 *   partition  9 what: 'complete' 'floor' 'fence' 'learnt' 'tail'   10 value
 *              complete: [from, to, from, to ...], all ranges of buckets of the ring `policy`, in order
 *              fence: [from, to, version ...], all of the ring `policy`: calls placed by a ring below that
 *              version are refused in that range of buckets
 *              learnt: likewise: as of which version everything acknowledged before was joined there
 *              floor: [from slot, to slot, timestamp ...]: floors of the ring `policy` that were raised
 *              tail: true after a bad last batch was cut off, false once it was confirmed
 *   seal      11 seal id                         12 deadline (reserved)
 *   data      13 fragment index (reserved), 14 version slot fields (reserved)
 */
import { pack, unpack } from '#base/codec.ts';
import { OperatingError } from '#base/errors.ts';
import {
  type Timestamp,
  timestampFromBytes,
  timestampToBytes,
  ZERO_TIMESTAMP,
} from '#base/timestamp.ts';
import { BUCKETS } from './digest-table.ts';
import { FLOOR_SLOTS, type Floor } from './floors.ts';
import type { StandingPromise } from './promise-table.ts';
import { parseMarks, type VersionMarks } from './version-marks.ts';

const FIELD = {
  blobName: 1,
  blobLength: 2,
  blobCheck: 3,
  rowName: 4,
  promise: 5,
  what: 9,
  value: 10,
  seen: 15,
  until: 16,
};

export interface BlobReference {
  readonly name: string;
  readonly length: number;
  /** CRC-32 of the list of block checksums at the end of the file. */
  readonly check: number;
}

export type PartitionExtra = CompletenessExtra | MarksExtra;

export type CompletenessExtra =
  | { readonly what: 'complete'; readonly ranges: readonly number[] }
  | { readonly what: 'tail'; readonly cut: boolean }
  | { readonly what: 'floor'; readonly floors: readonly Floor[] };

export interface MarksExtra {
  readonly what: 'fence' | 'learnt';
  readonly marks: VersionMarks;
}

export function encodeBlobExtra(blob: BlobReference): Buffer {
  return pack(
    new Map<number, unknown>([
      [FIELD.blobName, blob.name],
      [FIELD.blobLength, blob.length],
      [FIELD.blobCheck, blob.check],
    ]),
  );
}

export function decodeBlobExtra(extra: Buffer): BlobReference {
  const fields = fieldsOf(extra);
  const name = fields[FIELD.blobName];
  const length = fields[FIELD.blobLength];
  const check = fields[FIELD.blobCheck];
  if (typeof name !== 'string' || !isSafeName(name)) throw malformed('blob name');
  if (typeof length !== 'number' || typeof check !== 'number') throw malformed('blob');
  return { name, length, check };
}

/** A name of ours: `blobs/` joined with it stays inside that folder. */
function isSafeName(name: string): boolean {
  return /^[0-9a-f-]{8,100}$/.test(name);
}

export function encodeRowExtra(name: string): Buffer {
  return pack(new Map([[FIELD.rowName, name]]));
}

export function decodeRowExtra(extra: Buffer): string {
  const name = fieldsOf(extra)[FIELD.rowName];
  if (typeof name !== 'string') throw malformed('row name');
  return name;
}

export interface ForgetExtra {
  /** Of the row that is forgotten; undefined: it is an entry. */
  readonly name: string | undefined;
  /** The last segment that may hold what is forgotten; undefined: the record's own. */
  readonly until: number | undefined;
}

export function encodeForgetExtra({ name, until }: ForgetExtra): Buffer {
  const fields = new Map<number, unknown>();
  if (name !== undefined) fields.set(FIELD.rowName, name);
  if (until !== undefined) fields.set(FIELD.until, until);
  return fields.size === 0 ? Buffer.alloc(0) : pack(fields);
}

export function decodeForgetExtra(extra: Buffer): ForgetExtra {
  if (extra.length === 0) return { name: undefined, until: undefined };
  const { [FIELD.rowName]: name, [FIELD.until]: until } = fieldsOf(extra);
  if (name !== undefined && typeof name !== 'string') throw malformed('row name');
  if (until !== undefined && !(Number.isInteger(until) && (until as number) > 0))
    throw malformed('segment');
  return { name, until: until as number | undefined };
}

export function encodePromiseExtra({ ballot, seen }: StandingPromise): Buffer {
  return pack(
    new Map([
      [FIELD.promise, timestampToBytes(ballot)],
      [FIELD.seen, timestampToBytes(seen)],
    ]),
  );
}

export function decodePromiseExtra(extra: Buffer): StandingPromise {
  const fields = fieldsOf(extra);
  const seen = fields[FIELD.seen];
  return {
    ballot: timestampField(fields[FIELD.promise]),
    seen: seen === undefined ? ZERO_TIMESTAMP : timestampField(seen),
  };
}

function timestampField(bytes: unknown): Timestamp {
  if (!(bytes instanceof Uint8Array) || bytes.length !== 10) throw malformed('timestamp');
  return timestampFromBytes(bytes);
}

export function encodePartitionExtra(extra: PartitionExtra): Buffer {
  return pack(
    new Map<number, unknown>([
      [FIELD.what, extra.what],
      [FIELD.value, payloadOf(extra)],
    ]),
  );
}

function payloadOf(extra: PartitionExtra): unknown {
  switch (extra.what) {
    case 'complete':
      return extra.ranges;
    case 'tail':
      return extra.cut;
    case 'floor':
      return extra.floors.flatMap(({ from, to, timestamp }) => [
        from,
        to,
        timestampToBytes(timestamp),
      ]);
    case 'fence':
    case 'learnt':
      return extra.marks;
  }
}

/** Undefined: a kind of partition state that this version keeps but doesn't use yet. */
export function decodePartitionExtra(extra: Buffer): PartitionExtra | undefined {
  const fields = fieldsOf(extra);
  const value = fields[FIELD.value];
  const what = fields[FIELD.what];
  if (what === 'tail') return { what, cut: value === true };
  if (what === 'fence' || what === 'learnt') {
    const marks = parseMarks(value, BUCKETS);
    if (marks === undefined) throw malformed('versions of ranges');
    return { what, marks };
  }
  if (what === 'floor') return { what, floors: decodeFloors(value) };
  if (what !== 'complete') return undefined;
  if (!Array.isArray(value) || value.length % 2 !== 0) throw malformed('ranges');
  let last = -1;
  for (const bound of value as unknown[]) {
    if (typeof bound !== 'number' || !Number.isInteger(bound) || bound <= last) {
      throw malformed('ranges');
    }
    last = bound;
  }
  return { what: 'complete', ranges: value as number[] };
}

function decodeFloors(value: unknown): Floor[] {
  if (!Array.isArray(value) || value.length % 3 !== 0) throw malformed('floors');
  const floors: Floor[] = [];
  for (let i = 0; i < value.length; i += 3) {
    const [from, to, bytes] = value.slice(i, i + 3) as unknown[];
    const isSlots = Number.isInteger(from) && Number.isInteger(to);
    const [first, end] = [from as number, to as number];
    if (!isSlots || first < 0 || first >= end || end > FLOOR_SLOTS) throw malformed('floors');
    floors.push({ from: first, to: end, timestamp: timestampField(bytes) });
  }
  return floors;
}

function fieldsOf(extra: Buffer): Readonly<Record<number, unknown>> {
  const value = unpack(extra);
  if (typeof value !== 'object' || value === null) throw malformed('extra fields');
  return value as Readonly<Record<number, unknown>>;
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed record: ${what}`);
}
