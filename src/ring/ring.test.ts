import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hashPath } from '#base/hash.ts';
import { RingBuilder } from './builder/builder.ts';
import { changed } from './builder/change.ts';
import { rebalanced } from './builder/rebalance.ts';
import type { RingDevice } from './fields.ts';
import { Ring } from './ring.ts';
import { anyCluster, device, RUNS, stateOf } from './testing/clusters.ts';

/** Any UTF-16, lone surrogates too. */
const anyText = fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units));

function ringOf(cluster: Parameters<typeof stateOf>[0]): Ring {
  return new RingBuilder(
    rebalanced(stateOf(cluster), { seed: cluster.seed, nowHours: 1 }),
  ).toRing();
}

const three = Array.from({ length: 12 }, (_, i) =>
  device(`s${i % 3}`, `z${i % 2}`, `n${i}`, 'd', 100),
);
const small = { devices: three, partPower: 7, replicas: 3, overload: 0, seed: 1 };

describe('look-up', () => {
  it('takes the top bits of the MD5 of the name', () => {
    const ring = ringOf(small);
    fc.assert(
      fc.property(anyText, fc.string(), fc.string(), (name, prefix, suffix) => {
        const md5 = createHash('md5')
          .update(Buffer.from(prefix))
          .update(Buffer.from(name))
          .update(Buffer.from(suffix));
        const bits = BigInt(`0x${md5.digest('hex')}`) >> BigInt(128 - 7);
        expect(ring.partitionOf(hashPath(prefix, name, suffix))).toBe(Number(bits));
      }),
      RUNS,
    );
  });

  it('works from one partition to the largest part power', () => {
    const hash = Buffer.from('ffffffffffffffffffffffffffffffff', 'hex');
    expect(ringOf({ ...small, partPower: 0 }).partitionOf(hash)).toBe(0);
    expect(ringOf({ ...small, partPower: 1 }).partitionOf(hash)).toBe(1);
    const fields = ringOf(small).fields();
    expect(new Ring({ ...fields, partPower: 24 }).partitionOf(hash)).toBe(2 ** 24 - 1);
  });

  it('answers the devices of the columns in replica order, and no more than there are', () => {
    const ring = ringOf({ ...small, replicas: 2.5 });
    expect(ring.replicas).toBe(2.5);
    const { columns } = ring.fields();
    for (let partition = 0; partition < ring.partitions; partition++) {
      const { primaries, former } = ring.placement(partition);
      const expected = columns.filter((c) => partition < c.length).map((c) => c[partition]);
      expect(primaries.map((item) => item.id)).toEqual(expected);
      expect(primaries.length).toBe(partition < 64 ? 3 : 2);
      expect(former).toBeUndefined();
    }
    expect(() => ring.placement(ring.partitions)).toThrow('a partition of this ring');
  });

  it('answers the former set beside the new one while a partition is joint', () => {
    const builder = RingBuilder.create({
      policy: 0,
      partPower: 7,
      replicas: 3,
      copies: 3,
      overload: 0,
      minPartHours: 0,
    });
    builder.apply(builder.plan({ add: three }, { seed: 1, nowHours: 1 }));
    const before = builder.toRing();
    builder.apply(
      builder.plan({ add: [device('s0', 'z0', 'new', 'd', 100)] }, { seed: 2, nowHours: 9 }),
    );
    const joint = Ring.decode(builder.toRing().encode());
    expect(joint.version).toBe(2);
    let joints = 0;
    for (let partition = 0; partition < joint.partitions; partition++) {
      const { primaries, former } = joint.placement(partition);
      const old = before.placement(partition).primaries;
      const same = old.every((item, i) => item.id === primaries[i]!.id);
      expect(former?.map((item) => item.id)).toEqual(same ? undefined : old.map((item) => item.id));
      if (!same) joints++;
    }
    expect(joints).toBe(joint.jointPartitions);
    expect(joints).toBeGreaterThan(0);
    builder.settle();
    expect(builder.toRing().jointPartitions).toBe(0);
  });
});

describe('handoffs', () => {
  it('name every other device with a weight exactly once', () => {
    fc.assert(
      fc.property(anyCluster, fc.nat(), (cluster, pick) => {
        const ring = ringOf(cluster);
        const partition = pick % ring.partitions;
        const { primaries } = ring.placement(partition);
        const order = [...primaries, ...ring.handoffs(partition)].map((item) => item.id);
        const all = ring.devices.filter((item) => item !== undefined && item.weight > 0);
        expect(order.toSorted((a, b) => a - b)).toEqual(all.map((item) => item!.id));
      }),
      RUNS,
    );
  });

  it('stay as far as possible from all that are used: site, then zone, then node', () => {
    fc.assert(
      fc.property(anyCluster, fc.nat(), (cluster, pick) => {
        const ring = ringOf(cluster);
        const partition = pick % ring.partitions;
        const used = [...ring.placement(partition).primaries];
        const rest = [...ring.handoffs(partition)];
        while (rest.length > 0) {
          const [next] = rest;
          const crowding = (item: RingDevice): number[] => [
            used.filter((other) => other.site === item.site).length,
            used.filter((other) => other.site === item.site && other.zone === item.zone).length,
            used.filter(
              (other) =>
                other.site === item.site && other.zone === item.zone && other.node === item.node,
            ).length,
          ];
          const least = rest
            .map(crowding)
            .sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]! || a[2]! - b[2]!)[0];
          expect(crowding(next!)).toEqual(least);
          used.push(rest.shift()!);
        }
      }),
      { ...RUNS, numRuns: 40 },
    );
  });

  it('begin after the union of the new and the former set, and never with a drained device', () => {
    const state = rebalanced(stateOf(small), { seed: 1, nowHours: 1 });
    const change = { add: [device('s0', 'z0', 'new', 'd', 100)], update: [{ id: 1, weight: 0 }] };
    const after = rebalanced(changed(state, change), { seed: 2, nowHours: 9 });
    const ring = new RingBuilder(after).toRing();
    for (const partition of after.former.keys()) {
      const { primaries, former } = ring.placement(partition);
      const union = new Set([...primaries, ...former!].map((item) => item.id));
      const handoffs = [...ring.handoffs(partition)].map((item) => item.id);
      expect(handoffs.some((id) => union.has(id) || id === 1)).toBe(false);
    }
  });

  it('are shared among devices by weight, differently for each partition', () => {
    const devices = Array.from({ length: 20 }, (_, i) =>
      device('s', 'z', `n${i}`, 'd', i < 10 ? 100 : 300),
    );
    const ring = ringOf({ devices, partPower: 11, replicas: 1, overload: 0, seed: 1 });
    const first = new Map<number, number>();
    for (let partition = 0; partition < ring.partitions; partition++) {
      const [handoff] = ring.handoffs(partition);
      first.set(handoff!.id, (first.get(handoff!.id) ?? 0) + 1);
    }
    expect(first.size).toBe(20);
    const large = [...first].filter(([id]) => id >= 10).reduce((sum, [, count]) => sum + count, 0);
    expect(large / ring.partitions).toBeGreaterThan(0.7);
    expect(large / ring.partitions).toBeLessThan(0.8);
  });

  it('keep their order for all others when a device is added', () => {
    const ring = ringOf(small);
    const more = new Ring({
      ...ring.fields(),
      devices: [
        ...ring.devices,
        { id: 12, site: 's0', zone: 'z0', node: 'new', name: 'd', weight: 100, meta: {} },
      ],
    });
    const flat = (of: Ring, partition: number): number[] =>
      [...of.handoffs(partition)]
        .map((item) => item.id)
        .filter((id) => id !== 12 && of.devices[id]!.site === 's1');
    for (let partition = 0; partition < 20; partition++)
      expect(flat(more, partition)).toEqual(flat(ring, partition));
  });
});
