/**
 * The bytes of a builder: the current state and the earlier ones that undo goes back to. Integers
 * little-endian.
 *
 *      0   8  magic "ANELBLDR"
 *      8   2  format version
 *     10   1  compression: 1 = raw deflate
 *     11   1  zero
 *     12   4  U, bytes of the content when uncompressed
 *     16   .  the content, compressed:
 *                4   H, bytes of the header
 *                H   header: msgpack list of StateFields, the current state first
 *                .   the tables of each state: columns (low bytes, then high bytes), movedAt (4 bytes
 *                    each), former partitions (4 bytes each), former device ids (2 bytes each)
 *     end 32  SHA-256 of everything before
 *
 * The tables of an earlier state that are as long as those of the state after it are stored as the
 * exclusive or of both: what did not change is zeros, which compress to nothing.
 */
import { hash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { pack, unpack } from '#base/codec.ts';
import { OperatingError } from '#base/errors.ts';
import { MAX_COLUMNS, MAX_DEVICES, NO_DEVICE, type RingDevice } from '../fields.ts';
import {
  deviceRows,
  joinBytes,
  readDeviceRows,
  readSince,
  sinceRuns,
  splitBytes,
} from '../format.ts';
import { formerMap, formerTable } from './former.ts';
import { type BuilderState, checkSettings, type RingSettings } from './state.ts';

const BUILDER_MAGIC = 'ANELBLDR';
const BUILDER_FORMAT = 1;
const DEFLATE = 1;
const PREFIX_BYTES = 16;
const CHECKSUM_BYTES = 32;
const MAX_STATES = 64;
const MAX_CONTENT_BYTES = 2 ** 31 - 1;

interface StateFields {
  settings: RingSettings;
  version: number;
  nextDevice: number;
  devices: unknown[];
  retired: unknown[];
  columnLengths: number[];
  former: { count: number; width: number; since?: readonly number[] };
}

export function encodeBuilderFile(states: readonly BuilderState[]): Buffer {
  const header = pack(states.map(stateFields));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  const tables = states.map(tableBytes);
  const stored = tables.map((table, i) => (i === 0 ? table : difference(table, tables[i - 1]!)));
  const content = Buffer.concat([length, header, ...stored]);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.write(BUILDER_MAGIC, 0, 'latin1');
  prefix.writeUInt16LE(BUILDER_FORMAT, 8);
  prefix[10] = DEFLATE;
  prefix.writeUInt32LE(content.length, 12);
  const body = Buffer.concat([prefix, deflateRawSync(content, { level: 1 })]);
  return Buffer.concat([body, hash('sha256', body, 'buffer')]);
}

function stateFields(state: BuilderState): StateFields {
  const { settings, version, nextDevice, devices, retired, columns } = state;
  const former = formerTable(state.former);
  return {
    settings,
    version,
    nextDevice,
    devices: deviceRows(devices),
    retired: deviceRows([...retired.values()]),
    columnLengths: columns.map((column) => column.length),
    former: {
      count: former.partitions.length,
      width: former.width,
      ...sinceRuns(former, version),
    },
  };
}

function tableBytes(state: BuilderState): Buffer {
  const former = formerTable(state.former);
  return Buffer.concat([
    ...state.columns.map(splitBytes),
    wordBytes(state.movedAt),
    wordBytes(former.partitions),
    splitBytes(former.devices),
  ]);
}

function wordBytes(words: Uint32Array): Buffer {
  const bytes = Buffer.alloc(words.length * 4);
  for (let i = 0; i < words.length; i++) bytes.writeUInt32LE(words[i]!, i * 4);
  return bytes;
}

/** Its own inverse. Tables of different lengths are of different rings: nothing to gain. */
function difference(table: Buffer, newer: Buffer): Buffer {
  if (table.length !== newer.length) return table;
  const bytes = Buffer.allocUnsafe(table.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = table[i]! ^ newer[i]!;
  return bytes;
}

/** @throws OperatingError `malformed`, `newer-format`, `checksum` */
export function decodeBuilderFile(input: Uint8Array): BuilderState[] {
  const content = readContent(Buffer.from(input.buffer, input.byteOffset, input.byteLength));
  if (content.length < 4) throw malformed('content');
  const headerEnd = 4 + content.readUInt32LE(0);
  if (headerEnd > content.length) throw malformed('header');
  const list = unpack(content.subarray(4, headerEnd));
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_STATES)
    throw malformed('states');
  const states: BuilderState[] = [];
  let at = headerEnd;
  let newer: Buffer = Buffer.alloc(0);
  for (const item of list as unknown[]) {
    const fields = checkFields(item);
    const length = tableLength(fields);
    if (at + length > content.length) throw malformed('tables cut off');
    const stored = content.subarray(at, at + length);
    newer = states.length === 0 ? stored : difference(stored, newer);
    states.push(readState(fields, newer));
    at += length;
  }
  if (at !== content.length) throw malformed('bytes left over');
  return states;
}

function readContent(bytes: Buffer): Buffer {
  if (bytes.length < PREFIX_BYTES + CHECKSUM_BYTES) throw malformed('too short');
  if (bytes.toString('latin1', 0, 8) !== BUILDER_MAGIC) throw malformed('not a builder file');
  const format = bytes.readUInt16LE(8);
  if (format > BUILDER_FORMAT) {
    throw new OperatingError('newer-format', 'builder written by a newer version', { format });
  }
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  if (!hash('sha256', body, 'buffer').equals(bytes.subarray(-CHECKSUM_BYTES))) {
    throw new OperatingError('checksum', 'builder file damaged: its checksum does not match');
  }
  const length = bytes.readUInt32LE(12);
  if (format !== BUILDER_FORMAT || bytes[10] !== DEFLATE) throw malformed('compression');
  if (length > MAX_CONTENT_BYTES) throw malformed('too large');
  try {
    const content = inflateRawSync(body.subarray(PREFIX_BYTES), { maxOutputLength: length + 1 });
    if (content.length === length) return content;
  } catch (cause) {
    throw new OperatingError('malformed', 'malformed builder: compression', {}, { cause });
  }
  throw malformed('length');
}

/** The file is the builder's own and checksummed: this guards against bugs and bad versions. */
function checkFields(value: unknown): StateFields {
  const fields = value as StateFields;
  try {
    checkSettings(fields.settings);
  } catch (cause) {
    throw new OperatingError('malformed', 'malformed builder: settings', {}, { cause });
  }
  const partitions = 2 ** fields.settings.partPower;
  const { columnLengths: lengths, former, devices, retired, version, nextDevice } = fields;
  const inside = (number: unknown, most: number): boolean =>
    Number.isSafeInteger(number) && (number as number) >= 0 && (number as number) <= most;
  const good =
    Array.isArray(devices) &&
    Array.isArray(retired) &&
    devices.length <= MAX_DEVICES &&
    Array.isArray(lengths) &&
    lengths.length <= MAX_COLUMNS &&
    lengths.every(
      (n, i) => inside(n, partitions) && (i === lengths.length - 1 || n === partitions),
    ) &&
    inside(version, Number.MAX_SAFE_INTEGER) &&
    inside(nextDevice, NO_DEVICE) &&
    inside(former?.count, partitions) &&
    inside(former?.width, MAX_COLUMNS);
  if (!good) throw malformed('state');
  return fields;
}

function tableLength({ settings, columnLengths, former }: StateFields): number {
  const slots = columnLengths.reduce((sum, length) => sum + length, 0);
  return slots * 2 + 2 ** settings.partPower * 4 + former.count * (4 + former.width * 2);
}

function readState(fields: StateFields, tables: Buffer): BuilderState {
  const { settings, version, nextDevice, columnLengths, former } = fields;
  let at = 0;
  const take = (length: number): Buffer => tables.subarray(at, (at += length));
  const words = (count: number): Uint32Array => {
    const bytes = take(count * 4);
    return Uint32Array.from({ length: count }, (_, i) => bytes.readUInt32LE(i * 4));
  };
  const columns = columnLengths.map((length) => joinBytes(take(length * 2)));
  const movedAt = words(2 ** settings.partPower);
  const partitions = words(former.count);
  const ids = joinBytes(take(former.count * former.width * 2));
  const retired = readDeviceRows(fields.retired).filter((device) => device !== undefined);
  const state = {
    settings,
    version,
    nextDevice,
    devices: readDeviceRows(fields.devices),
    columns,
    movedAt,
    former: formerMap({
      partitions,
      since: readSince(former.since, former.count, version),
      width: former.width,
      devices: ids,
    }),
    retired: new Map(retired.map((device): [number, RingDevice] => [device.id, device])),
  };
  checkIds(state);
  return state;
}

function checkIds({ columns, devices, former, retired }: BuilderState): void {
  for (const column of columns) {
    for (const id of column) if (devices[id] === undefined) throw malformed('unknown device');
  }
  for (const { ids } of former.values()) {
    for (const id of ids) {
      if (devices[id] === undefined && !retired.has(id)) throw malformed('unknown former device');
    }
  }
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed builder: ${what}`);
}
