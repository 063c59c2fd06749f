/** What HAProxy is told after the authority was restored from a backup: every proxy, whenever it joined. */
import { expect, it } from 'vitest';
import { collectBackup } from '#authority/backup.ts';
import { decodeBackup, encodeBackup } from '#authority/backup-format.ts';
import { restoreBackup } from '#authority/restore.ts';
import {
  type AuthorityFixture,
  openAuthority,
  plainSealer,
  serve,
  startFixture,
} from '#authority/testing/fixture.ts';
import { SimWorld } from '#env/sim/world.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import { haproxyContext } from './contexts.ts';
import type { Member } from './facts.ts';
import { render } from './render.ts';

type Api = Pick<AuthorityFixture, 'ask' | 'request'>;

async function rendered({ ask }: Api): Promise<string> {
  const { version } = await ask('GET', '/v1/status');
  const document = (await ask('GET', '/v1/document')) as never;
  const members = (await ask('GET', '/v1/nodes')) as unknown as Member[];
  return render('haproxy.cfg', haproxyContext({ version, document, members }, 'bari', {}));
}

/** As a node's process does within seconds after its start, or after the authority is back. */
async function report({ request }: Api, clusterId: string, process: string): Promise<void> {
  const certificate = {
    commonName: process,
    organization: clusterId,
    locality: 'bari',
    units: ['storage', 'proxy'],
    serial: process,
  };
  const told = {
    ...{ process, site: 'bari', roles: ['storage', 'proxy'], version: '1.0' },
    ...{ bundleVersion: 1, rings: {}, devices: [], ports: { proxy: 8080 } },
  };
  const { status } = await request('POST', '/v1/reports', told, { certificate });
  expect(status).toBe(204);
}

async function restoredAfterJoining(world: SimWorld): Promise<void> {
  const before = await startFixture(world);
  const { authority } = before;
  const { clusterId } = await authority.store.knownCluster();
  const backup = await collectBackup(authority.state, world.machine('authority').env.clock);
  const known = (await authority.store.snapshot()).nodes.get('bari-2')!;
  const late = { ...known, name: 'bari-3', wire: { host: '10.0.9.9', port: 7400 }, devices: [] };
  await authority.store.change({ what: 'a node joins', who: 'test' }, () => {
    return { nodes: [{ ...late, serial: '77', workerIds: [900] }], result: undefined };
  });
  const last = await before.view();
  expect(last.nodes.has('bari-3')).toBe(true);

  const machine = world.machine('restored');
  const { env } = machine;
  await env.disk.mkdir('/data');
  const state = openSqliteState(env, '/data/state.db');
  const into = { env, state, sealer: plainSealer, last, without: [], replace: false };
  const told = await restoreBackup({ ...into, backup: decodeBackup(encodeBackup(backup)) });
  expect(told.joinedSince).toEqual(['bari-3']);
  const after = serve(await openAuthority(machine), env, before.operator);

  expect(await rendered(after)).toMatch(/# Left out, .*: bari-3\n/);
  const nodes = [...last.nodes.keys()];
  for (const node of nodes) await report(after, clusterId, node);
  const text = await rendered(after);
  expect(text).toContain('    server bari-2 10.0.0.2:8080\n');
  expect(text).toContain('    server bari-3 10.0.9.9:8080\n');
  expect(text).toContain('    server lngs-1 10.0.0.1:8080 backup\n');
  expect(text.match(/^ {4}server /gm)).toHaveLength(nodes.length);
  expect(text).not.toContain('Left out');
}

it('after a restore HAProxy has the proxies that joined before the backup and since', async () => {
  const world = new SimWorld({ seed: 1 });
  await world.run(restoredAfterJoining(world));
});
