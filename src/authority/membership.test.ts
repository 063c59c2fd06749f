/** Members of the cluster: how a machine joins with a token, and what becomes of its certificate, disks and place. */
import { describe, expect, it } from 'vitest';
import { createRequest, newPrivateKey } from './certificates.ts';
import {
  type AuthorityFixture,
  certificate,
  failure,
  type Reply,
  withAuthority,
} from './testing/fixture.ts';

describe('joining', () => {
  const joining = (token: string, name: string, more = {}) => ({
    token,
    name,
    wire: { host: '10.0.0.9', port: 7400 },
    disks: [{ name: 'd0', bytes: 1e12 }],
    request: createRequest(newPrivateKey(), 'anything'),
    ...more,
  });
  const tokenFor = async ({ ask }: AuthorityFixture, more = {}): Promise<string> =>
    (await ask('POST', '/v1/tokens', { site: 'bari', roles: ['storage'], ...more })).token;

  it(
    'a machine with a token becomes a node with ids of its own, in the next bundle',
    withAuthority(async (fixture) => {
      const reply = await fixture.request(
        'POST',
        '/v1/join',
        joining(await tokenFor(fixture), 'bari-9'),
      );
      expect(reply.status).toBe(201);
      const member = (await reply.json()) as Reply;
      expect(member).toMatchObject({
        name: 'bari-9',
        site: 'bari',
        roles: ['storage'],
        devices: [{ id: 12, name: 'd0' }],
        secrets: {},
      });
      expect(member.certificate).toContain('BEGIN CERTIFICATE');
      const view = await fixture.view();
      expect(view.nodes.get('bari-9')).toMatchObject({
        site: 'bari',
        roles: ['storage'],
        wire: { host: '10.0.0.9', port: 7400 },
      });
      // It is in no ring until a plan puts it there, with the id that its disk has.
      const { plan, view: shown } = await fixture.ask('POST', '/v1/rings/plan', {
        request: { addDevice: ['bari/bari-9/d0=100@10.0.0.9:7400'] },
      });
      expect(shown.partitions).toBeGreaterThan(0);
      await fixture.ask('POST', '/v1/rings/apply', { plan });
      expect((await fixture.view()).rings.get(0)!.device(12)).toMatchObject({
        node: 'bari-9',
        name: 'd0',
      });
    }),
  );

  it(
    'a token serves as often as it says, until it ends, and for its site and roles',
    withAuthority(async (fixture, world) => {
      const once = await tokenFor(fixture);
      expect((await fixture.request('POST', '/v1/join', joining(once, 'bari-8'))).status).toBe(201);
      expect((await fixture.request('POST', '/v1/join', joining(once, 'bari-9'))).status).toBe(401);
      const twice = await tokenFor(fixture, { uses: 2, hours: 1 });
      expect((await fixture.request('POST', '/v1/join', joining(twice, 'bari-9'))).status).toBe(
        201,
      );
      expect(
        (
          await fixture.request(
            'POST',
            '/v1/join',
            joining(`${twice}x`.replace('.', '.0'), 'bari-10'),
          )
        ).status,
      ).toBe(401);
      await world.machine('authority').env.clock.sleep(3_700_000);
      expect((await fixture.request('POST', '/v1/join', joining(twice, 'bari-10'))).status).toBe(
        401,
      );
      expect(await failure(tokenFor(fixture, { site: 'nowhere' }))).toBe('unknown-site');
    }),
  );

  it(
    'a name is taken once; replacing voids the earlier certificate and keeps the disks’ ids',
    withAuthority(async (fixture) => {
      const token = await tokenFor(fixture, { uses: 5 });
      const first = (await (
        await fixture.request('POST', '/v1/join', joining(token, 'bari-9'))
      ).json()) as Reply;
      expect((await fixture.request('POST', '/v1/join', joining(token, 'bari-9'))).status).toBe(
        409,
      );
      const again = (await (
        await fixture.request('POST', '/v1/join', joining(token, 'bari-9', { replace: true }))
      ).json()) as Reply;
      expect(again.devices).toEqual(first.devices);
      expect(again.workerIds[0]!).toBeGreaterThan(first.workerIds.at(-1)!);
      expect((await fixture.view()).settings!.revoked.serials).toHaveLength(1);
    }),
  );

  it(
    'a machine that did not hear the answer asks again and gets the same, nobody else does',
    withAuthority(async (fixture, world) => {
      const token = await tokenFor(fixture);
      const request = createRequest(newPrivateKey(), 'bari-9');
      const join = async (changes: object = {}) =>
        await fixture.request(
          'POST',
          '/v1/join',
          joining(token, 'bari-9', { request, ...changes }),
        );
      const first = (await (await join()).json()) as Reply;
      const again = await join();
      expect(again.status).toBe(201);
      const { devices, workerIds } = (await again.json()) as Reply;
      expect({ devices, workerIds }).toEqual({
        devices: first.devices,
        workerIds: first.workerIds,
      });
      const other = createRequest(newPrivateKey(), 'bari-9');
      expect((await join({ request: other })).status).toBe(401);
      await fixture.ask('POST', '/v1/nodes/bari-9/expel', {});
      expect((await join()).status).toBe(401);
      await world.machine('authority').env.clock.sleep(1_000);
      expect((await fixture.view()).nodes.has('bari-9')).toBe(false);
    }),
  );

  it(
    'a member of whom no ports are known has those that it reports',
    withAuthority(async ({ ask, authority }) => {
      const token = await authority.members.createToken({
        ...{ site: 'bari', roles: ['proxy'], hours: 1, uses: 1 },
      });
      const request = createRequest(newPrivateKey(), 'bari-9');
      await authority.members.join({
        ...{ token, name: 'bari-9', zone: 'z1', wire: { host: '10.9.9.9', port: 7400 } },
        ...{ ports: {}, disks: [], request, replace: false },
      });
      await authority.reports.note({
        ...{ process: 'bari-9', site: 'bari', roles: ['proxy'], version: 'x', bundleVersion: 1 },
        ...{ rings: {}, devices: [], ports: { proxy: 8081 } },
      });
      const nodes = (await ask('GET', '/v1/nodes')) as unknown as { name: string; ports: object }[];
      expect(nodes.find(({ name }) => name === 'bari-9')?.ports).toEqual({ proxy: 8081 });
    }),
  );

  it(
    'a node gets numbers for further disks, the same when it asks twice, for itself only',
    withAuthority(async (fixture) => {
      const { request, authority } = fixture;
      const { clusterId } = await authority.store.knownCluster();
      const as = { certificate: certificate('bari-1', 'AA', clusterId) };
      const disks = (...names: string[]) => ({
        disks: names.map((name) => ({ name, bytes: 1e12 })),
      });
      const first = await request('POST', '/v1/disks', disks('d9'), as);
      expect(first.status).toBe(200);
      const { devices } = (await first.json()) as { devices: { id: number; name: string }[] };
      expect(devices.map(({ name }) => name)).toEqual(['d0', 'd1', 'd9']);
      expect(devices.at(-1)).toEqual({ id: 12, name: 'd9' });
      const again = await request('POST', '/v1/disks', disks('d9', 'd10'), as);
      const known = (await again.json()) as { devices: { id: number; name: string }[] };
      expect(known.devices.slice(-2)).toEqual([
        { id: 12, name: 'd9' },
        { id: 13, name: 'd10' },
      ]);
      const { plan } = await fixture.ask('POST', '/v1/rings/plan', {
        request: { addDevice: ['bari/bari-1/d10=100@10.0.0.1:7400'] },
      });
      await fixture.ask('POST', '/v1/rings/apply', { plan });
      expect((await fixture.view()).rings.get(0)!.device(13)).toMatchObject({ name: 'd10' });
      const status = async (body: unknown, shown: object) =>
        (await request('POST', '/v1/disks', body, shown)).status;
      expect(await status(disks(), as)).toBe(400);
      expect(await status(disks('../x'), as)).toBe(400);
      expect(await status(disks('d9'), { token: fixture.operator })).toBe(403);
      expect(await status(disks('d9'), {})).toBe(401);
      const stranger = { certificate: certificate('rome-1', 'AC', clusterId) };
      expect(await status(disks('d9'), stranger)).toBe(404);
    }),
  );

  it(
    'a request that is none, or whose key is not proven, is refused',
    withAuthority(async (fixture) => {
      const token = await tokenFor(fixture, { uses: 5 });
      const good = createRequest(newPrivateKey(), 'x');
      const other = createRequest(newPrivateKey(), 'x');
      const lines = good.trim().split('\n');
      const mixed = [...lines.slice(0, -4), ...other.trim().split('\n').slice(-4)].join('\n');
      for (const request of ['', 'hello', good.slice(0, 200), mixed])
        expect(
          (await fixture.request('POST', '/v1/join', joining(token, 'bari-9', { request }))).status,
        ).toBe(400);
    }),
  );

  it(
    'an expelled node is void at once: for the API and in the next bundle',
    withAuthority(async (fixture) => {
      const { clusterId } = await fixture.authority.store.knownCluster();
      const as = { certificate: certificate('bari-1', 'AA', clusterId) };
      expect((await fixture.request('GET', '/v1/bundle', undefined, as)).status).toBe(200);
      const told = { roles: ['proxy'], version: '0', bundleVersion: 1, rings: {}, devices: [] };
      for (const process of ['bari-1', 'bari-1/worker-1', 'bari-2'])
        await fixture.authority.reports.note({ process, site: 'bari', ...told });
      await fixture.ask('POST', '/v1/nodes/bari-1/expel', {});
      const { processes } = await fixture.ask('GET', '/v1/status');
      expect(processes).toMatchObject([{ process: 'bari-2' }]);
      expect((await fixture.request('GET', '/v1/bundle', undefined, as)).status).toBe(401);
      const view = await fixture.view();
      expect(view.settings!.revoked.nodes).toEqual(['bari-1']);
      expect(view.nodes.has('bari-1')).toBe(false);
      expect(await failure(fixture.ask('POST', '/v1/nodes/bari-1/expel', {}))).toBe('not-a-member');
    }),
  );

  it(
    'a member renews its certificate and nobody else’s',
    withAuthority(async (fixture) => {
      const { clusterId } = await fixture.authority.store.knownCluster();
      const as = { certificate: certificate('bari-1', 'AA', clusterId) };
      const body = { request: createRequest(newPrivateKey(), 'lngs-1') };
      const reply = await fixture.request('POST', '/v1/certificate', body, as);
      expect(reply.status).toBe(200);
      const { X509Certificate } = await import('node:crypto');
      const { subject } = new X509Certificate(((await reply.json()) as Reply).certificate);
      expect(subject.split('\n')).toContain('CN=bari-1');
      expect(
        (await fixture.request('POST', '/v1/certificate', body, { token: fixture.operator }))
          .status,
      ).toBe(403);
    }),
  );
});
