/** What anybody may send to the authority, or an operator by mistake: refused clearly, nothing half done. */
import { describe, expect, it } from 'vitest';
import type { PlanContent } from '#ring/builder/plan-format.ts';
import type { Document } from './document.ts';
import { withAuthority } from './testing/fixture.ts';

const LEVELS = 20_000;
const DEEP = '['.repeat(LEVELS) + ']'.repeat(LEVELS);
const DEEP_OBJECT = `${'{"a":'.repeat(LEVELS)}1${'}'.repeat(LEVELS)}`;
const TEXTS = ['', 'x', '{', 'null', '7', '"x"', '[]', '[{}]', '\ud800', DEEP, DEEP_OBJECT];
const VALUES: readonly unknown[] = [
  ...[null, 7, -1, 1e300, 0.5, '', 'x'.repeat(100_000), 'a\nb', '\u0000', '__proto__'],
  ...[[], [null], {}, { a: 1 }, true],
];

/** Wrong in two things or all, so that nothing of it may ever be taken. */
const ROUTES: readonly (readonly ['POST' | 'PUT', string, 'node' | 'operator', object])[] = [
  ['POST', '/v1/join', 'node', { token: 'x', name: 'n', wire: {}, disks: [], request: '' }],
  [
    'POST',
    '/v1/reports',
    'node',
    { process: 'bari-1', site: 7, roles: [], devices: [], rings: {} },
  ],
  ['POST', '/v1/disks', 'node', { disks: [{ name: 'D', bytes: 1 }], more: 1 }],
  ['POST', '/v1/certificate', 'node', { request: 'x' }],
  ['POST', '/v1/rings/plan', 'operator', { request: { drain: ['nobody'] }, seed: 0.5 }],
  ['POST', '/v1/rings/plan', 'operator', { description: 'format: 1', bandwidth: 0 }],
  ['POST', '/v1/rings/apply', 'operator', { plan: { format: 2 }, force: true, who: 'x' }],
  ['POST', '/v1/rings/gradual', 'operator', { weights: { 99: 1 }, stepPercent: 0 }],
  ['POST', '/v1/nodes/nobody/expel', 'operator', { who: 'x' }],
  ['POST', '/v1/tokens', 'operator', { site: 'rome', roles: ['storage'], hours: 0 }],
  ['POST', '/v1/server-certificate', 'operator', { request: 'x', hosts: ['a b'] }],
  ['PUT', '/v1/document', 'operator', { document: { name: 'x' }, who: 7 }],
  ['POST', '/v1/encryption/keys', 'operator', { name: 'x', how: 'forget' }],
];

/** The body itself, and with every field as everything else. */
function bodiesLike(body: object): string[] {
  const fields = Object.keys(body);
  const others = fields.flatMap((field) =>
    VALUES.map((value) => JSON.stringify({ ...body, [field]: value })),
  );
  const deep = fields.flatMap((field) => {
    const text = JSON.stringify({ ...body, [field]: 'HERE' });
    return [DEEP, DEEP_OBJECT].map((nested) => text.replace('"HERE"', nested));
  });
  return [JSON.stringify(body), ...others, ...deep];
}

describe('input', () => {
  it.each(ROUTES)(
    '%s %s of any form is refused, and publishes nothing',
    async (method, path, who, body) => {
      await withAuthority(async ({ request, operator, authority }) => {
        const { clusterId } = await authority.store.knownCluster();
        const names = { commonName: 'bari-1', locality: 'bari', units: ['storage'], serial: 'AA' };
        const node = { certificate: { ...names, organization: clusterId } };
        const before = await authority.store.head();
        for (const text of [...TEXTS, ...bodiesLike(body)]) {
          const reply = await request(
            method,
            path,
            text,
            who === 'node' ? node : { token: operator },
          );
          const { code } = (await reply.json()) as { code: string };
          const told = [text.slice(0, 80), reply.status, code];
          expect(told).toEqual([text.slice(0, 80), expect.any(Number), expect.any(String)]);
          expect(reply.status, String(told)).toBeGreaterThanOrEqual(400);
          expect(reply.status, String(told)).toBeLessThan(500);
        }
        expect(await authority.store.head()).toEqual(before);
      })();
    },
  );

  it(
    'of a machine that is reached at no address is refused',
    withAuthority(async ({ request }) => {
      const hosts = ['a\nb', '10.0.0.9 ; x', '', '\u0000', '10.0.0.9:7400', 'a'.repeat(254)];
      for (const host of hosts) {
        const machine = { token: 'x', name: 'bari-9', wire: { host, port: 7400 }, request: 'x' };
        const reply = await request('POST', '/v1/join', machine);
        expect(await reply.json()).toMatchObject({
          code: 'bad-input',
          message: expect.stringContaining('wire.host'),
        });
      }
    }),
  );
});

const FIRST = 0;
type Change = (document: Document) => Partial<Document>;
const policy =
  (changes: Partial<Document['policies'][number]>): Change =>
  ({ policies }) => ({ policies: [{ ...policies[FIRST]!, ...changes }] });

describe('a cluster document', () => {
  it.each<readonly [string, Change, string]>([
    ['without a site of nodes', ({ sites }) => ({ sites: sites.slice(1) }), 'lngs-1, lngs-2'],
    ['with another index', policy({ index: 7 }), 'object/standard (index 0) has a ring'],
    ['with another name of a policy', policy({ name: 'x' }), 'has a ring'],
    ['with fewer replicas than the ring', policy({ states: 1 }), 'has states 3, copies 3'],
    ['with more copies than the ring', policy({ copies: 5 }), 'ring plan --replicas'],
    ['with another mode', policy({ mode: 'local' }), 'is strict for ever'],
    [
      'with two policies of one index',
      ({ policies }) => ({
        policies: [...policies, { ...policies[FIRST]!, name: 'x', isDefault: false }],
      }),
      'two have the same index',
    ],
    ['with no state store', () => ({ state: 'x' }), 'etcd:https'],
    ['with line ends in an address', () => ({ state: 'etcd:http://a:1\n' }), 'etcd:https'],
  ])('%s is refused, and says why', async (_, change, why) => {
    await withAuthority(async ({ request, ask, operator, authority }) => {
      const document = (await ask('GET', '/v1/document')) as unknown as Document;
      const before = await authority.store.head();
      const changed = { document: { ...document, ...change(document) } };
      const reply = await request('PUT', '/v1/document', changed, { token: operator });
      expect(await reply.json()).toMatchObject({
        code: 'bad-document',
        message: expect.stringContaining(why),
      });
      expect(await authority.store.head()).toEqual(before);
    })();
  });

  it(
    'takes a policy before its ring is made, and a ring only of a policy that it has',
    withAuthority(async ({ ask, view }) => {
      const document = (await ask('GET', '/v1/document')) as unknown as Document;
      const cold = { ...document.policies[FIRST]!, index: 4, name: 'cold', isDefault: false };
      const settings = { partPower: 4, replicas: 5, copies: 2, overload: 0, minPartHours: 0 };
      const create = [{ name: 'object/cold', settings: { ...settings, policy: 4 } }];
      const apply = async () => {
        const { plan } = await ask('POST', '/v1/rings/plan', { seed: 1 });
        return ask('POST', '/v1/rings/apply', { plan: { ...plan, change: { create } } });
      };
      await expect(apply()).rejects.toMatchObject({ code: 'bad-document' });
      const policies = [...document.policies, cold];
      await ask('PUT', '/v1/document', { document: { ...document, policies } });
      await apply();
      const { policies: told, rings } = await view();
      expect(rings.get(4)!.replicas).toBe(5);
      expect(told.find(({ index }) => index === 4)).toMatchObject({ states: 5, copies: 2 });
    }),
  );
});

describe('a plan that cannot be made', () => {
  it.each([
    ['no device is left', { drain: ['lngs', 'bari', 'padova'] }, 'no-devices'],
    ['all devices go', { remove: ['lngs', 'bari', 'padova'] }, 'no-devices'],
    ['a part power is lowered', { partPower: '1' }, 'bad-ring-settings'],
    ['there is no such number of replicas', { replicas: ['container=1e9'] }, 'bad-ring-settings'],
    ['a weight is below nothing', { setWeight: ['0=-1'] }, 'bad-ring-settings'],
  ])('because %s is refused as that', async (_, request, code) => {
    await withAuthority(async ({ ask }) => {
      const plan = ask('POST', '/v1/rings/plan', { request });
      await expect(plan).rejects.toMatchObject({ code });
    })();
  });
});

describe('a plan from elsewhere', () => {
  const device = {
    ...{ site: 'bari', zone: 'z1', node: 'bari-1', name: 'd0' },
    ...{ weight: 100, meta: { wire: '10.0.0.9:7400' } },
  };

  it.each([
    ['a disk that has not joined', { ...device, name: 'd9', id: 77 }, 'unknown-device'],
    ['a node of another site', { ...device, site: 'lngs', id: 77 }, 'unknown-device'],
    ['an id that the disk has not', { ...device, id: 77 }, 'stale-plan'],
    ['no id', device, 'stale-plan'],
  ])('with %s is refused, forced or not', async (_, added, code) => {
    await withAuthority(async ({ ask, authority }) => {
      const { plan } = await ask('POST', '/v1/rings/plan', { seed: 1 });
      const before = await authority.store.head();
      const crafted: PlanContent = { ...plan, change: { add: [added] } };
      for (const force of [false, true]) {
        const apply = ask('POST', '/v1/rings/apply', { plan: crafted, force, acceptLoss: force });
        await expect(apply).rejects.toMatchObject({ code });
      }
      expect(await authority.store.head()).toEqual(before);
    })();
  });
});
