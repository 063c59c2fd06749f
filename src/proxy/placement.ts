/**
 * Where a name lives, by one cluster view: its hash, the replicas that count, and who stands in for
 * them. An operation makes one Place and keeps to it, so it never mixes ring versions.
 *
 * While its container moves from one policy to another (policy-move/README.md) a name has a layer of
 * replicas in each of both, and every majority is one of each, as in a joint ring. A device that is a
 * replica in both is two members then: it is asked twice, and counted by itself in each.
 */
import { OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { EntryAddress, Target } from '#object/calls.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import { type DeviceSet, type Member, Quorum, writeQuorum } from './quorum.ts';

export interface Replica extends Target {
  readonly site: string;
  /** Keeps bodies; a state-only witness does not. */
  readonly holdsBody: boolean;
  /** Whose entry is meant, and by which version of the ring. */
  readonly policy: PolicyIndex;
  readonly ringVersion: number;
  /** By which it is counted: the device, but for the policy that is left. */
  readonly member: number;
}

export class Place {
  readonly policy: PolicyIndex;
  readonly path: string;
  readonly hash: Buffer;
  readonly ringVersion: number;
  readonly quorum: Quorum;
  /** Of NEW, then those of OLD alone; each once. Then those of the policy that is left. */
  readonly primaries: readonly Replica[];
  /** Copies of a body that the policy keeps. */
  readonly copies: number;
  readonly #layers: readonly Layer[];

  constructor(layers: readonly Layer[], path: string, hash: Buffer, bodies?: Member) {
    const [{ ring }] = layers as [Layer];
    this.policy = ring.policy;
    this.path = path;
    this.hash = hash;
    this.ringVersion = ring.version;
    this.copies = ring.copies;
    this.#layers = layers;
    this.quorum = new Quorum(
      layers.flatMap(({ sets }) => sets),
      layers.flatMap(({ joining }) => joining),
    );
    const primaries = layers.flatMap(({ replicas }) => replicas);
    this.primaries =
      bodies === undefined
        ? primaries
        : primaries.map((replica) => {
            const holdsBody = replica.holdsBody && bodies.has(replica.member);
            return { ...replica, holdsBody };
          });
  }

  /** The container is on its way to this policy from another one. */
  get isMoving(): boolean {
    return this.#layers.length > 1;
  }

  /** By the same versions of the same rings. */
  isLike(other: Place): boolean {
    const sameAs = (layer: Layer, i: number): boolean => layer.isLike(other.#layers[i]);
    return this.#layers.length === other.#layers.length && this.#layers.every(sameAs);
  }

  /** The same place, for a body that only these members have: the others get the state alone. */
  withBodiesOn(members: Member): Place {
    return new Place(this.#layers, this.path, this.hash, members);
  }

  /** The name in the policy that its container moves to, alone. */
  get target(): Place {
    return new Place(this.#layers.slice(0, 1), this.path, this.hash);
  }

  /** Whether a body that these have survives what a state does, in each policy. */
  hasBodies(replicas: readonly Replica[]): boolean {
    return this.#layers.every(({ ring, bodies }) => {
      const holders = replicas.filter(
        ({ policy, holdsBody }) => policy === ring.policy && holdsBody,
      );
      return holders.length >= bodies;
    });
  }

  /** Devices that stand in, in the order that every process computes; at most `limit`. */
  handoffs(limit: number): Replica[] {
    return this.#standIns(limit, () => true);
  }

  /** Stand-ins at one site, for writes that stay there first. */
  handoffsAt(site: string, limit: number): Replica[] {
    return this.#standIns(limit, (device) => device.site === site);
  }

  /** As many of each layer. */
  #standIns(limit: number, isWanted: (device: RingDevice) => boolean): Replica[] {
    const found: Replica[] = [];
    if (limit <= 0) return found;
    for (const layer of this.#layers) {
      const enough = found.length + Math.ceil(limit / this.#layers.length);
      for (const standIn of layer.standIns()) {
        if (found.length >= Math.min(enough, limit)) break;
        if (isWanted(standIn)) found.push(layer.replica(standIn, true));
      }
    }
    return found;
  }
}

/** The replicas of a name in the ring of one policy. */
export class Layer {
  readonly ring: Ring;
  readonly sets: readonly DeviceSet[];
  /** Members that are new to their set: see Quorum.countsIn. */
  readonly joining: readonly number[];
  readonly replicas: readonly Replica[];
  /** On how many devices a body must be for an acknowledgement. */
  readonly bodies: number;
  readonly #partition: number;
  readonly #offset: number;

  /** `isLeft`: of the policy that is left. */
  constructor(ring: Ring, hash: Buffer, isLeft = false) {
    this.ring = ring;
    this.#partition = ring.partitionOf(hash);
    this.#offset = isLeft ? LEFT : 0;
    const { primaries, former } = ring.placement(this.#partition);
    const settled = this.#members(primaries);
    const old = former === undefined ? undefined : this.#members(former);
    this.sets = old === undefined ? [settled] : [old, settled];
    this.joining = old === undefined ? [] : settled.filter((member) => !old.includes(member));
    this.replicas = this.#union(primaries, former ?? []);
    this.bodies = Math.min(ring.copies, writeQuorum(settled.length));
  }

  isLike(other: Layer | undefined): boolean {
    return this.ring.policy === other?.ring.policy && this.ring.version === other.ring.version;
  }

  standIns(): Iterable<RingDevice> {
    return this.ring.handoffs(this.#partition);
  }

  replica({ id, node, site }: RingDevice, holdsBody: boolean): Replica {
    const { policy, version } = this.ring;
    const member = id + this.#offset;
    return { device: id, node, site, holdsBody, policy, ringVersion: version, member };
  }

  #members(devices: readonly RingDevice[]): number[] {
    return devices.map(({ id }) => id + this.#offset);
  }

  #union(primaries: readonly RingDevice[], former: readonly RingDevice[]): Replica[] {
    const { copies } = this.ring;
    const replicas = primaries.map((device, i) => this.replica(device, i < copies));
    for (const [i, device] of former.entries()) {
      if (!replicas.some((known) => known.device === device.id)) {
        replicas.push(this.replica(device, i < copies));
      }
    }
    return replicas;
  }
}

/** A name at one of its replicas, as calls have it. */
export function addressOf({ hash }: Place, replica: Replica): EntryAddress {
  const { device, policy, ringVersion } = replica;
  return { device, policy, hash, ringVersion };
}

/** Above every device's id. */
const LEFT = 2 ** 32;

/** What a container says of its objects' places. */
export interface Placed {
  readonly policy: { readonly index: PolicyIndex };
  /** The policy that it is leaving. */
  readonly former?: { readonly index: PolicyIndex };
}

/** Where an object of this container is. @throws OperatingError `no-ring` */
export function objectPlace(view: ClusterView, container: Placed, path: string): Place {
  const { policy, former } = container;
  return placeOf(view, policy.index, path, former?.index);
}

/** @throws OperatingError `no-ring` */
export function placeOf(
  view: ClusterView,
  policy: PolicyIndex,
  path: string,
  left?: PolicyIndex,
): Place {
  const hash = hashPath(view.hashPrefix, path, view.hashSuffix);
  const layers = [new Layer(ringOf(view, policy), hash)];
  if (left !== undefined) layers.push(new Layer(ringOf(view, left), hash, true));
  return new Place(layers, path, hash);
}

function ringOf(view: ClusterView, policy: PolicyIndex): Ring {
  const ring = view.rings.get(policy);
  if (ring === undefined) throw new OperatingError('no-ring', 'no ring for the policy', { policy });
  return ring;
}
