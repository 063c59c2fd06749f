import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { RingSet } from './builder/ring-set.ts';
import {
  describedDevices,
  parseAddress,
  parseDescription,
  parseDescriptionText,
} from './description.ts';

const RINGS = path.resolve(import.meta.dirname, '../../rings');
const read = (name: string) => parseDescriptionText(readFileSync(path.join(RINGS, name), 'utf8'));

function minimal(): Record<string, unknown> {
  return {
    format: 1,
    name: 'test',
    part_power: 4,
    policies: [{ name: 'standard', index: 0, replicas: 3, default: true }],
    sites: {
      a: [{ node: 'a-1', wire: 'a.example.org:7400', devices: [{ name: 'd1', weight: 1 }] }],
    },
  };
}

/** The complaint about a description with one thing changed. */
function complaint(change: (value: ReturnType<typeof minimal>) => void): string {
  const value = minimal();
  change(value);
  try {
    parseDescription(value);
  } catch (error) {
    expect((error as { code: string }).code).toBe('bad-description');
    return (error as Error).message;
  }
  return 'none';
}

/** All rings of a description, first version. */
function ringsOf(description: ReturnType<typeof read>) {
  const set = new RingSet();
  set.apply(set.plan(set.changeTo(description), { seed: 1, nowHours: 1 }));
  return set.rings();
}

describe('the descriptions that come with Anello', () => {
  it('local: one replica at each site, of precious objects two at most', () => {
    const description = read('local.yaml');
    const rings = ringsOf(description);
    expect([...rings.keys()]).toEqual([0, 1, 2, CONTAINER_RING, ACCOUNT_RING]);
    for (const [policy, ring] of rings) {
      const most = policy === 2 ? 2 : 1;
      for (let partition = 0; partition < ring.partitions; partition++) {
        const { primaries } = ring.placement(partition);
        expect(primaries.length).toBe(policy === 2 ? 5 : 3);
        for (const site of ['lngs', 'bari', 'padova']) {
          expect(primaries.filter((device) => device.site === site).length).toBeLessThanOrEqual(
            most,
          );
        }
      }
    }
    expect(rings.get(1)).toMatchObject({ replicas: 3, copies: 2 });
    expect(description.policies.find((policy) => policy.isDefault)?.name).toBe('standard');
  });

  it('wide-area: one replica at each site too, and a policy for available containers', () => {
    const description = read('wide-area.yaml');
    const rings = ringsOf(description);
    const always = description.policies.find((policy) => policy.mode === 'available');
    for (const policy of [0, always!.index, CONTAINER_RING]) {
      const ring = rings.get(policy)!;
      for (let partition = 0; partition < ring.partitions; partition++) {
        const { primaries } = ring.placement(partition);
        expect(new Set(primaries.map((device) => device.site)).size).toBe(3);
      }
    }
  });

  it('give a device the same id in every ring, and its node a wire address', () => {
    const rings = [...ringsOf(read('local.yaml')).values()];
    for (const ring of rings) expect(ring.devices).toEqual(rings[0]!.devices);
    expect(rings[0]!.devices[7]).toEqual({
      id: 7,
      site: 'padova',
      zone: 'z2',
      node: 'padova-2',
      name: 'd2',
      weight: 100,
      meta: { wire: '127.0.0.1:8093' },
    });
  });
});

describe('a description', () => {
  it('has defaults', () => {
    const description = parseDescription(minimal());
    expect(description).toMatchObject({
      overload: 0.1,
      minPartHours: 1,
      rowReplicas: { container: 3, account: 3 },
      policies: [{ copies: 3, states: 3, mode: 'strict', isDefault: true }],
      nodes: [{ name: 'a-1', site: 'a', zone: 'z1', wire: { host: 'a.example.org', port: 7400 } }],
    });
    expect(describedDevices(description)).toHaveLength(1);
  });

  it('keeps states odd and at least three', () => {
    for (const [replicas, states] of [
      [1, 3],
      [2, 3],
      [3, 3],
      [4, 5],
      [5, 5],
    ]) {
      const value = { ...minimal(), policies: [{ name: 'p', index: 0, replicas, default: true }] };
      expect(parseDescription(value).policies[0]).toMatchObject({ copies: replicas, states });
    }
  });

  it('names the path of every wrong field', () => {
    expect(complaint((d) => delete d['part_power'])).toContain('part_power:');
    expect(complaint((d) => (d['part_power'] = 60))).toContain('part_power:');
    expect(complaint((d) => (d['overlaod'] = 1))).toContain('overlaod');
    expect(complaint((d) => (d['sites'] = {}))).toContain('sites: no devices');
    const device = (fields: object) => (d: ReturnType<typeof minimal>) => {
      d['sites'] = {
        a: [{ node: 'a-1', wire: 'h:1', devices: [{ name: 'd1', weight: 1, ...fields }] }],
      };
    };
    expect(complaint(device({ weight: -1 }))).toContain('sites.a.0.devices.0.weight:');
    expect(complaint(device({ weight: '10' }))).toContain('sites.a.0.devices.0.weight:');
    expect(complaint(device({ name: 'D 1' }))).toContain('sites.a.0.devices.0.name:');
    expect(complaint(device({ name: '../x' }))).toContain('sites.a.0.devices.0.name:');
  });

  it('refuses what contradicts itself', () => {
    const policies =
      (...list: object[]) =>
      (d: ReturnType<typeof minimal>) => {
        d['policies'] = list.map((item, index) => ({
          name: `p${index}`,
          index,
          replicas: 3,
          ...item,
        }));
      };
    expect(complaint(policies({}))).toContain('exactly one must be the default');
    expect(complaint(policies({ default: true }, { default: true }))).toContain('exactly one');
    expect(complaint(policies({ default: true }, { name: 'p0' }))).toContain(
      'policies.1.name: "p0" is given twice',
    );
    expect(complaint(policies({ default: true }, { index: 0 }))).toContain(
      'policies.1.index: "0" is given twice',
    );
    expect(complaint(policies({ default: true, states: 4 }))).toContain(
      'policies.0.states: must be odd',
    );
    expect(complaint(policies({ default: true, replicas: 5, states: 3 }))).toContain(
      'policies.0.states',
    );
    const node = {
      node: 'n',
      wire: 'h:1',
      devices: [
        { name: 'd', weight: 1 },
        { name: 'd', weight: 1 },
      ],
    };
    expect(complaint((d) => (d['sites'] = { a: [node] }))).toContain(
      'sites.a.0.devices.1.name: "d" is given twice',
    );
    const single = { ...node, devices: [{ name: 'd', weight: 1 }] };
    expect(complaint((d) => (d['sites'] = { a: [single], b: [single] }))).toContain(
      'sites.b.0.node: "n" is given twice',
    );
  });

  it('says where YAML is broken', () => {
    expect(() => parseDescriptionText('a: [')).toThrow(/not YAML: .* at line 1/);
    expect(() => parseDescriptionText('a: 1\na: 2')).toThrow(/not YAML: .*unique/);
    expect(() => parseDescriptionText('')).toThrow('(top)');
  });
});

describe('an address', () => {
  it('is host and port', () => {
    expect(parseAddress('127.0.0.1:80')).toEqual({ host: '127.0.0.1', port: 80 });
    expect(parseAddress('[2001:db8::1]:7400')).toEqual({ host: '2001:db8::1', port: 7400 });
    for (const wrong of [
      'host',
      'host:',
      ':80',
      'host:0',
      'host:65536',
      'a b:80',
      '[host]:80',
      '2001:db8::1:80',
    ]) {
      expect(parseAddress(wrong)).toBeUndefined();
    }
  });
});
