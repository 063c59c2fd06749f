import { describe, expect, it } from 'vitest';
import { device, stateOf } from '../testing/clusters.ts';
import { MAX_BALANCE, qualityOf } from './quality.ts';

/** Four devices in three zones; the third zone has two of them. */
const devices = [
  device('s', 'z1', 'n1', 'd', 100),
  device('s', 'z2', 'n2', 'd', 100),
  device('s', 'z3', 'n3', 'd', 100),
  device('s', 'z3', 'n4', 'd', 100),
];

function placed(columns: number[][], weights: readonly number[] = [100, 100, 100, 100]) {
  const members = devices.map((item, i) => ({ ...item, weight: weights[i]! }));
  const state = stateOf({
    devices: members,
    partPower: 2,
    replicas: columns.length,
    overload: 0,
    seed: 0,
  });
  return { ...state, columns: columns.map((column) => Uint16Array.from(column)) };
}

describe('quality', () => {
  it('is balance: the largest difference from the share by weight, in percent', () => {
    // 8 replicas on 4 equal devices: 2 each wanted, 3 on the first, 1 on the last.
    expect(
      qualityOf(
        placed([
          [0, 0, 0, 1],
          [1, 2, 2, 3],
        ]),
      ).balance,
    ).toBeCloseTo(50);
    expect(
      qualityOf(
        placed([
          [0, 1, 2, 3],
          [1, 2, 3, 0],
        ]),
      ).balance,
    ).toBe(0);
    expect(
      qualityOf(
        placed(
          [
            [0, 1, 2, 3],
            [1, 2, 3, 0],
          ],
          [100, 100, 100, 0],
        ),
      ).balance,
    ).toBe(MAX_BALANCE);
  });

  it('is dispersion: percent of replicas closer together than an even spread needs', () => {
    // Three replicas in three zones: one each is even. Partition 1 has two in zone 3.
    const state = placed([
      [0, 0, 0, 0],
      [1, 2, 1, 1],
      [2, 3, 3, 2],
    ]);
    expect(qualityOf(state).dispersion).toBeCloseTo((100 * 1) / 12);
    expect(qualityOf(state).worst).toEqual({
      partition: 1,
      replicas: 3,
      site: 3,
      zone: 2,
      node: 1,
      where: 's',
    });
  });

  it('counts a replica once, at the tier where it is worst', () => {
    const twoSites = [
      device('a', 'z', 'n1', 'd1', 100),
      device('a', 'z', 'n1', 'd2', 100),
      device('b', 'z', 'n2', 'd1', 100),
      device('b', 'z', 'n3', 'd1', 100),
    ];
    const state = stateOf({ devices: twoSites, partPower: 1, replicas: 2, overload: 0, seed: 0 });
    // Both partitions have two replicas at one site, one zone and one node: one in excess at each tier.
    const close = { ...state, columns: [Uint16Array.of(0, 0), Uint16Array.of(1, 1)] };
    expect(qualityOf(close).dispersion).toBeCloseTo(50);
    expect(qualityOf(close).worst).toMatchObject({ site: 2, zone: 2, node: 2, where: 'a' });
  });

  it('is nothing before the first rebalance', () => {
    const state = stateOf({ devices, partPower: 2, replicas: 3, overload: 0, seed: 0 });
    expect(qualityOf(state)).toEqual({ balance: 0, dispersion: 0 });
  });
});
