import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { thrownCode } from '#base/testing/thrown.ts';
import { parseDescriptionText } from '../description.ts';
import { reportMoves, shareBytes, spreadBytes } from './report.ts';
import { deviceKey, RingSet } from './ring-set.ts';

const TEXT = readFileSync(path.resolve(import.meta.dirname, '../../../rings/local.yaml'), 'utf8');
const local = parseDescriptionText(TEXT);

function localSet(): RingSet {
  const set = new RingSet();
  set.apply(set.plan(set.changeTo(local), { seed: 1, nowHours: 100 }));
  return set;
}

function edited(from: string, to: string): ReturnType<typeof parseDescriptionText> {
  expect(TEXT).toContain(from);
  return parseDescriptionText(TEXT.replace(from, to));
}

describe('the rings of a cluster', () => {
  it('are as the description says, and then there is nothing to change', () => {
    const set = localSet();
    expect([...set.builders.keys()]).toEqual([
      'object/standard',
      'object/reduced',
      'object/precious',
      'container',
      'account',
    ]);
    expect(set.changeTo(local)).toEqual({
      add: [],
      update: [],
      remove: [],
      settings: {},
      create: [],
    });
  });

  it('follow the description: devices that came, changed and left, by site, node and name', () => {
    const set = localSet();
    const before = new Map(set.devices().map((device) => [deviceKey(device), device.id]));
    const next = edited(
      'wire: 127.0.0.1:8093\n      devices: [{name: d1, weight: 100}, {name: d2, weight: 100}]',
      'wire: 127.0.0.1:9093\n      devices: [{name: d2, weight: 150}, {name: d3, weight: 100}]',
    );
    const change = set.changeTo(next);
    expect(change.remove).toEqual([before.get('padova/padova-2/d1')]);
    expect(change.update).toEqual([
      {
        id: before.get('padova/padova-2/d2'),
        zone: 'z2',
        weight: 150,
        meta: { wire: '127.0.0.1:9093' },
      },
    ]);
    expect(change.add).toMatchObject([{ name: 'd3', weight: 100 }]);
    set.apply(set.plan(change, { seed: 2, nowHours: 110 }));
    expect(set.disagreement()).toBeUndefined();
    for (const ring of set.rings().values()) {
      expect(ring.device(8)).toMatchObject({
        node: 'padova-2',
        name: 'd3',
        meta: { wire: '127.0.0.1:9093' },
      });
    }
    expect(set.changeTo(next)).toMatchObject({ add: [], update: [], remove: [] });
  });

  it('get a new policy with the same devices under the same ids', () => {
    const set = localSet();
    const padova = set.devices().find((device) => device.node === 'padova-1')!;
    set.apply(set.plan({ remove: [padova.id] }, { seed: 2, nowHours: 110 }));
    const next = edited(
      '  - {name: precious',
      '  - {name: extra, index: 9, replicas: 3}\n  - {name: precious',
    );
    const change = { ...set.changeTo(next), add: [] };
    expect(change.create?.map((ring) => ring.name)).toEqual(['object/extra']);
    set.apply(set.plan(change, { seed: 3, nowHours: 120 }));
    expect(set.disagreement()).toBeUndefined();
    expect(set.rings().get(9)).toMatchObject({ version: 1, replicas: 3 });
    expect(set.rings().get(9)!.device(padova.id)).toBeUndefined();
  });

  it('are never dropped or renumbered by a description', () => {
    const set = localSet();
    expect(
      thrownCode(() => set.changeTo(edited('  - {name: precious, index: 2, replicas: 5}\n', ''))),
    ).toBe('ring-in-use');
    expect(
      thrownCode(() => set.changeTo(edited('index: 2, replicas: 5', 'index: 5, replicas: 5'))),
    ).toBe('ring-in-use');
  });

  it('change together or not at all', () => {
    const set = localSet();
    const versions = () => [...set.builders.values()].map((builder) => builder.state.version);
    const risky = set.plan({ remove: [0, 2] }, { seed: 2, nowHours: 110 });
    expect(thrownCode(() => set.apply(risky))).toBe('ring-at-risk');
    expect(versions()).toEqual([1, 1, 1, 1, 1]);
    const plan = set.plan({ update: [{ id: 0, weight: 90 }] }, { seed: 2, nowHours: 110 });
    set.builders.get('account')!.rebalance({ seed: 1, nowHours: 105 });
    expect(thrownCode(() => set.apply(plan))).toBe('stale-plan');
    expect(versions()).toEqual([1, 1, 1, 1, 2]);
  });

  it('go back together', () => {
    const set = localSet();
    const before = [...set.rings().values()].map((ring) => ring.fields().columns);
    set.apply(set.plan({ update: [{ id: 0, weight: 10 }] }, { seed: 2, nowHours: 110 }));
    expect([...set.rings().values()].some((ring) => ring.jointPartitions > 0)).toBe(true);
    set.undo({ nowHours: 111 });
    expect([...set.rings().values()].map((ring) => ring.fields().columns)).toEqual(before);
    expect(thrownCode(() => set.undo({ nowHours: 111 }))).toBe('nothing-to-undo');
  });

  it('do not place one ring like another', () => {
    const rings = localSet().rings();
    expect(rings.get(0)!.fields().columns).not.toEqual(rings.get(0xfffe)!.fields().columns);
  });
});

describe('what a plan moves', () => {
  it('adds up: replicas, sites, pairs and devices', () => {
    const set = localSet();
    const change = {
      add: [{ site: 'bari', zone: 'z1', node: 'bari-2', name: 'd1', weight: 400, meta: {} }],
    };
    const [standard] = set.plan(change, { seed: 2, nowHours: 110 }).rings;
    const report = reportMoves(standard!);
    expect(report.replicas).toBeGreaterThan(0);
    expect(report.partitions).toBe(report.replicas);
    expect(report.pairs.reduce((sum, pair) => sum + pair.replicas, 0)).toBe(report.replicas);
    for (const site of report.sites) {
      const into = report.pairs.filter((pair) => pair.to === site.site && pair.from !== site.site);
      expect(site.in.replicas).toBe(into.reduce((sum, pair) => sum + pair.replicas, 0));
    }
    const gained = report.devices.reduce(
      (sum, device) => sum + Math.max(0, device.after - device.before),
      0,
    );
    expect(gained).toBe(report.replicas);
    expect(report.devices.at(-1)).toMatchObject({
      device: 'bari/bari-2/d1',
      weight: 400,
      before: 0,
    });
  });

  it('reckons bytes by what each device holds, and a state-only witness as none', () => {
    const set = localSet();
    const plans = set.plan({ update: [{ id: 0, weight: 0 }] }, { seed: 2, nowHours: 110 }).rings;
    const ring = (name: string) => plans.find((plan) => plan.name === name)!;
    const full = reportMoves(ring('object/standard'), () => 512_000);
    // Device 0 holds 512 replicas, so 1,000 bytes each; what leaves it arrives elsewhere.
    expect(full.bytes).toBe(full.replicas * 1000);
    const device = full.devices[0]!;
    expect(device.bytesBefore).toBe(512_000);
    expect(device.bytesAfter).toBe((512 - (device.before - device.after)) * 1000);
    const reduced = reportMoves(ring('object/reduced'), () => 341_000);
    expect(reduced.bytes).toBeLessThan(reduced.replicas * 1000 * 0.8);
    expect(reduced.bytes).toBeGreaterThan(reduced.replicas * 1000 * 0.5);
  });

  it('copies what a removed device held from a replica that is left, near ones first', () => {
    const set = localSet();
    const [standard] = set.plan({ remove: [0] }, { seed: 2, nowHours: 110 }).rings;
    const report = reportMoves(standard!);
    expect(report.replicas).toBeGreaterThanOrEqual(512);
    expect(report.pairs.every((pair) => pair.from !== 'lngs' || pair.to === 'lngs')).toBe(true);
    expect(report.devices[0]).toMatchObject({ after: 0, weight: 0 });
  });

  it('shares known bytes out over rings by the name space they hold', () => {
    const states = [...localSet().builders.values()].slice(0, 3).map((builder) => builder.state);
    const total = spreadBytes(states, 1_000_000);
    const sum = Array.from({ length: 8 }, (_, id) => total(id)).reduce((a, b) => a + b, 0);
    expect(sum).toBeCloseTo(1_000_000);
    const rings = shareBytes(states, () => 600);
    for (let id = 0; id < 8; id++)
      expect(rings.reduce((a, ring) => a + ring(id), 0)).toBeCloseTo(600);
    expect(rings[2]!(0)).toBeGreaterThan(rings[1]!(0));
  });
});
