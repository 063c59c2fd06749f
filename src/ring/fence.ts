/**
 * The fence call: a joining device asks it of the members of the former set before it joins their
 * states, so that nothing can be acknowledged behind its back by an older ring (consistency.md, "Ring
 * change", 4). The answer comes when the fences, and all that was written before them, are synced.
 */
import { OperatingError } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Ring } from './ring.ts';

/** In hash buckets. */
export type Fence = readonly [from: number, to: number, version: number];

export interface FenceArgs {
  readonly device: number;
  readonly policy: PolicyIndex;
  readonly fences: readonly Fence[];
}

export interface Fenced {
  readonly fenced: number;
}

export interface FencedDevice {
  readonly versions: {
    fence(
      policy: PolicyIndex,
      ranges: readonly (readonly [from: number, to: number])[],
      version: number,
    ): Promise<void>;
  };
}

const MAX_FENCES = 4096;
/** A version this far above what the node knows is nonsense, and would close a range for ever. */
const MAX_AHEAD = 64;

/** @throws OperatingError `malformed`, `ring-ahead`; the device's errors */
export async function raiseFences(
  device: FencedDevice,
  ring: Ring | undefined,
  { policy, fences }: FenceArgs,
): Promise<Fenced> {
  const most = (ring?.version ?? 0) + MAX_AHEAD;
  if (fences.some(([, , version]) => version > most)) {
    throw new OperatingError('ring-ahead', 'a fence of a ring far ahead of this node', { most });
  }
  const byVersion = Map.groupBy(fences, ([, , version]) => version);
  const raised = [...byVersion].map(([version, list]) => {
    const ranges = list.map(([from, to]) => [from, to] as const);
    return device.versions.fence(policy, ranges, version);
  });
  await Promise.all(raised);
  return { fenced: fences.length };
}

/** @throws OperatingError `malformed` */
export function parseFences(args: unknown, buckets: number): FenceArgs {
  const { device, policy, fences } = (args ?? {}) as Partial<Record<keyof FenceArgs, unknown>>;
  const isList = Array.isArray(fences) && fences.length > 0 && fences.length <= MAX_FENCES;
  if (!isCount(device) || !isCount(policy) || !isList) throw malformed();
  const checked = (fences as unknown[]).map((item): Fence => {
    const [from, to, version] = Array.isArray(item) ? (item as unknown[]) : [];
    if (!isCount(from) || !isCount(to) || !isCount(version)) throw malformed();
    if (from >= to || to > buckets) throw malformed();
    return [from, to, version];
  });
  return { device, policy, fences: checked };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function malformed(): OperatingError {
  return new OperatingError('malformed', 'malformed call: fences');
}
