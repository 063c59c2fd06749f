/**
 * Reads the arguments of calls. A peer is a member of the cluster, but it may be of another version
 * or have a bug: every field is checked once here, and trusted after. Absent fields arrive as null.
 */
import { OperatingError } from '#base/errors.ts';
import { HASH_BYTES } from '#base/hash.ts';
import { parseTimestamp } from '#base/timestamp.ts';
import { CONSISTENCY_MODES } from '#ring/cluster.ts';
import type {
  AuditedArgs,
  BodiesArgs,
  DigestsArgs,
  EntryAddress,
  Listing,
  PromiseArgs,
  ReadArgs,
  RetireArgs,
  StagedArgs,
  StatArgs,
  StatesArgs,
  Target,
  WriteArgs,
} from './calls.ts';
import type { HoldingDigestsArgs, HoldingStatesArgs } from './holdings.ts';

export const MAX_TARGETS = 64;
export const MAX_RANGES = 4096;
export const MAX_STATES = 4096;
const MAX_WISHES = 256;
const MAX_PATH = 16 * 1024;

type Fields = Readonly<Record<string, unknown>>;

export function parseWrite(args: unknown): WriteArgs {
  const fields = record(args);
  return {
    ...address(fields),
    path: parsePath(fields),
    state: bytes(fields, 'state'),
    body: optionalBytes(fields, 'body'),
    stage: optionalText(fields, 'stage'),
    listing: absent(fields['listing']) ? undefined : parseListing(fields['listing']),
    intent: oneOf(fields, 'intent', ['write', 'accept', 'join']),
    afterRound: fields['afterRound'] === true,
    unlisted: fields['unlisted'] === true,
    sources: absent(fields['sources']) ? undefined : parseTargets(fields['sources']),
    from: absent(fields['from']) ? undefined : count(fields, 'from'),
  };
}

export function parsePromise(args: unknown): PromiseArgs {
  const fields = record(args);
  return {
    ...address(fields),
    path: parsePath(fields),
    ballot: parseTimestamp(fields['ballot']),
  };
}

export function parseStat(args: unknown): StatArgs {
  const fields = record(args);
  return { ...address(fields), brief: fields['brief'] === true };
}

export function parseRetire(args: unknown): RetireArgs {
  const fields = record(args);
  return { ...address(fields), path: parsePath(fields) };
}

export function parseAudited(args: unknown): AuditedArgs {
  return { device: count(record(args), 'device') };
}

export function parseStage(args: unknown): EntryAddress & { readonly path: string } {
  const fields = record(args);
  return { ...address(fields), path: parsePath(fields) };
}

export function parseStaged(args: unknown): StagedArgs {
  const fields = record(args);
  return { device: count(fields, 'device'), stage: text(fields, 'stage') };
}

export function parseRead(args: unknown): ReadArgs {
  const fields = record(args);
  return {
    ...address(fields),
    inlineUpTo: absent(fields['inlineUpTo']) ? undefined : count(fields, 'inlineUpTo'),
    range: absent(fields['range']) ? undefined : pair(fields['range']),
    pin: absent(fields['pin']) ? undefined : parseTimestamp(fields['pin']),
  };
}

export function parseBodies(args: unknown): BodiesArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    policy: count(fields, 'policy'),
    ringVersion: count(fields, 'ringVersion'),
    wishes: list(fields['wishes'], MAX_WISHES).map((item) => {
      const wish = record(item);
      return { hash: hash(wish, 'hash'), pin: parseTimestamp(wish['pin']) };
    }),
  };
}

export function parseDigests(args: unknown): DigestsArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    policy: count(fields, 'policy'),
    ringVersion: count(fields, 'ringVersion'),
    ranges: list(fields['ranges'], MAX_RANGES).map(pair),
  };
}

export function parseStates(args: unknown): StatesArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    policy: count(fields, 'policy'),
    ringVersion: count(fields, 'ringVersion'),
    from: hash(fields, 'from'),
    to: absent(fields['to']) ? null : hash(fields, 'to'),
    ranges: absent(fields['ranges']) ? undefined : list(fields['ranges'], MAX_RANGES).map(pair),
    limit: Math.min(MAX_STATES, Math.max(1, count(fields, 'limit'))),
  };
}

export function parseHoldingDigests(args: unknown): HoldingDigestsArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    policy: count(fields, 'policy'),
    ranges: list(fields['ranges'], MAX_RANGES).map(pair),
  };
}

export function parseHoldingStates(args: unknown): HoldingStatesArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    policy: count(fields, 'policy'),
    from: hash(fields, 'from'),
    to: absent(fields['to']) ? null : hash(fields, 'to'),
    limit: Math.min(MAX_STATES, Math.max(1, count(fields, 'limit'))),
  };
}

export function parseVersions(args: unknown): {
  readonly device: number;
  readonly policy: number;
  readonly hashes: readonly Buffer[];
} {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    policy: count(fields, 'policy'),
    hashes: list(fields['hashes'], MAX_STATES).map((item) => hash({ hash: item }, 'hash')),
  };
}

function address(fields: Fields): EntryAddress {
  return {
    device: count(fields, 'device'),
    policy: count(fields, 'policy'),
    hash: hash(fields, 'hash'),
    ringVersion: count(fields, 'ringVersion'),
  };
}

function parseListing(value: unknown): Listing {
  const fields = record(value);
  return {
    containerHash: hash(fields, 'containerHash'),
    ringVersion: count(fields, 'ringVersion'),
    targets: parseTargets(fields['targets']),
    mode: oneOf(fields, 'mode', CONSISTENCY_MODES),
    policy: count(fields, 'policy'),
    ...(!absent(fields['from']) && { from: count(fields, 'from') }),
    ...(!absent(fields['since']) && { since: parseTimestamp(fields['since']) }),
  };
}

function parseTargets(value: unknown): Target[] {
  return list(value, MAX_TARGETS).map((item) => {
    const fields = record(item);
    return { device: count(fields, 'device'), node: text(fields, 'node') };
  });
}

function parsePath(fields: Fields): string {
  const path = text(fields, 'path');
  if (path.length > MAX_PATH || !path.startsWith('/')) throw malformed('path');
  return path;
}

/** A copy: the bytes that arrived belong to a much larger chunk. */
function hash(fields: Fields, name: string): Buffer {
  const value = fields[name];
  if (!(value instanceof Uint8Array) || value.length !== HASH_BYTES) throw malformed(name);
  return Buffer.from(value);
}

function bytes(fields: Fields, name: string): Buffer {
  const value = fields[name];
  if (Buffer.isBuffer(value)) return value;
  if (!(value instanceof Uint8Array)) throw malformed(name);
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}

function optionalBytes(fields: Fields, name: string): Buffer | undefined {
  return absent(fields[name]) ? undefined : bytes(fields, name);
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw malformed(name);
  return value;
}

function optionalText(fields: Fields, name: string): string | undefined {
  return absent(fields[name]) ? undefined : text(fields, name);
}

function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (!isCount(value)) throw malformed(name);
  return value;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function pair(value: unknown): readonly [number, number] {
  const [start, end] = Array.isArray(value) ? (value as unknown[]) : [];
  if (!isCount(start) || !isCount(end) || start > end) throw malformed('range');
  return [start, end];
}

function list(value: unknown, limit: number): unknown[] {
  if (!Array.isArray(value) || value.length > limit) throw malformed('list');
  return value as unknown[];
}

function oneOf<T extends string>(fields: Fields, name: string, values: readonly T[]): T {
  const value = values.find((candidate) => candidate === fields[name]);
  if (value === undefined) throw malformed(name);
  return value;
}

function record(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('map');
  return value as Fields;
}

function absent(value: unknown): boolean {
  return value === undefined || value === null;
}

function malformed(field: string): OperatingError {
  return new OperatingError('malformed', `malformed call: ${field}`, { field });
}
