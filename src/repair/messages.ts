/**
 * repair.compare: one message from node to node for everything that the two share. The asker says its
 * sum for each ring; where the sums differ, the reply has those of the pairs of devices, so that the
 * asker knows which to compare partition by partition. Both tell of their devices.
 *
 * In sync, with three rings and two devices each, that is about 2 KiB either way.
 */
import { OperatingError } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Debt } from '#object/debt.ts';
import type { BoundsReader } from './packed-bounds.ts';
import { SUM_BYTES } from './pair-sums.ts';

export interface CompareArgs {
  readonly rings: readonly RingSum[];
  readonly devices: readonly DeviceState[];
  readonly debts: readonly SiteDebt[];
}

/** What the teller's stand-ins hold for a site. */
export interface SiteDebt extends Debt {
  readonly site: string;
}

export interface RingSum {
  readonly policy: PolicyIndex;
  /** Sums of different versions of a ring are of different partitions. */
  readonly version: number;
  /** Null: one of the asker's devices is not to be had. */
  readonly sum: Buffer | null;
}

export interface CompareReply {
  /** In the order of the rings asked about. */
  readonly rings: readonly RingAnswer[];
  readonly devices: readonly DeviceState[];
  readonly debts: readonly SiteDebt[];
}

/** `pairs` in the order of both sides' PairSums.pairs; null: other ring versions, or too many. */
export interface RingAnswer {
  readonly equal: boolean;
  readonly pairs: readonly (Buffer | null)[] | null;
}

export interface CompleteRanges {
  readonly ring: PolicyIndex;
  /** [from, to, from, to ...], ascending. */
  readonly bounds: readonly number[];
}

export interface DeviceState {
  readonly id: number;
  readonly incarnation: string;
  readonly status: string;
  /** By ring; one with too many ranges is left out. Packed on the wire (packed-bounds.ts). */
  readonly complete: readonly CompleteRanges[];
  /** Rounds of comparing everything that it holds: how many were begun and finished, since `run`. */
  readonly run: string;
  readonly roundsBegun: number;
  readonly roundsDone: number;
}

export const MAX_RINGS = 300;
export const MAX_DEVICES = 256;
const MAX_SITES = 1_024;
export const MAX_PAIRS = 4_096;
const MAX_BOUNDS = 2 * 4_096 + 1;
const MAX_TEXT = 64;

type Fields = Readonly<Record<string, unknown>>;

/** `bounds`: what is told again and again is worked out once. */
export function parseCompareArgs(value: unknown, bounds: BoundsReader): CompareArgs {
  const fields = record(value);
  const rings = list(fields['rings'], MAX_RINGS).map((item): RingSum => {
    const ring = record(item);
    return {
      policy: count(ring['policy']),
      version: count(ring['version']),
      sum: sumOf(ring['sum']),
    };
  });
  return {
    rings,
    devices: parseDevices(fields['devices'], bounds),
    debts: parseDebts(fields['debts']),
  };
}

export function parseCompareReply(value: unknown, bounds: BoundsReader): CompareReply {
  const fields = record(value);
  const rings = list(fields['rings'], MAX_RINGS).map((item): RingAnswer => {
    const ring = record(item);
    const pairs = ring['pairs'];
    return {
      equal: ring['equal'] === true,
      pairs: pairs === null || pairs === undefined ? null : list(pairs, MAX_PAIRS).map(sumOf),
    };
  });
  return {
    rings,
    devices: parseDevices(fields['devices'], bounds),
    debts: parseDebts(fields['debts']),
  };
}

function parseDebts(value: unknown): SiteDebt[] {
  return list(value, MAX_SITES).map((item) => {
    const { site, entries, bytes } = record(item);
    return { site: text(site), entries: count(entries), bytes: count(bytes) };
  });
}

function parseDevices(value: unknown, reader: BoundsReader): DeviceState[] {
  return list(value, MAX_DEVICES).map((item) => {
    const device = record(item);
    return {
      id: count(device['id']),
      incarnation: text(device['incarnation']),
      status: text(device['status']),
      complete: list(device['complete'], MAX_RINGS).map((item) => {
        const { ring, bounds } = record(item);
        return { ring: count(ring), bounds: reader.read(packed(bounds), MAX_BOUNDS) };
      }),
      run: text(device['run']),
      roundsBegun: count(device['roundsBegun']),
      roundsDone: count(device['roundsDone']),
    };
  });
}

function record(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('map');
  return value as Fields;
}

function list(value: unknown, limit: number): unknown[] {
  if (!Array.isArray(value) || value.length > limit) throw malformed('list');
  return value as unknown[];
}

function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw malformed('number');
  return value as number;
}

function text(value: unknown): string {
  if (typeof value !== 'string' || value.length > MAX_TEXT) throw malformed('text');
  return value;
}

/** A copy: what arrived is a view into a larger chunk. */
function sumOf(value: unknown): Buffer | null {
  if (value === null || value === undefined) return null;
  if (!(value instanceof Uint8Array) || value.length !== SUM_BYTES) throw malformed('sum');
  return Buffer.from(value);
}

function packed(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed('ranges');
  return value;
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed message of repair: ${what}`, { what });
}
