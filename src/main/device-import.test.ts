/** Import of a removed device: what nobody has is written anew, what is newer or deleted stays as it is. */

import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hashPath } from '#base/hash.ts';
import { objectPath } from '#base/names.ts';
import { IdleRows } from '#device/idle-rows.ts';
import { formatDevice, openDevice } from '#device/open.ts';
import { objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { DeviceImport } from './device-import.ts';
import type { Foundation } from './foundation.ts';
import { Incarnations } from './incarnations.ts';

const REMOVED = 9;
const FOLDER = '/removed';
const DATA = '/data';

async function formatRemoved(
  cluster: TestCluster,
  names: readonly string[],
  deviceId = REMOVED,
): Promise<string> {
  const { env, clock } = cluster.node('lngs');
  const { clusterId, hashPrefix, hashSuffix } = cluster.view;
  const made = { clusterId, deviceId, name: 'd9', genesis: false };
  const { incarnation } = await formatDevice(env, FOLDER, made);
  const openRows = (): IdleRows => new IdleRows();
  const device = await openDevice(env, FOLDER, { clusterId, deviceId, clock, openRows });
  for (const name of names) {
    const path = name.startsWith('/') ? name : objectPath(objectName(name));
    const body = Buffer.from(`old ${name}`);
    const timestamp = clock.now();
    const data = {
      timestamp,
      kind: 'live' as const,
      writeId: '0011223344556677',
      clientMicros: 1_700_000_000_000_000,
      etag: createHash('md5').update(body).digest('hex'),
      size: body.length,
      contentType: 'text/plain',
      body: { length: body.length },
    };
    const groups = { user: { timestamp, values: { 'x-object-meta-colour': 'red' } } };
    const key = { policy: 0, hash: hashPath(hashPrefix, path, hashSuffix) };
    const state = { data, groups };
    await device.write({ key, path, state, body, unlisted: false, intent: 'join' });
  }
  await device.close();
  return incarnation;
}

function importOf(cluster: TestCluster): DeviceImport {
  const { env, clock, endpoint: wire, name, site } = cluster.node('lngs');
  const source = stillSource(() => cluster.view);
  const config = { clusterId: cluster.view.clusterId, site, data: DATA };
  // What it uses of a foundation.
  const foundation = { env, clock, wire, name, cluster: source, config } as never as Foundation;
  return new DeviceImport(foundation, () => cluster.proxy);
}

async function finished(cluster: TestCluster, imports: DeviceImport): Promise<void> {
  for (let i = 0; i < 100 && imports.status().state === 'running'; i++)
    await cluster.world.runFor(1_000);
}

async function textOf(cluster: TestCluster, name: string): Promise<string | undefined> {
  const reader = await cluster.run(cluster.proxy.openObject(cluster.operation(), objectName(name)));
  return reader?.inline?.toString();
}

describe('anello device import', () => {
  it('takes what is nowhere else, and only that', async () => {
    const cluster = await TestCluster.start();
    await cluster.createContainer();
    const { proxy } = cluster;
    await cluster.run(
      formatRemoved(cluster, ['lost', 'overwritten', 'deleted', '/AUTH_test/nobox/x']),
    );
    const newer = putRequest(Buffer.from('new'));
    await cluster.run(proxy.putObject(cluster.operation(), objectName('overwritten'), newer));
    await cluster.run(proxy.deleteObject(cluster.operation(), objectName('deleted')));
    const imports = importOf(cluster);
    const runs = [
      { dryRun: true, taken: 1, known: 1, text: undefined },
      { dryRun: false, taken: 1, known: 1, text: 'old lost' },
      { dryRun: false, taken: 0, known: 2, text: 'old lost' },
    ];
    for (const { dryRun, taken, known, text } of runs) {
      await cluster.run(imports.start({ path: FOLDER, dryRun }));
      await finished(cluster, imports);
      const counts = { taken, known, deleted: 1, 'no-container': 1, 'no-body': 0, failed: 0 };
      const problems = [{ name: '/AUTH_test/nobox/x' }];
      expect(imports.status()).toMatchObject({ state: 'done', counts, problems });
      expect(await textOf(cluster, 'lost')).toBe(text);
    }
    expect(await textOf(cluster, 'overwritten')).toBe('new');
    expect(await textOf(cluster, 'deleted')).toBeUndefined();
    const state = await cluster.run(proxy.statObject(cluster.operation(), objectName('lost')));
    expect(state?.data).toMatchObject({
      contentType: 'text/plain',
      clientMicros: 1_700_000_000_000_000,
    });
    expect(state?.groups['user']?.values).toEqual({ 'x-object-meta-colour': 'red' });
  });

  it('takes what a disk has whose place another has taken while it was away', async () => {
    const cluster = await TestCluster.start();
    await cluster.createContainer();
    const { env, device } = cluster.node('lngs');
    const former = await cluster.run(formatRemoved(cluster, ['lost'], device));
    const imports = importOf(cluster);
    const refused = cluster.run(imports.start({ path: FOLDER }));
    await expect(refused).rejects.toThrow('in service');
    await cluster.run(env.disk.mkdir(DATA));
    const register = new Incarnations({ env, config: { data: DATA } }, device);
    for (const incarnation of [former, 'another']) await cluster.run(register.note(incarnation));
    await cluster.run(imports.start({ path: FOLDER }));
    await finished(cluster, imports);
    expect(imports.status()).toMatchObject({ state: 'done', counts: { taken: 1 } });
    expect(await textOf(cluster, 'lost')).toBe('old lost');
  });

  it('refuses a device that is in service, and a folder that is none', async () => {
    const cluster = await TestCluster.start();
    const imports = importOf(cluster);
    await expect(cluster.run(imports.start({ path: '/d1' }))).rejects.toMatchObject({
      code: 'import-refused',
    });
    await expect(cluster.run(imports.start({ path: '/nothing' }))).rejects.toMatchObject({
      code: 'device-blank',
    });
    expect(imports.status()).toMatchObject({ state: 'failed' });
  });
});
