/**
 * The bytes of an EntryState, the same on disk, on the wire and under a digest.
 *
 *   msgpack array [version, data | nil, groups]
 *   data    map  field number (below) -> value; absent fields are left out, numbers ascend
 *   groups  array of [name, timestamp (10 bytes), [key, value, key, value ...]], names and keys sorted
 *
 * The form is canonical: equal states have equal bytes. A field number is never reused. A decoder
 * refuses a version above its own (`newer-format`) and keeps no unknown fields: a new field that must
 * survive old processes comes with a new version and a feature bit.
 * Version 2: a body may have a fourth field, when it was written.
 */
import { pack, unpack } from './codec.ts';
import { type DataPart, type EntryState, type Group, KINDS, MANIFEST_KINDS } from './entry.ts';
import { OperatingError } from './errors.ts';
import {
  TIMESTAMP_BYTES,
  type Timestamp,
  timestampFromBytes,
  timestampToBytes,
} from './timestamp.ts';

export const ENTRY_VERSION = 2;
/** What says only what version 1 could say is written as that, byte for byte. */
const FIRST_VERSION = 1;

const FIELD = {
  timestamp: 0,
  kind: 1,
  writeId: 2,
  base: 3,
  expiredSource: 4,
  clientMicros: 5,
  etag: 6,
  size: 7,
  contentType: 8,
  deleteAt: 9,
  manifest: 10,
  body: 11,
  versionId: 12,
  deleteMarker: 13,
  replicas: 14,
  checksums: 15,
  owner: 16,
  unconditional: 17,
} as const;

const MAX_GROUPS = 4096;

/** @throws OperatingError `too-many-groups`: what could not be read back is not written */
export function encodeState(state: EntryState): Buffer {
  return pack([
    isOfFirstVersion(state.data) ? FIRST_VERSION : ENTRY_VERSION,
    state.data === undefined ? null : dataFields(state.data),
    groupList(state),
  ]);
}

function isOfFirstVersion(data: DataPart | undefined): boolean {
  return data?.body?.written === undefined && data?.unconditional === undefined;
}

function dataFields(data: DataPart): Map<number, unknown> {
  const fields = new Map<number, unknown>();
  const set = (number: number, value: unknown): void => {
    if (value !== undefined) fields.set(number, value);
  };
  set(FIELD.timestamp, timestampToBytes(data.timestamp));
  set(FIELD.kind, KINDS.indexOf(data.kind));
  set(FIELD.writeId, Buffer.from(data.writeId, 'hex'));
  set(FIELD.base, data.base && timestampToBytes(data.base));
  set(FIELD.expiredSource, data.expiredSource && timestampToBytes(data.expiredSource));
  set(FIELD.clientMicros, data.clientMicros);
  set(FIELD.etag, data.etag);
  set(FIELD.size, data.size);
  set(FIELD.contentType, data.contentType);
  set(FIELD.deleteAt, data.deleteAt);
  set(FIELD.manifest, data.manifest && MANIFEST_KINDS.indexOf(data.manifest));
  set(FIELD.body, data.body && bodyFields(data.body));
  set(FIELD.versionId, data.versionId);
  set(FIELD.deleteMarker, data.deleteMarker);
  set(FIELD.replicas, data.replicas);
  set(FIELD.checksums, data.checksums && flatSorted(data.checksums));
  set(FIELD.owner, data.owner);
  set(FIELD.unconditional, data.unconditional);
  return fields;
}

function bodyFields(body: NonNullable<DataPart['body']>): unknown[] {
  const { fragment, transform, written } = body;
  const fields: unknown[] = [
    body.length,
    fragment ? [fragment.index, fragment.k, fragment.m] : null,
    transform ? [transform.algorithm, transform.keyId, transform.parameters ?? null] : null,
  ];
  if (written !== undefined) fields.push(timestampToBytes(written));
  return fields;
}

function groupList(state: EntryState): unknown[] {
  const names = Object.keys(state.groups).sort();
  if (names.length > MAX_GROUPS) {
    throw new OperatingError('too-many-groups', 'too many metadata groups', {
      groups: names.length,
    });
  }
  return names.map((name) => {
    const group = state.groups[name]!;
    return [name, timestampToBytes(group.timestamp), flatSorted(group.values)];
  });
}

function flatSorted(values: Readonly<Record<string, string>>): string[] {
  const flat: string[] = [];
  for (const key of Object.keys(values).sort()) flat.push(key, values[key]!);
  return flat;
}

/** @throws OperatingError `malformed`, `newer-format` */
export function decodeState(bytes: Uint8Array): EntryState {
  const value = unpack(bytes);
  if (!Array.isArray(value) || typeof value[0] !== 'number') throw malformed('entry');
  if (value[0] > ENTRY_VERSION) {
    throw new OperatingError('newer-format', 'entry written by a newer version', {
      version: value[0],
    });
  }
  const groups = decodeGroups(value[2]);
  return value[1] === null ? { groups } : { data: decodeData(value[1]), groups };
}

function decodeData(value: unknown): DataPart {
  if (typeof value !== 'object' || value === null) throw malformed('data part');
  const fields = value as Readonly<Record<number, unknown>>;
  const kind = KINDS[asNumber(fields[FIELD.kind])];
  if (kind === undefined) throw malformed('kind');
  const data: { -readonly [K in keyof DataPart]: DataPart[K] } = {
    timestamp: asTimestamp(fields[FIELD.timestamp]),
    kind,
    writeId: Buffer.from(asBytes(fields[FIELD.writeId])).toString('hex'),
    clientMicros: asNumber(fields[FIELD.clientMicros]),
    etag: asString(fields[FIELD.etag]),
    size: asNumber(fields[FIELD.size]),
    contentType: asString(fields[FIELD.contentType]),
  };
  const has = (number: number): boolean => fields[number] !== undefined && fields[number] !== null;
  if (has(FIELD.base)) data.base = asTimestamp(fields[FIELD.base]);
  if (has(FIELD.expiredSource)) data.expiredSource = asTimestamp(fields[FIELD.expiredSource]);
  if (has(FIELD.deleteAt)) data.deleteAt = asNumber(fields[FIELD.deleteAt]);
  if (has(FIELD.manifest)) data.manifest = MANIFEST_KINDS[asNumber(fields[FIELD.manifest])];
  if (has(FIELD.body)) data.body = decodeBody(fields[FIELD.body]);
  if (has(FIELD.versionId)) data.versionId = asString(fields[FIELD.versionId]);
  if (has(FIELD.deleteMarker)) data.deleteMarker = asBoolean(fields[FIELD.deleteMarker]);
  if (has(FIELD.replicas)) data.replicas = asNumber(fields[FIELD.replicas]);
  if (has(FIELD.checksums)) data.checksums = unflatten(fields[FIELD.checksums]);
  if (has(FIELD.owner)) data.owner = asString(fields[FIELD.owner]);
  if (has(FIELD.unconditional)) data.unconditional = true;
  return data;
}

function decodeBody(value: unknown): NonNullable<DataPart['body']> {
  if (!Array.isArray(value)) throw malformed('body');
  const fragment = asOptional(value[1]);
  const transform = asOptional(value[2]);
  return {
    length: asNumber(value[0]),
    ...(value.length > 3 && { written: asTimestamp(value[3]) }),
    ...(fragment && {
      fragment: {
        index: asNumber(fragment[0]),
        k: asNumber(fragment[1]),
        m: asNumber(fragment[2]),
      },
    }),
    ...(transform && {
      transform: {
        algorithm: asString(transform[0]),
        keyId: asString(transform[1]),
        ...(transform[2] !== null && { parameters: Buffer.from(asBytes(transform[2])) }),
      },
    }),
  };
}

function decodeGroups(value: unknown): Record<string, Group> {
  if (!Array.isArray(value) || value.length > MAX_GROUPS) throw malformed('groups');
  const groups: Record<string, Group> = {};
  for (const item of value as unknown[]) {
    if (!Array.isArray(item)) throw malformed('group');
    const name = asString(item[0]);
    if (name === '__proto__') throw malformed('group name');
    groups[name] = { timestamp: asTimestamp(item[1]), values: unflatten(item[2]) };
  }
  return groups;
}

function unflatten(value: unknown): Record<string, string> {
  if (!Array.isArray(value) || value.length % 2 !== 0) throw malformed('values');
  const values: Record<string, string> = {};
  for (let i = 0; i < value.length; i += 2)
    setValue(values, asString(value[i]), asString(value[i + 1]));
  return values;
}

/** A client may name its metadata `__proto__`: assigned plainly, that would vanish. */
function setValue(values: Record<string, string>, key: string, value: string): void {
  if (key !== '__proto__') values[key] = value;
  else
    Object.defineProperty(values, key, {
      value,
      enumerable: true,
      writable: true,
      configurable: true,
    });
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed entry: ${what}`);
}
function asNumber(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw malformed('number');
}
function asString(value: unknown): string {
  if (typeof value === 'string') return value;
  throw malformed('string');
}
function asBoolean(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw malformed('boolean');
}
/** An array, or nil where the part is absent. */
function asOptional(value: unknown): unknown[] | undefined {
  if (value === null) return undefined;
  if (Array.isArray(value)) return value as unknown[];
  throw malformed('array');
}
function asBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw malformed('bytes');
}
function asTimestamp(value: unknown): Timestamp {
  const bytes = asBytes(value);
  // The top byte stays zero for a thousand years more; anything else is damage or an attack.
  if (bytes.length !== TIMESTAMP_BYTES || bytes[0] !== 0) throw malformed('timestamp');
  return timestampFromBytes(bytes);
}
