import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { thrownCode } from '#base/testing/thrown.ts';
import { anyCluster, device, RUNS, stateOf } from '../testing/clusters.ts';
import { MAX_HISTORY, RingBuilder } from './builder.ts';
import { rebalanced } from './rebalance.ts';
import { idsOf } from './state.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../../test/golden/ring/v1');
const devices = Array.from({ length: 9 }, (_, i) => device(`s${i % 3}`, 'z', `n${i}`, 'd', 100));
const settings = {
  policy: 4,
  partPower: 6,
  replicas: 3,
  copies: 3,
  overload: 0.1,
  minPartHours: 1,
};
const extra = device('s0', 'z', 'new', 'd', 100);

function fresh(): RingBuilder {
  const builder = RingBuilder.create(settings);
  builder.apply(builder.plan({ add: devices }, { seed: 1, nowHours: 100 }));
  return builder;
}

describe('a plan', () => {
  it('does what it showed, once, and only from the state it was made for', () => {
    const builder = fresh();
    const plan = builder.plan({ add: [extra] }, { seed: 2, nowHours: 110 });
    const other = builder.plan({ update: [{ id: 0, weight: 50 }] }, { seed: 2, nowHours: 110 });
    expect(builder.state.version).toBe(1);
    expect(plan.risks).toEqual([]);
    builder.apply(plan);
    expect(builder.state).toBe(plan.after);
    expect(builder.state.version).toBe(2);
    expect(thrownCode(() => builder.apply(plan))).toBe('stale-plan');
    expect(thrownCode(() => builder.apply(other))).toBe('stale-plan');
  });

  it('refuses to take several replicas of a partition away, unless that is accepted', () => {
    const builder = fresh();
    const plan = builder.plan({ remove: [0, 1, 3] }, { seed: 2, nowHours: 110 });
    expect(plan.risks.map((risk) => risk.kind)).toEqual(['majority-lost', 'several-replicas']);
    const { columns } = builder.state;
    const lost = Array.from(
      { length: 64 },
      (_, p) => idsOf(columns, p).filter((id) => [0, 1, 3].includes(id)).length,
    );
    expect(plan.risks[0]!.partitions).toBe(lost.filter((count) => count > 1).length);
    expect(thrownCode(() => builder.apply(plan))).toBe('ring-at-risk');
    expect(builder.state.version).toBe(1);
    builder.apply(plan, { acceptLoss: true });
    expect(builder.state.version).toBe(2);
  });

  it('refuses to remove a device of partitions that moved lately or are joint', () => {
    const builder = fresh();
    builder.apply(builder.plan({ add: [extra] }, { seed: 2, nowHours: 110 }));
    const soon = builder.plan({ remove: [9] }, { seed: 3, nowHours: 110 });
    expect(soon.risks.map((risk) => risk.kind)).toEqual(['moved-lately']);
    const joint = builder.plan({ remove: [9] }, { seed: 3, nowHours: 200 });
    expect(joint.risks.map((risk) => risk.kind)).toEqual(['moved-lately']);
    builder.settle();
    expect(builder.plan({ remove: [9] }, { seed: 3, nowHours: 200 }).risks).toEqual([]);
  });

  it('refuses more replicas than devices, and builds as many as there are when forced', () => {
    const builder = RingBuilder.create(settings);
    const plan = builder.plan({ add: devices.slice(0, 2) }, { seed: 1, nowHours: 1 });
    expect(plan.risks.map((risk) => risk.kind)).toEqual(['too-few-devices']);
    expect(thrownCode(() => builder.apply(plan))).toBe('ring-at-risk');
    builder.apply(plan, { force: true });
    expect(builder.toRing()).toMatchObject({ replicas: 2, copies: 2 });
    builder.apply(builder.plan({ add: devices.slice(2, 4) }, { seed: 1, nowHours: 1 }));
    expect(builder.toRing().replicas).toBe(3);
  });

  it('refuses devices and settings that cannot be', () => {
    const builder = fresh();
    const plan = (change: Parameters<RingBuilder['plan']>[0]) => () =>
      builder.plan(change, { seed: 1, nowHours: 1 });
    expect(thrownCode(plan({ remove: [77] }))).toBe('unknown-device');
    expect(thrownCode(plan({ update: [{ id: 77, weight: 1 }] }))).toBe('unknown-device');
    expect(thrownCode(plan({ update: [{ id: 1, weight: -1 }] }))).toBe('bad-ring-settings');
    expect(thrownCode(plan({ update: [{ id: 1, weight: Number.NaN }] }))).toBe('bad-ring-settings');
    expect(thrownCode(plan({ add: [devices[0]!] }))).toBe('duplicate-device');
    expect(thrownCode(plan({ add: [{ ...extra, id: 3 }] }))).toBe('duplicate-device');
    expect(thrownCode(plan({ add: [{ ...extra, id: 65_535 }] }))).toBe('too-many-devices');
    expect(thrownCode(plan({ settings: { partPower: 5 } }))).toBe('bad-ring-settings');
    expect(thrownCode(plan({ settings: { replicas: 17 } }))).toBe('bad-ring-settings');
    expect(
      thrownCode(
        plan({ update: builder.state.devices.map((item) => ({ id: item!.id, weight: 0 })) }),
      ),
    ).toBe('no-devices');
    expect(thrownCode(() => RingBuilder.create(settings).toRing())).toBe('not-balanced');
  });

  it("never gives a removed device's id to another", () => {
    const builder = fresh();
    builder.apply(builder.plan({ remove: [8] }, { seed: 2, nowHours: 110 }));
    builder.apply(builder.plan({ add: [devices[8]!] }, { seed: 2, nowHours: 120 }));
    expect(builder.state.devices[8]).toBeUndefined();
    expect(builder.state.devices[9]).toMatchObject({ id: 9, node: 'n8' });
  });
});

describe('undo', () => {
  it('publishes the old sets alone while joint, safe at once', () => {
    const builder = fresh();
    const before = builder.state;
    builder.apply(builder.plan({ add: [extra] }, { seed: 2, nowHours: 110 }));
    builder.undo({ nowHours: 110 });
    expect(builder.state.columns).toEqual(before.columns);
    expect(builder.state.former.size).toBe(0);
    expect(builder.state.movedAt).toEqual(before.movedAt);
    expect(builder.state.version).toBe(3);
    expect(builder.state.devices[9]).toBeUndefined();
  });

  it('is a joint change of its own once partitions have settled', () => {
    const builder = fresh();
    const before = builder.state;
    builder.apply(builder.plan({ add: [extra] }, { seed: 2, nowHours: 110 }));
    const moved = builder.state;
    const [still, ...settled] = [...moved.former.keys()];
    builder.settle(settled);
    builder.undo({ nowHours: 120 });
    expect(builder.state.columns).toEqual(before.columns);
    expect(builder.state.former.has(still!)).toBe(false);
    for (const partition of settled) {
      const ids = idsOf(moved.columns, partition);
      expect(builder.state.former.get(partition)).toEqual({ ids, since: 4 });
      expect(builder.state.movedAt[partition]).toBe(120);
    }
    // The device that came with the change is gone, but the former sets still name it.
    expect(builder.toRing().device(9)).toMatchObject({ node: 'new', weight: 0 });
    expect(builder.toRing().encode().length).toBeGreaterThan(0);
  });

  it('leaves alone what was settled before a change that is taken back', () => {
    const builder = fresh();
    builder.apply(builder.plan({ add: [extra] }, { seed: 2, nowHours: 110 }));
    builder.settle();
    const settled = builder.state;
    builder.apply(builder.plan({ update: [{ id: 0, weight: 1 }] }, { seed: 3, nowHours: 130 }));
    expect(builder.state.former.size).toBeGreaterThan(0);
    builder.undo({ nowHours: 131 });
    // Not the sets from before the first change: they have known nothing since it was settled.
    expect(builder.state.columns).toEqual(settled.columns);
    expect(builder.state.former.size).toBe(0);
  });

  it('names the version since which a pair of sets is in force, also when it changes again', () => {
    const builder = fresh();
    builder.apply(builder.plan({ add: [extra] }, { seed: 2, nowHours: 110 }));
    const first = builder.state;
    const again = RingBuilder.decode(builder.encode());
    again.settle([...first.former.keys()].slice(0, 1));
    const gone = again.plan({ remove: [9] }, { seed: 3, nowHours: 111 });
    again.apply(gone, { force: true });
    for (const [partition, set] of again.state.former) {
      const before = first.former.get(partition);
      expect(set.since).toBe(4); // the device that was to come is gone: all sets are others
      if (before !== undefined && again.state.former.has(partition)) {
        const isSettled = partition === [...first.former.keys()][0];
        if (!isSettled) expect(set.ids).toEqual(before.ids);
      }
    }
    expect(RingBuilder.decode(again.encode()).state.former).toEqual(again.state.former);
  });

  it('asks for more than force where removed devices take the knowing majority with them', () => {
    const builder = fresh();
    const before = builder.state;
    const gone = [0, 3, 6]; // all of one site, and of a site each partition has one: no majority yet
    const others = [0, 1, 3, 4, 6, 7];
    const bearable = builder.plan({ remove: gone }, { seed: 2, nowHours: 110 });
    expect(bearable.risks.map(({ kind }) => kind)).not.toContain('majority-lost');
    const plan = builder.plan({ remove: others }, { seed: 2, nowHours: 110 });
    expect(plan.risks.map(({ kind }) => kind)).toContain('majority-lost');
    expect(thrownCode(() => builder.apply(plan))).toBe('ring-at-risk');
    expect(thrownCode(() => builder.apply(plan, { force: true }))).toBe('ring-at-risk');
    builder.apply(plan, { acceptLoss: true });
    // Whoever is left counts as the old set: the new ones learn from it, and nothing waits for ever.
    for (const [partition, { ids, since }] of builder.state.former) {
      const left = idsOf(before.columns, partition).filter((id) => !others.includes(id));
      expect({ ids, since }).toEqual({ ids: left, since: 3 - 1 });
    }
    expect(builder.state.former.size).toBeGreaterThan(0);
  });

  it('goes back change by change, as far as history reaches, and no id is used twice', () => {
    const builder = fresh();
    const states = [];
    for (let i = 0; i < MAX_HISTORY + 2; i++) {
      states.push(builder.state.columns);
      builder.apply(
        builder.plan({ add: [{ ...extra, name: `d${i}` }] }, { seed: i, nowHours: 200 + i * 10 }),
      );
      builder.settle();
    }
    for (let i = MAX_HISTORY; i > 0; i--) {
      builder.undo({ nowHours: 900 + i });
      expect(builder.state.columns).toEqual(states.pop());
    }
    expect(thrownCode(() => builder.undo({ nowHours: 999 }))).toBe('nothing-to-undo');
    expect(builder.state.nextDevice).toBe(9 + MAX_HISTORY + 2);
  });

  it('cannot lower a raised part power', () => {
    const builder = fresh();
    builder.apply(builder.plan({ settings: { partPower: 7 } }, { seed: 2, nowHours: 110 }));
    expect(builder.state.former.size).toBe(0);
    expect(thrownCode(() => builder.undo({ nowHours: 110 }))).toBe('cannot-undo');
  });

  it('has nothing to go back to before the first ring', () => {
    expect(thrownCode(() => fresh().undo({ nowHours: 1 }))).toBe('nothing-to-undo');
  });
});

describe('the builder file', () => {
  it('gives back state and history, whatever the cluster', () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        const first = rebalanced(stateOf(cluster), { seed: 1, nowHours: 100 });
        const builder = new RingBuilder(first);
        builder.apply(builder.plan({ add: [extra], remove: [0] }, { seed: 2, nowHours: 110 }), {
          acceptLoss: true,
        });
        const again = RingBuilder.decode(builder.encode());
        expect(again.state).toEqual(builder.state);
        expect(again.undoable).toBe(1);
        again.undo({ nowHours: 120 });
        builder.undo({ nowHours: 120 });
        expect(again.state).toEqual(builder.state);
      }),
      { ...RUNS, numRuns: 40 },
    );
  });

  it('grows little with each change, as tables are kept as differences', () => {
    const large = { ...settings, partPower: 14 };
    const builder = RingBuilder.create(large);
    builder.apply(builder.plan({ add: devices }, { seed: 1, nowHours: 100 }));
    const one = builder.encode().length;
    for (let i = 0; i < 4; i++) {
      builder.apply(
        builder.plan(
          { add: [{ ...extra, name: `d${i}`, weight: 1 }] },
          { seed: i, nowHours: 200 + i * 10 },
        ),
      );
      builder.settle();
    }
    expect(builder.undoable).toBe(4);
    expect(builder.encode().length).toBeLessThan(one * 2);
  });

  it('notices every flipped byte and every cut', () => {
    const bytes = fresh().encode();
    for (let i = 0; i < bytes.length; i++) {
      const damaged = Buffer.from(bytes);
      damaged[i]! ^= 0x20;
      expect(['malformed', 'newer-format', 'checksum']).toContain(
        thrownCode(() => RingBuilder.decode(damaged)),
      );
      expect(['malformed', 'checksum']).toContain(
        thrownCode(() => RingBuilder.decode(bytes.subarray(0, i))),
      );
    }
  });

  it('reads the golden builder of version 1, and can undo its change', () => {
    const builder = RingBuilder.decode(readFileSync(path.join(GOLDEN, 'undoable.builder')));
    expect(builder.state).toMatchObject({
      version: 2,
      nextDevice: 5,
      settings: { replicas: 2.5, copies: 2 },
    });
    const ring = readFileSync(path.join(GOLDEN, 'undoable.ring-plain'));
    expect(builder.toRing().encode().equals(ring)).toBe(true);
    expect(builder.undoable).toBe(1);
    builder.undo({ nowHours: 2000 });
    expect(builder.state.devices.filter((item) => item !== undefined)).toHaveLength(4);
    expect(builder.state.former.size).toBe(0);
  });
});

describe('a builder from a description', () => {
  it('has its devices and the settings of the ring that is asked for', () => {
    const value = {
      format: 1,
      name: 'x',
      part_power: 5,
      policies: [{ name: 'two', index: 6, replicas: 2, default: true }],
      sites: {
        a: [
          { node: 'n', wire: 'h:1', devices: [1, 2, 3].map((i) => ({ name: `d${i}`, weight: i })) },
        ],
      },
    };
    const builder = RingBuilder.fromDescription(value);
    expect(builder.state.settings).toMatchObject({
      policy: 6,
      replicas: 3,
      copies: 2,
      partPower: 5,
    });
    builder.rebalance({ seed: 1, nowHours: 1 });
    expect(builder.toRing().placement(0).primaries).toHaveLength(3);
    expect(RingBuilder.fromDescription(value, 'account').state.settings.policy).toBe(0xffff);
    expect(thrownCode(() => RingBuilder.fromDescription(value, 'object/none'))).toBe(
      'unknown-ring',
    );
  });
});
