/**
 * device.digests and device.states: what a device holds, whoever should hold it, for the durability
 * meter; object.versions the same of single names, for the auditor of listings. Unlike the replicas' calls they name no ring version: nothing is decided by them.
 */
import { OperatingError } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Reply } from '#wire/contract.ts';
import { parseHoldingDigests, parseHoldingStates, parseVersions } from './args.ts';
import { BUCKETS } from './exchange.ts';
import type { Guard } from './guard.ts';
import { versionKey } from './version.ts';

export interface HoldingDigestsArgs {
  readonly device: number;
  readonly policy: PolicyIndex;
  /** [from, to) in buckets. */
  readonly ranges: readonly (readonly [from: number, to: number])[];
}

/** One range: sum, entries in all, live ones, live ones without a good body. */
export type HoldingDigest = readonly [sum: Buffer, total: number, live: number, bodiless: number];

export interface HoldingStatesArgs {
  readonly device: number;
  readonly policy: PolicyIndex;
  readonly from: Buffer;
  /** Exclusive; null: to the end. */
  readonly to: Buffer | null;
  readonly limit: number;
}

export type HoldingState = readonly [
  hash: Buffer,
  version: string,
  live: boolean,
  hasBody: boolean,
  /** Copies wanted, where the object differs from its policy; else 0. */
  replicas: number,
];

export interface HoldingStatesReply {
  readonly entries: readonly HoldingState[];
  /** Where to go on; null: that was all. */
  readonly next: Buffer | null;
}

export function holdingDigests(guard: Guard, args: unknown): Reply {
  const { device: id, policy, ranges } = parseHoldingDigests(args);
  const device = readable(guard.deviceById(id));
  const result = ranges.map(([from, to]): HoldingDigest => {
    if (to > BUCKETS || from >= to) throw new OperatingError('malformed', 'range of buckets');
    const [summary] = device.digests.summarise(policy, from, to, 1);
    const { sum, total, live, bodiless = 0 } = summary!;
    return [Buffer.from(sum), total, live, bodiless];
  });
  return { result };
}

export function holdingStates(guard: Guard, args: unknown): Reply {
  const { device: id, policy, from, to, limit } = parseHoldingStates(args);
  const found = readable(guard.deviceById(id)).entries(policy, from, to ?? undefined, limit + 1);
  const entries = found.slice(0, limit).map(({ key, state, hasBody }): HoldingState => {
    const { data } = state;
    return [key.hash, versionKey(state), data?.kind === 'live', hasBody, data?.replicas ?? 0];
  });
  const result: HoldingStatesReply = { entries, next: found[limit]?.key.hash ?? null };
  return { result };
}

export interface VersionsReply {
  /** In the order of the hashes; '': nothing is known. */
  readonly versions: readonly string[];
  readonly complete: readonly boolean[];
}

export function holdingVersions(guard: Guard, args: unknown): Reply {
  const { device: id, policy, hashes } = parseVersions(args);
  const device = readable(guard.deviceById(id));
  const result: VersionsReply = {
    versions: hashes.map((hash) => {
      const state = device.stat({ policy, hash })?.state;
      return state === undefined ? '' : versionKey(state);
    }),
    complete: hashes.map((hash) => device.completeness.isComplete(policy, hash)),
  };
  return { result };
}

/** A device that is out of service remembers what it held; that is no copy. */
function readable(device: Device): Device {
  if (['ok', 'full', 'read-only'].includes(device.status)) return device;
  throw new OperatingError('device-failed', `the device is ${device.status}`, {
    device: device.id,
  });
}
