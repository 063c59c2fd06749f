import { describe, expect, it } from 'vitest';
import { readRequest } from '#ring/builder/change-request.ts';
import { planContent } from '#ring/builder/plan-format.ts';
import { viewPlan } from '#ring/builder/plan-view.ts';
import { certificate, description, failure, withAuthority } from './testing/fixture.ts';

const drain = (target: string) => ({ request: { drain: [target] } });

describe('who may ask what', () => {
  it(
    'nobody without a token or a certificate; nodes their calls; operators all',
    withAuthority(async ({ request, operator, authority }) => {
      const { clusterId } = await authority.store.knownCluster();
      const node = { certificate: certificate('bari-1', 'AA', clusterId) };
      const other = { certificate: certificate('bari-1', 'AB', 'f'.repeat(32)) };
      const status = async (path: string, as: object) =>
        (await request('GET', path, undefined, as)).status;
      expect(await status('/v1/bundle', {})).toBe(401);
      expect(await status('/v1/bundle', { token: 'x'.repeat(32) })).toBe(401);
      expect(await status('/v1/bundle', other)).toBe(401);
      expect(await status('/v1/bundle', node)).toBe(200);
      expect(await status('/v1/directory', {})).toBe(401);
      expect(await status('/v1/directory?have=6', node)).toBe(200);
      expect(await status('/v1/directory?have=7', node)).toBe(204);
      expect(await status('/v1/directory?have=x', node)).toBe(400);
      expect(await status('/v1/status', node)).toBe(403);
      expect(await status('/v1/status', { token: operator })).toBe(200);
      expect(await status('/v1/nothing', { token: operator })).toBe(404);
      expect((await request('GET', '/healthcheck')).status).toBe(200);
    }),
  );

  it(
    'operators make keys of encrypted objects and see no key itself; nodes do neither',
    withAuthority(async ({ ask, request, authority }) => {
      const path = '/v1/encryption/keys';
      const { clusterId } = await authority.store.knownCluster();
      const node = { certificate: certificate('bari-1', 'AA', clusterId) };
      expect((await request('GET', path, undefined, node)).status).toBe(403);
      const make = (how: string, name?: string) => ask('POST', path, { how, name });
      expect(await failure(make('rotate', 'payroll'))).toBe('unknown-key');
      await make('create', 'payroll');
      expect(await failure(make('create', 'payroll'))).toBe('name-taken');
      await make('rotate', 'payroll');
      await make('rotate');
      expect(await failure(make('forget', 'payroll'))).toBe('bad-input');
      expect(await ask('GET', path)).toEqual([
        { id: '0', name: 'payroll', createdMs: 0 },
        { id: '1', name: 'payroll', createdMs: 1 },
        { id: '2', name: '', createdMs: 2 },
      ]);
    }),
  );

  it(
    'a node reports of itself only',
    withAuthority(async ({ request, authority }) => {
      const { clusterId } = await authority.store.knownCluster();
      const report = {
        process: 'bari-1/worker-1',
        site: 'bari',
        roles: ['proxy'],
        version: '0',
        bundleVersion: 1,
        rings: {},
        devices: [],
      };
      const as = (name: string) => ({ certificate: certificate(name, name, clusterId) });
      expect((await request('POST', '/v1/reports', report, as('bari-1'))).status).toBe(204);
      expect((await request('POST', '/v1/reports', report, as('lngs-1'))).status).toBe(403);
      expect(
        (await request('POST', '/v1/reports', { ...report, extra: 1 }, as('bari-1'))).status,
      ).toBe(400);
    }),
  );

  it(
    'wrong input is told with the path of what is wrong',
    withAuthority(async ({ request, operator }) => {
      const reply = await request(
        'POST',
        '/v1/rings/plan',
        { request: { drain: 'bari' } },
        { token: operator },
      );
      expect(reply.status).toBe(400);
      expect(await reply.json()).toMatchObject({
        code: 'bad-input',
        message: expect.stringContaining('request.drain'),
      });
    }),
  );
});

describe('changing rings', () => {
  it(
    'a plan is the same as one made offline from the same rings, and either is applied',
    withAuthority(async ({ ask, authority }) => {
      const { set } = await authority.store.snapshot();
      const none = { addDevice: [], setWeight: [], drain: [], remove: [], replicas: [] };
      const request = { ...none, setWeight: ['bari/bari-1/d0=50'], replicas: ['container=4'] };
      const online = await ask('POST', '/v1/rings/plan', { request, seed: 7 });
      const { nowHours } = online.plan.options;
      const change = readRequest(set, request)!;
      const offline = set.plan(change, { seed: 7, nowHours });
      expect(planContent(set, offline)).toEqual(online.plan);
      expect(JSON.parse(JSON.stringify(viewPlan(offline)))).toEqual(online.view);
      await ask('POST', '/v1/rings/apply', { plan: planContent(set, offline) });
      set.apply(offline);
      const { set: applied } = await authority.store.snapshot();
      for (const [policy, ring] of set.rings())
        expect(applied.rings().get(policy)!.encode()).toEqual(ring.encode());
    }),
  );

  it(
    'a plan is shown, applied once, settled by the leader when all are complete',
    withAuthority(async ({ ask, view, authority }) => {
      const { plan, view: shown } = await ask('POST', '/v1/rings/plan', drain('bari-1'));
      expect(shown.rings.map((ring) => ring.ring)).toEqual([
        'object/standard',
        'container',
        'account',
      ]);
      const before = await view();
      await ask('POST', '/v1/rings/apply', { plan });
      const joint = await view();
      expect(joint.version).toBe(before.version + 1);
      expect(joint.rings.get(0)!.joint().length).toBe(shown.rings[0]!.moves.partitions);
      expect(await failure(ask('POST', '/v1/rings/apply', { plan }))).toBe('change-under-way');
      await authority.conductor.step();
      const settled = await view();
      expect(settled.version).toBe(joint.version + 1);
      expect([...settled.rings.values()].map((ring) => ring.joint().length)).toEqual([0, 0, 0]);
      expect(await failure(ask('POST', '/v1/rings/apply', { plan }))).toBe('stale-plan');
    }),
  );

  it(
    'pause holds settling back, resume lets it go on, undo goes back',
    withAuthority(async ({ ask, view, authority }) => {
      const before = await view();
      const { plan } = await ask('POST', '/v1/rings/plan', drain('lngs-2'));
      await ask('POST', '/v1/rings/apply', { plan });
      await ask('POST', '/v1/rings/pause', {});
      await authority.conductor.step();
      expect((await view()).rings.get(0)!.joint().length).toBeGreaterThan(0);
      await ask('POST', '/v1/rings/undo', {});
      const undone = await view();
      expect(undone.rings.get(0)!.joint().length).toBe(0);
      for (let partition = 0; partition < 64; partition += 1)
        expect(undone.rings.get(0)!.placement(partition).primaries).toEqual(
          before.rings.get(0)!.placement(partition).primaries,
        );
      await ask('POST', '/v1/rings/resume', {});
      expect((await ask('GET', '/v1/status')).paused).toBe(false);
    }),
  );

  it(
    'a plan tells bytes and hours between sites, and how full the fullest disk gets',
    withAuthority(async ({ ask, authority, view }) => {
      const document = await ask('GET', '/v1/document');
      const links = [{ between: ['lngs', 'bari'], rttMs: 12, bandwidth: 1e6 }];
      await ask('PUT', '/v1/document', { document: { ...document, links } });
      const ring = (await view()).rings.get(0)!;
      for (const node of new Set(ring.devices.map((device) => device!.node))) {
        const own = ring.devices.filter((device) => device!.node === node);
        const devices = own.map((device) => {
          const { id, name } = device!;
          return { id, name, status: 'ok', usedBytes: id === 0 ? 4e9 : 3e9, totalBytes: 1e10 };
        });
        const told = { roles: ['storage'], version: '0', bundleVersion: 99, rings: {}, devices };
        await authority.reports.note({ process: node, site: own[0]!.site, ...told });
      }
      const { view: drained } = await ask('POST', '/v1/rings/plan', drain('bari-2'));
      const { before, after } = drained.fullness!;
      expect(before).toEqual({ device: 'lngs/lngs-1/d0', share: 0.4 });
      // What bari-2 held is spread over the others.
      expect(after.device).not.toMatch(/^bari\/bari-2\//);
      expect(after.share).toBeGreaterThan(0.41);
      expect(after.share).toBeLessThan(0.7);
      expect(drained.bytes).toBeGreaterThan(5e9);
      expect(drained.seconds).toBeGreaterThanOrEqual(0);
      const total = drained.pairs.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(Math.abs(total - drained.bytes)).toBeLessThan(100);
      // What is said of bytes and lines holds instead, in all or by device.
      const plan = (more: object) => ask('POST', '/v1/rings/plan', { ...drain('bari-2'), ...more });
      const only = await plan({ bytesUsed: { 'bari/bari-2/d0': 8e9 }, bandwidth: 1e3 });
      const slower = await plan({ bytesUsed: { 'bari/bari-2/d0': 8e9 }, bandwidth: 1e2 });
      expect(only.view.bytes).toBeGreaterThan(0);
      expect(only.view.bytes).toBeLessThan(8.1e9);
      expect(slower.view.seconds! / only.view.seconds!).toBeCloseTo(10, 1);
      expect((await plan({ bytesUsed: 1e6 })).view.bytes).toBeLessThan(1e6);
    }),
  );

  it(
    'the next change waits for processes that run an older version, unless they are away or it is forced',
    withAuthority(async (fixture, world) => {
      const { ask, authority } = fixture;
      const { version } = await ask('GET', '/v1/status');
      const report = {
        process: 'bari-1',
        site: 'bari',
        roles: ['storage'],
        version: '0',
        bundleVersion: version - 1,
        rings: {},
        devices: [],
      };
      await authority.reports.note(report);
      const { plan } = await ask('POST', '/v1/rings/plan', drain('lngs-2'));
      expect(await failure(ask('POST', '/v1/rings/apply', { plan }))).toBe('change-under-way');
      expect((await ask('GET', '/v1/status')).inForceEverywhere).toBe(false);
      await world.machine('authority').env.clock.sleep(60_000);
      expect((await ask('GET', '/v1/status')).processes[0]).toMatchObject({
        away: true,
        behind: true,
      });
      await ask('POST', '/v1/rings/apply', { plan });
    }),
  );

  it(
    'a gradual change reaches its weights in steps, each after the moves of the last',
    withAuthority(async ({ ask, view, authority }) => {
      await ask('POST', '/v1/rings/gradual', { weights: { 0: 0, 3: 150 }, stepPercent: 25 });
      const weights = async () =>
        [0, 3].map((id) =>
          authority.store
            .snapshot()
            .then(({ set }) => set.devices().find((d) => d.id === id)!.weight),
        );
      const seen: number[] = [];
      for (let turn = 0; turn < 20; turn += 1) {
        await authority.conductor.step();
        const [first] = await Promise.all(await weights());
        if (seen.at(-1) !== first) seen.push(first!);
      }
      expect(await Promise.all(await weights())).toEqual([0, 150]);
      expect(seen.length).toBeGreaterThan(3);
      expect((await ask('GET', '/v1/status')).gradual).toBeUndefined();
      expect((await view()).rings.get(0)!.joint().length).toBe(0);
    }),
  );

  it(
    'raising the part power moves nothing; the number of replicas follows in the policy',
    withAuthority(async ({ ask, view, authority }) => {
      const before = await view();
      const raise = { request: { partPower: '8' } };
      const { plan, view: shown } = await ask('POST', '/v1/rings/plan', raise);
      expect([shown.partitions, shown.bytes]).toEqual([0, 0]);
      await ask('POST', '/v1/rings/apply', { plan });
      const after = await view();
      expect(after.rings.get(0)!.partitions).toBe(256);
      for (let partition = 0; partition < 256; partition += 1)
        expect(after.rings.get(0)!.placement(partition).primaries).toEqual(
          before.rings.get(0)!.placement(partition >> 2).primaries,
        );
      const five = await ask('POST', '/v1/rings/plan', {
        request: { replicas: ['object/standard=5'] },
      });
      await ask('POST', '/v1/rings/apply', { plan: five.plan });
      await authority.conductor.step();
      expect((await view()).policies[0]).toMatchObject({ states: 5, copies: 5 });
    }),
  );

  it(
    'a device that has not joined, and a description with one, are refused',
    withAuthority(async ({ ask }) => {
      const add = { request: { addDevice: ['bari/bari-1/d7=100'] } };
      expect(await failure(ask('POST', '/v1/rings/plan', add))).toBe('unknown-device');
      expect(description(3).nodes).toHaveLength(6);
    }),
  );
});

describe('failing devices', () => {
  const failing = (status: string) => ({
    process: 'bari-1',
    site: 'bari',
    roles: ['storage'],
    version: '0',
    bundleVersion: 99,
    rings: {},
    devices: [{ id: 4, name: 'd0', status, usedBytes: 1, totalBytes: 2 }],
  });

  it(
    'are proposed to be drained, with the command, and no more once they are well',
    withAuthority(async ({ ask, authority }) => {
      await authority.reports.note(failing('failed'));
      await authority.conductor.step();
      expect((await ask('GET', '/v1/status')).proposals).toMatchObject([
        { device: 4, name: 'bari/bari-1/d0', command: 'anello ring apply --drain bari/bari-1/d0' },
      ]);
      await authority.reports.note(failing('ok'));
      await authority.conductor.step();
      expect((await ask('GET', '/v1/status')).proposals).toEqual([]);
    }),
  );

  it(
    'are drained by itself after the time that the document sets, not before',
    withAuthority(async ({ ask, authority, view }, world) => {
      const document = await ask('GET', '/v1/document');
      await ask('PUT', '/v1/document', {
        document: { ...document, applyFailuresAfterMinutes: 30 },
      });
      await authority.reports.note(failing('failed'));
      await authority.conductor.step();
      expect((await view()).rings.get(0)!.device(4)!.weight).toBe(100);
      await world.machine('authority').env.clock.sleep(31 * 60_000);
      await authority.reports.note(failing('failed'));
      await authority.conductor.step();
      expect((await view()).rings.get(0)!.device(4)!.weight).toBe(0);
    }),
  );
});

describe('the cluster document', () => {
  it(
    'is checked as a whole and reaches every process in the bundle',
    withAuthority(async ({ ask, view }) => {
      const document = await ask('GET', '/v1/document');
      const links = [
        { between: ['lngs', 'bari'], rttMs: 12, bandwidth: 1e8, hours: '22:00-06:00' },
      ];
      await ask('PUT', '/v1/document', { document: { ...document, links } });
      expect((await view()).settings!.links).toEqual(links);
      const wrong = { ...document, links: [{ between: ['lngs', 'rome'], rttMs: 1 }] };
      expect(await failure(ask('PUT', '/v1/document', { document: wrong }))).toBe('bad-document');
      expect((await ask('GET', '/v1/history'))[0]).toMatchObject({
        what: 'cluster document',
        who: 'operator',
      });
    }),
  );
});
