/** Where a key lives by this node's own ring: for what a node does without being asked by a proxy. */
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import type { Target } from './calls.ts';

/** Devices that should have the body: the first `copies` of the new set, then of the former one. */
export function objectTargets(
  view: ClusterView,
  key: { readonly policy: PolicyIndex; readonly hash: Uint8Array },
): Target[] {
  const ring = view.rings.get(key.policy);
  if (ring === undefined) return [];
  return unique(bodyKeepers(ring, key.hash));
}

/** Those of a ring; a device of both sets is there twice. */
export function bodyKeepers(ring: Ring, hash: Uint8Array): RingDevice[] {
  const { primaries, former = [] } = ring.placement(ring.partitionOf(hash));
  return [...primaries.slice(0, ring.copies), ...former.slice(0, ring.copies)];
}

export interface ContainerPlace {
  readonly hash: Buffer;
  readonly ringVersion: number;
  readonly targets: readonly Target[];
  /** The sets of which a row needs a majority each. */
  readonly sets: readonly (readonly number[])[];
}

export function containerPlace(view: ClusterView, path: string): ContainerPlace | undefined {
  const ring = view.rings.get(CONTAINER_RING);
  if (ring === undefined) return undefined;
  const hash = hashPath(view.hashPrefix, path, view.hashSuffix);
  const { primaries, former } = ring.placement(ring.partitionOf(hash));
  const sets = former === undefined ? [primaries] : [primaries, former];
  return {
    hash,
    ringVersion: ring.version,
    targets: unique(sets.flat()),
    sets: sets.map((set) => set.map((device) => device.id)),
  };
}

function unique(devices: readonly RingDevice[]): Target[] {
  const targets = new Map<number, Target>();
  for (const { id, node } of devices) targets.set(id, { device: id, node });
  return [...targets.values()];
}
