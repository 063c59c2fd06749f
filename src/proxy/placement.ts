/**
 * Where a name lives, by one cluster view: its hash, the replicas that count, and who stands in for
 * them. An operation makes one Place and keeps to it, so it never mixes ring versions.
 */
import { OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Target } from '#object/calls.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import { type Member, Quorum } from './quorum.ts';

export interface Replica extends Target {
  readonly site: string;
  /** Keeps bodies; a state-only witness does not. */
  readonly holdsBody: boolean;
}

export class Place {
  readonly policy: PolicyIndex;
  readonly path: string;
  readonly hash: Buffer;
  readonly ringVersion: number;
  readonly quorum: Quorum;
  /** Of NEW, then those of OLD alone; each once. */
  readonly primaries: readonly Replica[];
  /** Copies of a body that the policy keeps. */
  readonly copies: number;
  readonly #ring: Ring;
  readonly #partition: number;

  constructor(ring: Ring, path: string, hash: Buffer, bodies?: Member) {
    this.policy = ring.policy;
    this.path = path;
    this.hash = hash;
    this.ringVersion = ring.version;
    this.copies = ring.copies;
    this.#ring = ring;
    this.#partition = ring.partitionOf(hash);
    const { primaries, former } = ring.placement(this.#partition);
    const settled = ids(primaries);
    this.quorum = new Quorum(former === undefined ? [settled] : [ids(former), settled]);
    this.primaries = union(primaries, former ?? [], ring.copies).map((replica) => {
      const holdsBody = replica.holdsBody && bodies?.has(replica.device) !== false;
      return { ...replica, holdsBody };
    });
  }

  /** The same place, for a body that only these devices have: the others get the state alone. */
  withBodiesOn(devices: Member): Place {
    return new Place(this.#ring, this.path, this.hash, devices);
  }

  /** Devices that stand in, in the order that every process computes; at most `limit`. */
  handoffs(limit: number): Replica[] {
    const handoffs: Replica[] = [];
    for (const device of this.#ring.handoffs(this.#partition)) {
      if (handoffs.length >= limit) break;
      handoffs.push(replica(device, true));
    }
    return handoffs;
  }

  /** Stand-ins at one site, for writes that stay there first. */
  handoffsAt(site: string, limit: number): Replica[] {
    const handoffs: Replica[] = [];
    if (limit <= 0) return handoffs;
    for (const device of this.#ring.handoffs(this.#partition)) {
      if (device.site === site) handoffs.push(replica(device, true));
      if (handoffs.length >= limit) break;
    }
    return handoffs;
  }
}

/** @throws OperatingError `no-ring` */
export function placeOf(view: ClusterView, policy: PolicyIndex, path: string): Place {
  const ring = view.rings.get(policy);
  if (ring === undefined) throw new OperatingError('no-ring', 'no ring for the policy', { policy });
  return new Place(ring, path, hashPath(view.hashPrefix, path, view.hashSuffix));
}

function union(
  primaries: readonly RingDevice[],
  former: readonly RingDevice[],
  copies: number,
): Replica[] {
  const replicas = primaries.map((device, i) => replica(device, i < copies));
  for (const [i, device] of former.entries()) {
    if (!replicas.some((known) => known.device === device.id)) {
      replicas.push(replica(device, i < copies));
    }
  }
  return replicas;
}

function replica({ id, node, site }: RingDevice, holdsBody: boolean): Replica {
  return { device: id, node, site, holdsBody };
}

function ids(devices: readonly RingDevice[]): number[] {
  return devices.map((device) => device.id);
}
