/** The rings of a TestCluster, and the one container that its tests write to. */
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { ClusterView, ConsistencyMode, StoragePolicy } from '#ring/cluster.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';

export const CLUSTER_ID = '0123456789abcdef0123456789abcdef';
export const PORT = 7400;
const PART_POWER = 4;

export const CONTAINER = { account: 'AUTH_test', container: 'box' } as const;

export function objectName(object: string) {
  return { ...CONTAINER, object };
}

export interface PolicyShape {
  readonly copies?: number;
  readonly mode?: ConsistencyMode;
}

export interface ViewShape extends PolicyShape {
  readonly partPower?: number;
  /** Primaries of the partitions, in turns; else the first three devices of all. */
  readonly sets?: readonly (readonly [number, number, number])[];
  /** A second policy, of index 1, on these devices. */
  readonly other?: PolicyShape & { readonly devices: readonly number[] };
}

/** Every partition's first three devices are its primaries, in turned order; the rest are handoffs. */
export function makeView(sites: readonly string[], shape: ViewShape): ClusterView {
  const { mode = 'strict', partPower = PART_POWER, sets = [[0, 1, 2]], other } = shape;
  const policies = [policyOf(0, 'standard', { copies: shape.copies, mode })];
  if (other)
    policies.push(policyOf(1, 'other', { copies: other.copies, mode: other.mode ?? mode }));
  const devices = sites.map(deviceOf);
  const ring = (policy: number): Ring =>
    new Ring({
      policy,
      version: 1,
      partPower,
      copies: policies[policy]?.copies ?? 3,
      devices,
      columns: (policy === 1 ? [other!.devices] : sets)[0]!.map((_, column) =>
        new Uint16Array(2 ** partPower).map((_, partition) => {
          const turns = policy === 1 ? [other!.devices] : sets;
          return turns[partition % turns.length]![column]!;
        }),
      ),
      former: NO_FORMER,
    });
  const indexes = [...policies.map(({ index }) => index), CONTAINER_RING, ACCOUNT_RING];
  const nodes = devices.map(({ node, site, zone }) => {
    return [node, { name: node, site, zone, wire: { host: node, port: PORT } }] as const;
  });
  return {
    clusterId: CLUSTER_ID,
    version: 1,
    hashPrefix: 'p',
    hashSuffix: 's',
    policies,
    nodes: new Map(nodes),
    rings: new Map(indexes.map((index) => [index, ring(index)])),
  };
}

function policyOf(
  index: number,
  name: string,
  { copies = 3, mode }: { copies: number | undefined; mode: ConsistencyMode },
): StoragePolicy {
  return { index, name, copies, states: 3, mode, isDefault: index === 0 };
}

function deviceOf(node: string, id: number) {
  return { id, site: node.split('-')[0]!, zone: '1', node, name: 'd1', weight: 100, meta: {} };
}
