/**
 * The shape of a simulated cluster, drawn from a seed: 3 to 12 nodes at 1 to 4 sites, one or two
 * devices each, and rings made by the real builder.
 */
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Prng } from '#env/sim/prng.ts';
import { RingBuilder } from '#ring/builder/builder.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import type { ClusterView, NodeInfo, StoragePolicy } from '#ring/cluster.ts';

export const CLUSTER_ID = '5ce1ab1e5ce1ab1e5ce1ab1e5ce1ab1e';
export const WIRE_PORT = 7400;
const HOUR_MS = 3_600_000;
const HOURS_2026 = 490_896;

export interface NodeShape {
  readonly name: string;
  readonly site: string;
  readonly devices: readonly number[];
  readonly skewMs: number;
}

export interface Shape {
  readonly sites: readonly string[];
  readonly nodes: readonly NodeShape[];
  readonly wanMs: number;
  readonly hasSkew: boolean;
  readonly view: ClusterView;
  /** Where the view's rings come from, and what they become. */
  readonly rings: RingSet;
}

const SITES = ['lngs', 'bari', 'padova', 'turin'];

/** Of few nodes, where time is short. */
export function drawSmallShape(world: { random(name: string): Prng }): Shape {
  let shape = drawShape(world.random('shape'));
  for (let i = 0; shape.nodes.length > MAX_SMALL; i++) {
    shape = drawShape(world.random(`shape ${i}`));
  }
  return shape;
}

const MAX_SMALL = 5;

export function drawShape(random: Prng): Shape {
  const sites = SITES.slice(0, 1 + random.integer(4));
  // Small clusters find most bugs soonest; large ones are drawn seldom.
  const wanted = random.chance(0.15) ? 6 + random.integer(7) : 3 + random.integer(3);
  const count = Math.max(wanted, sites.length, 3);
  const hasSkew = random.chance(0.6);
  const nodes: NodeShape[] = [];
  let device = 0;
  for (let i = 0; i < count; i++) {
    const site = sites[i % sites.length]!;
    const devices = random.chance(0.2) ? [device++, device++] : [device++];
    const skewMs = hasSkew ? Math.round((2 * random.float() - 1) * HOUR_MS) : 0;
    nodes.push({ name: `${site}-${i}`, site, devices, skewMs });
  }
  const wanMs = random.chance(0.5) ? 1 + random.integer(40) : 0.2;
  const policies = policiesFor(nodes);
  const rings = makeRings(nodes, policies, random);
  return { sites, nodes, wanMs, hasSkew, rings, view: makeView(nodes, policies, rings) };
}

function policiesFor(nodes: readonly NodeShape[]): StoragePolicy[] {
  const policies: StoragePolicy[] = [
    { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict', isDefault: true },
    { index: 1, name: 'reduced', copies: 2, states: 3, mode: 'strict', isDefault: false },
  ];
  if (nodes.length >= 5) {
    policies.push({
      index: 2,
      name: 'precious',
      copies: 5,
      states: 5,
      mode: 'strict',
      isDefault: false,
    });
  }
  return policies;
}

function makeRings(
  nodes: readonly NodeShape[],
  policies: readonly StoragePolicy[],
  random: Prng,
): RingSet {
  return new RingSet([
    ...policies.map(({ index, name, states, copies }) => {
      return [`object/${name}`, makeRing(nodes, random, index, states, copies)] as const;
    }),
    ['container', makeRing(nodes, random, CONTAINER_RING, 3, 3)],
    ['account', makeRing(nodes, random, ACCOUNT_RING, 3, 3)],
  ]);
}

function makeView(
  nodes: readonly NodeShape[],
  policies: readonly StoragePolicy[],
  rings: RingSet,
): ClusterView {
  const infos = nodes.map(({ name, site }): NodeInfo => {
    return { name, site, zone: '1', wire: { host: name, port: WIRE_PORT } };
  });
  return {
    clusterId: CLUSTER_ID,
    version: 1,
    hashPrefix: 'sim',
    hashSuffix: 'ulator',
    policies,
    nodes: new Map(infos.map((info) => [info.name, info])),
    rings: rings.rings(),
  };
}

function makeRing(
  nodes: readonly NodeShape[],
  random: Prng,
  policy: number,
  replicas: number,
  copies: number,
): RingBuilder {
  const builder = RingBuilder.create({
    policy,
    partPower: 3,
    replicas,
    copies,
    overload: 1,
    minPartHours: 0,
  });
  const add = nodes.flatMap(({ name, site, devices }) =>
    devices.map((id, n) => {
      return { id, site, zone: '1', node: name, name: `d${n + 1}`, weight: 100, meta: {} };
    }),
  );
  const options = { seed: random.next(), nowHours: HOURS_2026 };
  builder.apply(builder.plan({ add }, options), { force: true });
  return builder;
}
