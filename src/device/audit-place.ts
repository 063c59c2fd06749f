/**
 * audit.json in the device's folder: where the auditor is, so that a restart goes on there, and since
 * when everything has been verified. JSON with a CRC-32 over its other fields, as device.json.
 *
 * Lost, damaged or of another incarnation, the cycle begins anew. An index that is lost as well is then made anew
 * without anybody knowing that records of forgetting were lost (`forgetBelow`).
 */
import { crc32 } from 'node:zlib';
import type { Disk, Log } from '#env/env.ts';

/** In the device's folder. */
export const AUDIT_PLACE = 'audit.json';
const AUDIT_FORMAT = 1;

export const AUDIT_PHASES = ['log', 'blobs', 'index', 'rows'] as const;
export type AuditPhase = (typeof AUDIT_PHASES)[number];

export interface AuditPlace {
  readonly incarnation: string;
  readonly phase: AuditPhase;
  /** Where in the phase: its own text; '' for its beginning. */
  readonly at: string;
  /** Wall milliseconds when this cycle began. */
  readonly startedMs: number;
  /** Bytes read in this cycle. */
  readonly readBytes: number;
  /** Cycles completed by this incarnation. */
  readonly cycles: number;
  /** Begin of the last complete cycle: everything has been read since then. */
  readonly verifiedSinceMs: number | null;
  /** Damaged places found since the device was made. */
  readonly found: number;
  /** What a person asked for; null: what the cycle asks for. */
  readonly bytesPerSecond: number | null;
  /** Segments that wait to be rewritten. */
  readonly suspects: readonly number[];
  /** Forget records may be lost: what older segments hold of unknown keys is forgotten again. */
  readonly forgetBelow: number;
  /** `cycles` when that was found: in force until the next whole cycle has ended. */
  readonly forgetCycle: number;
  /** Where other auditors of the device are, by name. */
  readonly notes: Readonly<Record<string, string>>;
}

export function firstPlace(incarnation: string, nowMs: number): AuditPlace {
  return {
    incarnation,
    phase: 'log',
    at: '',
    startedMs: nowMs,
    readBytes: 0,
    cycles: 0,
    verifiedSinceMs: null,
    found: 0,
    bytesPerSecond: null,
    suspects: [],
    forgetBelow: 0,
    forgetCycle: 0,
    notes: {},
  };
}

export function encodePlace(place: AuditPlace): Buffer {
  const fields = fieldsOf(place);
  const text = JSON.stringify({ format: AUDIT_FORMAT, ...fields, checksum: checksumOf(fields) });
  return Buffer.from(`${text}\n`);
}

/** Undefined: not a place that can be believed. */
export function decodePlace(bytes: Uint8Array): AuditPlace | undefined {
  let value: Partial<AuditPlace> & { format?: unknown; checksum?: unknown };
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined; // it does not matter why: the cycle begins anew
  }
  if (typeof value !== 'object' || value === null || value.format !== AUDIT_FORMAT)
    return undefined;
  const fields = fieldsOf(value as AuditPlace);
  if (value.checksum !== checksumOf(fields)) return undefined;
  return AUDIT_PHASES.includes(fields.phase) ? fields : undefined;
}

export async function loadPlace(
  disk: Disk,
  path: string,
  incarnation: string,
): Promise<AuditPlace | undefined> {
  if ((await disk.stat(path)) === undefined) return undefined;
  const place = decodePlace(await disk.read(path));
  return place?.incarnation === incarnation ? place : undefined;
}

/** Never throws: the cycle would only be longer. */
export async function savePlace(
  disk: Disk,
  log: Log,
  path: string,
  place: AuditPlace,
): Promise<void> {
  try {
    await disk.replace(path, encodePlace(place));
  } catch (error) {
    log.warn('device.audit-place-failed', { path, error });
  }
}

function fieldsOf(place: AuditPlace): AuditPlace {
  const { incarnation, phase, at, startedMs, readBytes, cycles, verifiedSinceMs } = place;
  const { found, bytesPerSecond, suspects, forgetBelow, forgetCycle, notes } = place;
  return {
    incarnation,
    phase,
    at,
    startedMs,
    readBytes,
    cycles,
    verifiedSinceMs,
    found,
    bytesPerSecond,
    suspects,
    forgetBelow,
    forgetCycle,
    notes,
  };
}

function checksumOf(fields: AuditPlace): string {
  return crc32(JSON.stringify(fields)).toString(16).padStart(8, '0');
}
