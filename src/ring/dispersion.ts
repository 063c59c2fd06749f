/** How far apart a ring's replicas lie, counted over its partitions: what survives which failure. */
import type { Ring, RingDevice } from './ring.ts';

/** Partitions by how many different ones hold their replicas: `{3: 250, 2: 6}`. */
export type Spread = Readonly<Record<number, number>>;

export interface Dispersion {
  readonly version: number;
  readonly partitions: number;
  readonly replicas: number;
  readonly sites: Spread;
  readonly nodes: Spread;
  readonly devices: Spread;
  /** Partitions that the devices of the ring would let lie at more sites, or on more nodes. */
  readonly close: number;
  /** The partition that lies closest together; absent where all lie as far apart as they can. */
  readonly closest?: { readonly partition: number; readonly devices: readonly string[] };
}

type Pick = (device: RingDevice) => string;

const SITE: Pick = ({ site }) => site;
const NODE: Pick = ({ site, node }) => `${site}/${node}`;
const DEVICE: Pick = ({ site, node, name }) => `${site}/${node}/${name}`;

export function dispersionOf(ring: Ring): Dispersion {
  const live = ring.devices.filter((device) => device !== undefined && device.weight > 0);
  const known = live as readonly RingDevice[];
  const [allSites, allNodes] = [distinct(known, SITE), distinct(known, NODE)];
  const spreads = { sites: {}, nodes: {}, devices: {} } as Record<string, Record<number, number>>;
  let close = 0;
  let closest: { partition: number; rank: number } | undefined;
  for (let partition = 0; partition < ring.partitions; partition++) {
    const { primaries } = ring.placement(partition);
    const [sites, nodes] = [distinct(primaries, SITE), distinct(primaries, NODE)];
    count(spreads['sites']!, sites);
    count(spreads['nodes']!, nodes);
    count(spreads['devices']!, distinct(primaries, DEVICE));
    const most = primaries.length;
    if (sites >= Math.min(most, allSites) && nodes >= Math.min(most, allNodes)) continue;
    close++;
    const rank = sites * 1000 + nodes;
    if (closest === undefined || rank < closest.rank) closest = { partition, rank };
  }
  return {
    version: ring.version,
    partitions: ring.partitions,
    replicas: ring.replicas,
    sites: spreads['sites']!,
    nodes: spreads['nodes']!,
    devices: spreads['devices']!,
    close,
    ...(closest !== undefined && { closest: named(ring, closest.partition) }),
  };
}

function named(ring: Ring, partition: number) {
  return { partition, devices: ring.placement(partition).primaries.map(DEVICE) };
}

function distinct(devices: readonly RingDevice[], pick: Pick): number {
  return new Set(devices.map(pick)).size;
}

function count(spread: Record<number, number>, value: number): void {
  spread[value] = (spread[value] ?? 0) + 1;
}
