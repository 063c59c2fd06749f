/** What is told of one name's copies is what each replica has, by itself. */

import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { Copies, type CopiesReport } from './copies.ts';
import { objectName, putRequest, TestCluster } from './testing/test-cluster.ts';

const SITES = ['lngs', 'bari', 'padova', 'padova-2'];
const PATH = '/AUTH_test/box/o';
const BODY = Buffer.from('the bytes of this object, to be found on the disk '.repeat(100));

async function started(): Promise<TestCluster> {
  const cluster = await TestCluster.start({ sites: SITES, realRows: true });
  await cluster.createContainer();
  return cluster;
}

function put(cluster: TestCluster, body = BODY) {
  return cluster.run(
    cluster.proxy.putObject(cluster.operation(), objectName('o'), putRequest(body)),
  );
}

function find(cluster: TestCluster, path = PATH, verify = true): Promise<CopiesReport> {
  const { env, endpoint } = cluster.node('lngs');
  const source = stillSource(() => cluster.view);
  const copies = new Copies({ env, wire: endpoint, cluster: source });
  return cluster.run(copies.find(path, { verify, handoffs: 5 }));
}

function states({ rings }: CopiesReport): string[] {
  return rings.flatMap(({ copies }) => copies.map(({ node, state }) => `${node} ${state}`));
}

describe('copies of a name', () => {
  it('are good where their bytes are read and right, unread where nobody reads them', async () => {
    const cluster = await started();
    await put(cluster);
    await cluster.world.runFor(2_000);
    const report = await find(cluster);
    expect(report).toMatchObject({ what: 'object', state: 'live' });
    expect(report.rings).toMatchObject([{ ring: 'object/standard', wanted: 3, good: 3 }]);
    expect(states(report)).toEqual(['lngs good', 'bari good', 'padova good']);
    expect(states(await find(cluster, PATH, false))[0]).toBe('lngs unread');
  });

  it('are damaged, old, on a stand-in or silent, each told of its own replica', async () => {
    const cluster = await started();
    cluster.kill('padova');
    await put(cluster);
    await cluster.world.runFor(1_000);
    await cluster.restart('padova');
    await cluster.world.runFor(20_000);
    const { machine, env } = cluster.node('bari');
    const log = await cluster.run(env.disk.read('/d1/log/00000001.seg'));
    machine.disk.flipByte('/d1/log/00000001.seg', log.indexOf(BODY.subarray(100, 200)));
    const report = await find(cluster);
    expect(states(report)).toContain('bari damaged');
    expect(states(report)).toContain('padova none');
    expect(report.rings[0]!.good).toBeLessThan(3);
    cluster.kill('padova');
    expect(states(await find(cluster))).toContain('padova silent');
  });

  it('of a deleted or unknown name are told as that', async () => {
    const cluster = await started();
    expect(await find(cluster)).toMatchObject({ state: 'unknown', rings: [{ good: 0 }] });
    await put(cluster);
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('o')));
    expect(await find(cluster)).toMatchObject({ state: 'deleted' });
  });

  it('of containers and accounts come with what each replica counts', async () => {
    const cluster = await started();
    await put(cluster);
    await cluster.world.runFor(5_000);
    const container = await find(cluster, '/AUTH_test/box');
    expect(container).toMatchObject({ what: 'container', policy: 'standard', mode: 'strict' });
    expect(container.rings[0]).toMatchObject({ ring: 'container', wanted: 3 });
    expect(container.rings[0]!.copies.some(({ rows }) => rows === 1)).toBe(true);
    const account = await find(cluster, '/AUTH_test');
    expect(account).toMatchObject({ what: 'account', rings: [{ ring: 'account' }] });
  });

  it('of what is no name are refused', async () => {
    const cluster = await started();
    for (const path of ['', '/', 'AUTH_test', '//box', '/AUTH_test//o'])
      expect(await find(cluster, path).catch(codeOf)).toBe('bad-name');
  });
});
