/**
 * The bytes of a ring, uncompressed and unsigned (`ring-file.ts` adds both). Integers little-endian.
 *
 *      0   8  magic "ANELRING"
 *      8   2  format version
 *     10   2  zero
 *     12   4  H, bytes of the header
 *     16   H  header: msgpack map, see HeaderFields
 *          .  each column: the low bytes of all its device ids, then the high bytes
 *          .  former sets: J partition numbers (4 bytes each, ascending), then J * width device ids
 *             (low bytes, then high bytes)
 *     end 32  SHA-256 of everything before
 *
 * Low and high bytes lie apart because the high ones compress to almost nothing. A decoder ignores
 * header keys that it does not know; what an old process must not ignore needs a new format version.
 */
import { hash } from 'node:crypto';
import { pack, unpack } from '#base/codec.ts';
import { OperatingError } from '#base/errors.ts';
import {
  type FormerTable,
  MAX_COLUMNS,
  MAX_DEVICES,
  MAX_PART_POWER,
  NO_DEVICE,
  type RingDevice,
  type RingFields,
} from './fields.ts';

const RING_MAGIC = 'ANELRING';
const RING_FORMAT = 1;
export const CHECKSUM_BYTES = 32;
export const PREFIX_BYTES = 16;
const MAX_HEADER_BYTES = 64 * 2 ** 20;
const MAX_NAME_LENGTH = 255;

/** An upper bound of the encoded size of any ring that `decodeRing` takes. */
export const MAX_RING_BYTES = 2 ** 30;

/** id, site, zone, node, name, weight, metadata */
type DeviceRow = [number, string, string, string, string, number, Readonly<Record<string, string>>];

interface HeaderFields {
  policy: number;
  version: number;
  partPower: number;
  copies: number;
  columnLengths: number[];
  devices: DeviceRow[];
  former: { count: number; width: number; since?: readonly number[] };
}

export function encodeRing(fields: RingFields): Buffer {
  const header = pack(headerOf(fields));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.write(RING_MAGIC, 0, 'latin1');
  prefix.writeUInt16LE(RING_FORMAT, 8);
  prefix.writeUInt32LE(header.length, 12);
  const { former } = fields;
  const tables = [
    ...fields.columns.map(splitBytes),
    partitionBytes(former),
    splitBytes(former.devices),
  ];
  const body = Buffer.concat([prefix, header, ...tables]);
  return Buffer.concat([body, hash('sha256', body, 'buffer')]);
}

function headerOf(fields: RingFields): HeaderFields {
  const { policy, version, partPower, copies, columns, former } = fields;
  return {
    policy,
    version,
    partPower,
    copies,
    columnLengths: columns.map((column) => column.length),
    devices: deviceRows(fields.devices),
    former: {
      count: former.partitions.length,
      width: former.width,
      ...sinceRuns(former, version),
    },
  };
}

/**
 * Since when the partitions are joint, as runs [version, how many, version, how many ...]. Left out
 * where all became joint with this very version, as in the first ring of a change.
 */
export function sinceRuns({ since }: FormerTable, version: number): { since?: number[] } {
  const runs: number[] = [];
  for (const value of since) {
    if (runs.at(-2) === value) runs[runs.length - 1]!++;
    else runs.push(value, 1);
  }
  const isPlain = runs.length === 0 || (runs.length === 2 && runs[0] === version);
  return isPlain ? {} : { since: runs };
}

/** @throws OperatingError `malformed` */
export function readSince(runs: unknown, count: number, version: number): Float64Array {
  const since = new Float64Array(count).fill(version);
  if (runs === undefined) return since;
  const numbers = array(runs, 2 * count);
  let at = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const value = integer(numbers[i], 0, version);
    const length = integer(numbers[i + 1], 1, count - at);
    since.fill(value, at, at + length);
    at += length;
  }
  if (at !== count) throw malformed('former versions');
  return since;
}

export function deviceRows(devices: readonly (RingDevice | undefined)[]): DeviceRow[] {
  return devices
    .filter((device) => device !== undefined)
    .map(({ id, site, zone, node, name, weight, meta }) => [
      id,
      site,
      zone,
      node,
      name,
      weight,
      meta,
    ]);
}

export function splitBytes(ids: Uint16Array): Buffer {
  const { length } = ids;
  const bytes = Buffer.allocUnsafe(length * 2);
  for (let i = 0; i < length; i++) {
    const id = ids[i]!;
    bytes[i] = id;
    bytes[length + i] = id >>> 8;
  }
  return bytes;
}

export function joinBytes(bytes: Uint8Array): Uint16Array {
  const length = bytes.length >>> 1;
  const ids = new Uint16Array(length);
  for (let i = 0; i < length; i++) ids[i] = bytes[i]! | (bytes[length + i]! << 8);
  return ids;
}

function partitionBytes({ partitions }: FormerTable): Buffer {
  const bytes = Buffer.alloc(partitions.length * 4);
  for (let i = 0; i < partitions.length; i++) bytes.writeUInt32LE(partitions[i]!, i * 4);
  return bytes;
}

/** @throws OperatingError `malformed`, `newer-format`, `checksum` */
export function decodeRing(input: Uint8Array): RingFields {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  const header = readHeader(bytes);
  const devices = readDeviceRows(header.devices);
  const reader = new TableReader(bytes, PREFIX_BYTES + bytes.readUInt32LE(12));
  const columns = header.columnLengths.map((length) => reader.ids(length));
  const former = reader.former(header.former, header.version);
  reader.end();
  const fields = { ...header, devices, columns, former };
  checkTables(fields);
  const { policy, version, partPower, copies } = header;
  return { policy, version, partPower, copies, devices, columns, former };
}

function readHeader(bytes: Buffer): HeaderFields {
  if (bytes.length < PREFIX_BYTES + CHECKSUM_BYTES) throw malformed('too short');
  if (bytes.toString('latin1', 0, 8) !== RING_MAGIC) throw malformed('not a ring');
  const format = bytes.readUInt16LE(8);
  if (format > RING_FORMAT) {
    throw new OperatingError('newer-format', 'ring written by a newer version', { format });
  }
  if (format !== RING_FORMAT) throw malformed('format version');
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  if (!hash('sha256', body, 'buffer').equals(bytes.subarray(-CHECKSUM_BYTES))) {
    throw new OperatingError('checksum', 'ring damaged: its checksum does not match');
  }
  const length = bytes.readUInt32LE(12);
  if (length > MAX_HEADER_BYTES || PREFIX_BYTES + length > body.length) throw malformed('header');
  return checkHeader(unpack(body.subarray(PREFIX_BYTES, PREFIX_BYTES + length)));
}

function checkHeader(value: unknown): HeaderFields {
  if (typeof value !== 'object' || value === null) throw malformed('header');
  const { policy, version, partPower, copies, columnLengths, devices, former } = value as Partial<
    Record<keyof HeaderFields, unknown>
  >;
  const checked = {
    policy: integer(policy, 0, 0xffff),
    version: integer(version, 0, Number.MAX_SAFE_INTEGER),
    partPower: integer(partPower, 0, MAX_PART_POWER),
    copies: integer(copies, 1, MAX_COLUMNS),
    columnLengths: array(columnLengths, MAX_COLUMNS).map((length) =>
      integer(length, 1, 2 ** MAX_PART_POWER),
    ),
    devices: array(devices, MAX_DEVICES) as HeaderFields['devices'],
    former: formerSize(former),
  };
  const partitions = 2 ** checked.partPower;
  const lengths = checked.columnLengths;
  const whole = lengths.slice(0, -1).every((length) => length === partitions);
  if (lengths.length === 0 || !whole || lengths.at(-1)! > partitions) throw malformed('columns');
  if (checked.former.count > partitions) throw malformed('former sets');
  return checked;
}

function formerSize(value: unknown): HeaderFields['former'] {
  if (typeof value !== 'object' || value === null) throw malformed('former sets');
  const { count, width, since } = value as Partial<Record<'count' | 'width' | 'since', unknown>>;
  return {
    count: integer(count, 0, 2 ** MAX_PART_POWER),
    width: integer(width, 0, MAX_COLUMNS),
    ...(since !== undefined && { since: since as readonly number[] }), // readSince checks it
  };
}

/** By id. @throws OperatingError `malformed` */
export function readDeviceRows(list: readonly unknown[]): (RingDevice | undefined)[] {
  const devices: (RingDevice | undefined)[] = [];
  for (const item of list) {
    const fields = array(item, 7);
    const id = integer(fields[0], 0, NO_DEVICE - 1);
    if (devices[id] !== undefined) throw malformed('device id given twice');
    const [site, zone, node, name] = [
      text(fields[1]),
      text(fields[2]),
      text(fields[3]),
      text(fields[4]),
    ];
    const weight = fields[5];
    if (typeof weight !== 'number' || !(weight >= 0 && weight < Infinity))
      throw malformed('weight');
    while (devices.length < id) devices.push(undefined);
    devices[id] = { id, site, zone, node, name, weight, meta: metadata(fields[6]) };
  }
  return devices;
}

function metadata(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed('metadata');
  const entries = Object.entries(value);
  if (!entries.every(([, item]) => typeof item === 'string')) throw malformed('metadata');
  return Object.fromEntries(entries);
}

class TableReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes.subarray(0, -CHECKSUM_BYTES);
    this.#at = at;
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw malformed('tables cut off');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  ids(length: number): Uint16Array {
    return joinBytes(this.#take(length * 2));
  }

  former({ count, width, since }: HeaderFields['former'], version: number): FormerTable {
    const bytes = this.#take(count * 4);
    const partitions = Uint32Array.from({ length: count }, (_, i) => bytes.readUInt32LE(i * 4));
    const devices = this.ids(count * width);
    return { partitions, since: readSince(since, count, version), width, devices };
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw malformed('bytes left over');
  }
}

/** Every id names a device, no partition names one twice, former partitions ascend. */
function checkTables(fields: RingFields): void {
  const { columns, devices, former } = fields;
  for (let c = 0; c < columns.length; c++) {
    const column = columns[c]!;
    for (let p = 0; p < column.length; p++) {
      const id = column[p]!;
      if (devices[id] === undefined) throw malformed('unknown device in a column');
      for (let d = 0; d < c; d++)
        if (columns[d]![p] === id) throw malformed('device twice in a partition');
    }
  }
  former.partitions.forEach((partition, i) => {
    const ascends = i === 0 || former.partitions[i - 1]! < partition;
    if (!ascends || partition >= 2 ** fields.partPower) throw malformed('former partitions');
  });
  for (const id of former.devices) {
    if (id !== NO_DEVICE && devices[id] === undefined)
      throw malformed('unknown device in a former set');
  }
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed ring: ${what}`);
}
function integer(value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most)
    return value;
  throw malformed('number out of range');
}
function array(value: unknown, most: number): unknown[] {
  if (Array.isArray(value) && value.length <= most) return value;
  throw malformed('list');
}
function text(value: unknown): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= MAX_NAME_LENGTH)
    return value;
  throw malformed('name');
}
