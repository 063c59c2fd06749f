import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyCluster, device, RUNS, stateOf } from '../testing/clusters.ts';
import { columnLengths, liveDevices } from './state.ts';
import { computeQuotas, computeTargets } from './targets.ts';
import { buildTree, DEPTH } from './tree.ts';

function targetsOf(
  devices: Parameters<typeof stateOf>[0]['devices'],
  replicas: number,
  overload: number,
) {
  const state = stateOf({ devices, partPower: 4, replicas, overload, seed: 0 });
  const tree = buildTree(state.devices);
  const { replicas: targets } = computeTargets(tree, replicas, overload);
  const sites: Record<string, number> = {};
  tree.names.forEach((name, tier) => {
    if (tree.depth[tier] === DEPTH.site) sites[name] = Number(targets[tier]!.toFixed(4));
  });
  return sites;
}

/** Two devices each at a and b, four at c: the local cluster. */
const local = [
  ...['a', 'b'].flatMap((site) =>
    ['d1', 'd2'].map((name) => device(site, 'z', `${site}-1`, name, 100)),
  ),
  ...['c-1', 'c-2'].flatMap((node) =>
    ['d1', 'd2'].map((name) => device('c', node, node, name, 100)),
  ),
];

describe('targets', () => {
  it('follow weight where dispersion may not overrule it', () => {
    expect(targetsOf(local, 3, 0)).toEqual({ a: 0.75, b: 0.75, c: 1.5 });
  });

  it('give each site one replica where overload allows it', () => {
    expect(targetsOf(local, 3, 0.34)).toEqual({ a: 1, b: 1, c: 1 });
    expect(targetsOf(local, 5, 0.34)).toEqual({ a: 1.5, b: 1.5, c: 2 });
  });

  it('go as far as overload allows, and not further', () => {
    expect(targetsOf(local, 3, 0.2)).toEqual({ a: 0.9, b: 0.9, c: 1.2 });
  });

  it('never give a device more than one replica of a partition', () => {
    const devices = [
      device('a', 'z', 'n1', 'd', 1000),
      device('b', 'z', 'n2', 'd', 1),
      device('c', 'z', 'n3', 'd', 1),
    ];
    expect(targetsOf(devices, 2, 0)).toEqual({ a: 1, b: 0.5, c: 0.5 });
  });

  it('give a drained device nothing', () => {
    const devices = [...local, device('d', 'z', 'n', 'd', 0)];
    expect(targetsOf(devices, 3, 0)['d']).toBe(0);
  });

  it('add up at every tier, as do quotas, which are targets rounded', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        const { devices } = stateOf(cluster);
        const tree = buildTree(devices);
        const partitions = 2 ** cluster.partPower;
        const replicas = Math.min(cluster.replicas, liveDevices(devices));
        const slots = columnLengths(replicas, partitions).reduce((sum, length) => sum + length, 0);
        const targets = computeTargets(tree, slots / partitions, cluster.overload);
        const quotas = computeQuotas(tree, targets, slots, new Int32Array(tree.size));
        for (let tier = 0; tier < tree.firstDevice; tier++) {
          let target = 0;
          let quota = 0;
          for (let i = 0; i < tree.children[tier]!; i++) {
            target += targets.replicas[tree.firstChild[tier]! + i]!;
            quota += quotas[tree.firstChild[tier]! + i]!;
          }
          expect(target).toBeCloseTo(targets.replicas[tier]!, 6);
          expect(quota).toBe(quotas[tier]);
        }
        for (let tier = 0; tier < tree.size; tier++) {
          expect(Math.abs(quotas[tier]! - targets.replicas[tier]! * partitions)).toBeLessThan(
            1.001,
          );
        }
      }),
      RUNS,
    );
  });
});
