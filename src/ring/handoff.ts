/**
 * The order in which other devices stand in for a partition's primaries: always the device that is
 * farthest from everything already used (fewest replicas at its site, then zone, then node), ties by
 * a weighted rendezvous score of (partition, device). So every process computes the same order, a
 * device stands in for its share by weight, and adding one device changes the order of no others.
 */
import type { RingDevice } from './fields.ts';

/** Yields every device of positive weight that is not in `used`, once. O(devices) per step. */
export function* handoffOrder(
  partition: number,
  used: readonly RingDevice[],
  devices: readonly (RingDevice | undefined)[],
): Generator<RingDevice> {
  const crowd = new Crowd();
  const taken = new Set<number>();
  for (const device of used) {
    if (taken.has(device.id)) continue;
    taken.add(device.id);
    crowd.add(device);
  }
  const rest = candidates(partition, devices, taken);
  while (rest.length > 0) {
    const next = farthest(rest, crowd);
    const { device } = rest[next]!;
    rest.splice(next, 1);
    crowd.add(device);
    yield device;
  }
}

interface Candidate {
  readonly device: RingDevice;
  readonly site: string;
  readonly zone: string;
  readonly node: string;
}

/** In order of score, so that the first of equally far candidates is the one to take. */
function candidates(
  partition: number,
  devices: readonly (RingDevice | undefined)[],
  taken: ReadonlySet<number>,
): Candidate[] {
  const scored: { score: number; candidate: Candidate }[] = [];
  for (const device of devices) {
    if (device === undefined || device.weight <= 0 || taken.has(device.id)) continue;
    const candidate = {
      device,
      site: siteKey(device),
      zone: zoneKey(device),
      node: nodeKey(device),
    };
    scored.push({ score: score(partition, device), candidate });
  }
  scored.sort((a, b) => a.score - b.score || a.candidate.device.id - b.candidate.device.id);
  return scored.map((item) => item.candidate);
}

/** Rendezvous hashing by weight: an exponential variable of rate `weight`; the smallest is first. */
function score(partition: number, device: RingDevice): number {
  let hash = Math.imul(partition + 1, 0x9e3779b1) ^ Math.imul(device.id + 1, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  const uniform = (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32;
  return -Math.log(uniform) / device.weight;
}

function farthest(rest: readonly Candidate[], crowd: Crowd): number {
  let best = 0;
  let bestCrowding = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rest.length; i++) {
    const crowding = crowd.of(rest[i]!);
    if (crowding < bestCrowding) {
      best = i;
      bestCrowding = crowding;
      if (crowding === 0) break;
    }
  }
  return best;
}

/** How many of the used devices share a site, a zone, a node; compared in that order. */
class Crowd {
  readonly #counts = new Map<string, number>();

  add(device: RingDevice): void {
    for (const key of [siteKey(device), zoneKey(device), nodeKey(device)]) {
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    }
  }

  /** One number: 17 bits each, since there are fewer than 2^16 devices. */
  of({ site, zone, node }: Candidate): number {
    const count = (key: string): number => this.#counts.get(key) ?? 0;
    return (count(site) * 2 ** 17 + count(zone)) * 2 ** 17 + count(node);
  }
}

/** JSON keeps the levels apart whatever characters the names hold. */
function siteKey(device: RingDevice): string {
  return JSON.stringify([device.site]);
}
function zoneKey(device: RingDevice): string {
  return JSON.stringify([device.site, device.zone]);
}
function nodeKey(device: RingDevice): string {
  return JSON.stringify([device.site, device.zone, device.node]);
}
