/** Arguments of the row calls, checked: every peer's message is input like any other. */
import { OperatingError } from '#base/errors.ts';
import { HASH_BYTES } from '#base/hash.ts';
import { parseTimestamp } from '#base/timestamp.ts';
import { CONSISTENCY_MODES } from '#ring/cluster.ts';
import { DIGEST_BYTES } from '../digest.ts';
import type { ListQuery } from '../query.ts';
import { BUCKET_BITS } from '../summary.ts';
import type {
  ContainersArgs,
  HoldingAsked,
  HoldingsArgs,
  ListArgs,
  OwnListing,
  OwnStateArgs,
  PullArgs,
  RemoveArgs,
  RowAddress,
  RowDigestsArgs,
  RowItem,
  RowsArgs,
  RowTarget,
  SealArgs,
} from './calls.ts';

const MAX_ROWS_PER_CALL = 1000;
export const MAX_PULL_ROWS = 1000;
const MAX_CONTAINERS_PER_PAGE = 1000;
export const MAX_NAME_BYTES = 4096;
export const MAX_PATH_BYTES = 2048;
const MAX_RANGES = 1024;
const MAX_TARGETS = 64;
const MAX_SEAL_MS = 120_000;
const MAX_TEXT = 256;

type Fields = Readonly<Record<string, unknown>>;

export function parseRows(args: unknown): RowsArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    ringVersion: count(fields, 'ringVersion'),
    intent: oneOf(fields, 'intent', ['write', 'repair'] as const),
    rows: list(fields['rows'], MAX_ROWS_PER_CALL).map(parseRow),
    ...(!absent(fields['from']) && { from: count(fields, 'from') }),
  };
}

function parseRow(value: unknown): RowItem {
  const fields = record(value);
  const item = {
    hash: bytes(fields, 'hash', HASH_BYTES),
    path: parsePath(fields),
    name: name(fields, 'name'),
    state: bytes(fields, 'state'),
  };
  if (item.name === '') throw malformed('name');
  return {
    ...item,
    ...(!absent(fields['policy']) && { policy: count(fields, 'policy') }),
    ...(!absent(fields['mode']) && { mode: oneOf(fields, 'mode', CONSISTENCY_MODES) }),
    ...(!absent(fields['from']) && { from: count(fields, 'from') }),
    ...(!absent(fields['since']) && { since: parseTimestamp(fields['since']) }),
    ...(!absent(fields['keptIn']) && { keptIn: count(fields, 'keptIn') }),
  };
}

export function parseAddress(args: unknown): RowAddress {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    hash: Buffer.from(bytes(fields, 'hash', HASH_BYTES)),
    path: parsePath(fields),
    ringVersion: count(fields, 'ringVersion'),
  };
}

export function parseOwnState(args: unknown): OwnStateArgs {
  const fields = record(args);
  return {
    ...parseAddress(args),
    state: bytes(fields, 'state'),
    intent: oneOf(fields, 'intent', ['write', 'repair'] as const),
    ...parseListing(fields['listing']),
    ...(!absent(fields['from']) && { from: count(fields, 'from') }),
  };
}

function parseListing(value: unknown): { listing?: OwnListing } {
  if (absent(value)) return {};
  const fields = record(value);
  const listing = {
    accountHash: Buffer.from(bytes(fields, 'accountHash', HASH_BYTES)),
    accountPath: text(fields, 'accountPath', MAX_PATH_BYTES),
    ringVersion: count(fields, 'ringVersion'),
    targets: list(fields['targets'], MAX_TARGETS).map(parseTarget),
  };
  return { listing };
}

function parseTarget(value: unknown): RowTarget {
  const fields = record(value);
  return { device: count(fields, 'device'), node: text(fields, 'node', MAX_TEXT) };
}

export function parseList(args: unknown): ListArgs {
  const fields = record(args);
  const read = oneOf(fields, 'read', ['quorum', 'nearest'] as const);
  return { ...parseAddress(args), query: parseQuery(record(fields['query'])), read };
}

function parseQuery(fields: Fields): ListQuery {
  const optional = (field: string): string | undefined =>
    absent(fields[field]) ? undefined : name(fields, field);
  return {
    limit: count(fields, 'limit'),
    prefix: optional('prefix'),
    delimiter: optional('delimiter'),
    marker: optional('marker'),
    endMarker: optional('endMarker'),
    reverse: fields['reverse'] === true,
    checksums: fields['checksums'] === true,
  };
}

export function parseSeal(args: unknown): SealArgs {
  const fields = record(args);
  const deadlineMs = Math.min(MAX_SEAL_MS, count(fields, 'deadlineMs'));
  return { ...parseAddress(args), seal: text(fields, 'seal', MAX_TEXT), deadlineMs };
}

export function parseUnseal(args: unknown): RowAddress & { readonly seal: string } {
  return { ...parseAddress(args), seal: text(record(args), 'seal', MAX_TEXT) };
}

export function parseRemove(args: unknown): Omit<RemoveArgs, 'deadlineMs'> {
  const fields = record(args);
  return {
    ...parseUnseal(args),
    state: bytes(fields, 'state'),
    ...parseListing(fields['listing']),
  };
}

export function parsePull(args: unknown): PullArgs {
  const fields = record(args);
  return {
    ...parseAddress(args),
    incarnation: absent(fields['incarnation']) ? null : text(fields, 'incarnation', MAX_TEXT),
    since: count(fields, 'since'),
    limit: Math.min(MAX_PULL_ROWS, Math.max(1, count(fields, 'limit'))),
    digest: bytes(fields, 'digest', DIGEST_BYTES),
  };
}

export function parseDigests(args: unknown): RowDigestsArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    ringVersion: count(fields, 'ringVersion'),
    ranges: list(fields['ranges'], MAX_RANGES).map(bucketRange),
  };
}

function bucketRange(value: unknown): readonly [number, number] {
  const [from, to] = Array.isArray(value) ? (value as unknown[]) : [];
  if (!isCount(from) || !isCount(to) || from >= to || to > 2 ** BUCKET_BITS)
    throw malformed('range');
  return [from, to];
}

export function parseContainers(args: unknown): ContainersArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    ringVersion: count(fields, 'ringVersion'),
    from: Buffer.from(bytes(fields, 'from', HASH_BYTES)),
    to: absent(fields['to']) ? null : Buffer.from(bytes(fields, 'to', HASH_BYTES)),
    limit: Math.min(MAX_CONTAINERS_PER_PAGE, Math.max(1, count(fields, 'limit'))),
  };
}

export function parseHoldings(args: unknown): HoldingsArgs {
  const fields = record(args);
  return {
    device: count(fields, 'device'),
    ringVersion: count(fields, 'ringVersion'),
    holdings: list(fields['holdings'], MAX_ROWS_PER_CALL).map(parseHolding),
  };
}

function parseHolding(value: unknown): HoldingAsked {
  const fields = record(value);
  const asked = { path: parsePath(fields), above: parseTimestamp(fields['above']) };
  if (fields['owner'] === undefined) return asked;
  return { ...asked, owner: text(fields, 'owner', MAX_PATH_BYTES) };
}

function parsePath(fields: Fields): string {
  const path = text(fields, 'path', MAX_PATH_BYTES);
  if (!path.startsWith('/')) throw malformed('path');
  return path;
}

/** A row's name or a part of one: UTF-8 that orders as its bytes do. */
function name(fields: Fields, field: string): string {
  const value = text(fields, field, MAX_NAME_BYTES);
  if (!value.isWellFormed()) throw malformed(field);
  return value;
}

function text(fields: Fields, field: string, maxBytes: number): string {
  const value = fields[field];
  if (typeof value !== 'string' || Buffer.byteLength(value) > maxBytes) throw malformed(field);
  return value;
}

function bytes(fields: Fields, field: string, length?: number): Buffer {
  const value = fields[field];
  if (!(value instanceof Uint8Array)) throw malformed(field);
  if (length !== undefined && value.length !== length) throw malformed(field);
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.length);
}

function count(fields: Fields, field: string): number {
  const value = fields[field];
  if (!isCount(value)) throw malformed(field);
  return value;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function oneOf<T extends string>(fields: Fields, field: string, values: readonly T[]): T {
  const value = values.find((candidate) => candidate === fields[field]);
  if (value === undefined) throw malformed(field);
  return value;
}

function list(value: unknown, limit: number): unknown[] {
  if (!Array.isArray(value) || value.length > limit) throw malformed('list');
  return value as unknown[];
}

function record(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('map');
  return value as Fields;
}

function absent(value: unknown): boolean {
  return value === undefined || value === null;
}

export function malformed(field: string): OperatingError {
  return new OperatingError('malformed', `malformed call: ${field}`, { field });
}
