/**
 * The order in which other devices stand in for a partition's primaries: always the device that is
 * farthest from everything already used (fewest replicas at its site, then zone, then node), ties by
 * a weighted rendezvous score of (partition, device). So every process computes the same order, a
 * device stands in for its share by weight, and adding one device changes the order of no others.
 */
import type { RingDevice } from './fields.ts';

/** What the order needs to know of a ring's devices, worked out once. */
export class HandoffOrder {
  readonly #live: readonly RingDevice[];
  readonly #places: ReadonlyMap<number, Place>;
  readonly #groups: number;

  constructor(devices: readonly (RingDevice | undefined)[]) {
    const present = devices.filter((device) => device !== undefined);
    const numbers = new Map<string, number>();
    const numberOf = (...names: string[]): number => {
      // JSON keeps the names apart whatever characters they hold.
      const key = JSON.stringify(names);
      const known = numbers.get(key) ?? numbers.size;
      numbers.set(key, known);
      return known;
    };
    this.#places = new Map(
      present.map(({ id, site, zone, node }): [number, Place] => [
        id,
        { site: numberOf(site), zone: numberOf(site, zone), node: numberOf(site, zone, node) },
      ]),
    );
    this.#live = present.filter((device) => device.weight > 0);
    this.#groups = numbers.size;
  }

  /** Yields every device of positive weight that is not in `used`, once. O(devices) per step. */
  *after(used: readonly RingDevice[], partition: number): Generator<RingDevice> {
    const crowd = new Uint32Array(this.#groups);
    const taken = new Set<number>();
    for (const { id } of used) {
      if (!taken.has(id)) this.#count(crowd, id);
      taken.add(id);
    }
    const rest = this.#live.filter((device) => !taken.has(device.id));
    const scores = new Map(rest.map((device) => [device.id, score(partition, device)]));
    while (rest.length > 0) {
      const next = this.#farthest(rest, scores, crowd);
      const [device] = rest.splice(next, 1);
      this.#count(crowd, device!.id);
      yield device!;
    }
  }

  #count(crowd: Uint32Array, id: number): void {
    const place = this.#places.get(id)!;
    crowd[place.site]!++;
    crowd[place.zone]!++;
    crowd[place.node]!++;
  }

  #farthest(
    rest: readonly RingDevice[],
    scores: ReadonlyMap<number, number>,
    crowd: Uint32Array,
  ): number {
    let best = 0;
    let bestCrowding = Number.POSITIVE_INFINITY;
    let bestScore = Number.POSITIVE_INFINITY;
    for (let i = 0; i < rest.length; i++) {
      const { id } = rest[i]!;
      const crowding = crowdingOf(this.#places.get(id)!, crowd);
      const own = scores.get(id)!;
      if (crowding > bestCrowding || (crowding === bestCrowding && own >= bestScore)) continue;
      best = i;
      bestCrowding = crowding;
      bestScore = own;
    }
    return best;
  }
}

/** Numbers of a device's site, zone and node among all of them. */
interface Place {
  readonly site: number;
  readonly zone: number;
  readonly node: number;
}

/** Site, zone and node in one number, in that order: 17 bits each, as there are under 2^16 devices. */
function crowdingOf({ site, zone, node }: Place, crowd: Uint32Array): number {
  return (crowd[site]! * 2 ** 17 + crowd[zone]!) * 2 ** 17 + crowd[node]!;
}

/** Rendezvous hashing by weight: an exponential variable of rate `weight`; the smallest is first. */
function score(partition: number, device: RingDevice): number {
  let hash = Math.imul(partition + 1, 0x9e3779b1) ^ Math.imul(device.id + 1, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  const uniform = (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32;
  return -Math.log(uniform) / device.weight;
}
