/** A container that is deleted, and made again in another policy, while a proxy remembers what it was. */
import { beforeEach, describe, expect, it } from 'vitest';
import { objectPath } from '#base/names.ts';
import { makeTimestamp } from '#base/timestamp.ts';
import { IF_ABSENT } from './condition.ts';
import { CONTAINER, collect, objectName, putRequest, TestCluster } from './testing/test-cluster.ts';

const SITES = ['lngs', 'bari', 'padova', 'roma', 'lecce'];
const PRIMARIES = ['lngs', 'bari', 'padova'];
const NAME = objectName('a');

let cluster: TestCluster;

/** lngs knows the container in policy 0; bari has made it again in 1, and put `a` there. */
beforeEach(async () => {
  const other = { devices: [2, 3, 4] };
  cluster = await TestCluster.start({ realRows: true, sites: SITES, other });
  await cluster.createContainer();
  const { proxy } = cluster.node('bari');
  await cluster.run(cluster.proxy.containerInfo(cluster.operation(), CONTAINER, false));
  await cluster.run(proxy.deleteContainer(cluster.operation(), CONTAINER));
  const options = { policy: 1, changes: {} };
  await cluster.run(proxy.createContainer(cluster.operation(), CONTAINER, options));
  await cluster.run(proxy.putObject(cluster.operation(), NAME, putRequest(Buffer.from('x'))));
});

async function get(): Promise<string | undefined> {
  const reader = await cluster.run(cluster.proxy.openObject(cluster.operation(), NAME));
  return reader && (await cluster.run(collect(reader.read(0, reader.length)))).toString();
}

/** What is alive of the object in the policy that the container had. */
const leftBehind = (): string[] =>
  PRIMARIES.filter((node) => cluster.entryAt(node, 'a')?.state.data?.kind === 'live');

describe('a proxy that remembers the policy that a container had', () => {
  it('finds an object of the one that was made since', async () => {
    expect(await get()).toBe('x');
  });

  it('finds its metadata, and knows whether a condition holds', async () => {
    const { proxy } = cluster;
    expect(await cluster.run(proxy.statObject(cluster.operation(), NAME))).toBeDefined();
    const absent = { ...putRequest(Buffer.from('y')), condition: IF_ABSENT };
    expect(await cluster.run(proxy.putObject(cluster.operation(), NAME, absent))).toMatchObject({
      kind: 'precondition-failed',
    });
  });

  it('changes the metadata', async () => {
    const change = { user: { color: 'red' }, system: {}, deleteAt: null };
    const updated = cluster.proxy.updateObject(cluster.operation(), NAME, change);
    expect(await cluster.run(updated)).toBe('updated');
  });

  it('says that nothing is there where that is so', async () => {
    const { proxy } = cluster;
    const none = proxy.openObject(cluster.operation(), objectName('none'));
    expect(await cluster.run(none)).toBeUndefined();
  });

  it('leaves nothing where it wrote at first', async () => {
    const { proxy } = cluster;
    await cluster.run(proxy.putObject(cluster.operation(), NAME, putRequest(Buffer.from('y'))));
    expect(await get()).toBe('y');
    expect(leftBehind()).toEqual([]);
    for (const node of PRIMARIES) await cluster.runJob(node, 'object.updater');
    const { items } = (await cluster.run(
      proxy.listObjects(cluster.operation(), CONTAINER, { limit: 10 }),
    ))!;
    expect(items).toMatchObject([{ name: 'a', bytes: 1 }]);
  });

  it('leaves nothing of a conditional write there', async () => {
    const { proxy } = cluster;
    await cluster.run(cluster.node('bari').proxy.deleteObject(cluster.operation(), NAME));
    const absent = { ...putRequest(Buffer.from('y')), condition: IF_ABSENT };
    const put = proxy.putObject(cluster.operation(), NAME, absent);
    expect(await cluster.run(put)).toMatchObject({ kind: 'stored' });
    expect(await get()).toBe('y');
    expect(leftBehind()).toEqual([]);
  });

  it('leaves nothing there of an upload either, which has to be sent again', async () => {
    const large = putRequest(Buffer.alloc(2 * 1024 * 1024, 'y'));
    const put = cluster.proxy.putObject(cluster.operation(), NAME, large);
    await expect(cluster.run(put)).rejects.toMatchObject({ code: 'container-mismatch' });
    expect(leftBehind()).toEqual([]);
    expect(await get()).toBe('x');
    const { proxy } = cluster;
    const { items } = (await cluster.run(
      proxy.listObjects(cluster.operation(), CONTAINER, { limit: 10 }),
    ))!;
    expect(items).toMatchObject([{ name: 'a', bytes: 1 }]);
  });

  it('leaves nothing there for good either where it died before it could end that', async () => {
    const { proxy } = cluster;
    const body = Buffer.from('z');
    const path = objectPath(NAME);
    const clientMicros = 1;
    const facts = { etag: 'e', size: 1, contentType: '', body: { length: 1 } };
    for (const node of PRIMARIES) {
      const writeId = '00000000000000aa';
      const timestamp = makeTimestamp(1_000_000, 9);
      const data = { timestamp, kind: 'live', writeId, clientMicros, ...facts } as const;
      const state = { data, groups: {} };
      const write = { key: cluster.keyOf('a'), path, state, body, intent: 'join' } as const;
      await cluster.run(cluster.device(node).write({ ...write, unlisted: true }));
    }
    expect(leftBehind()).toEqual(PRIMARIES);
    await cluster.world.runFor(15_000);
    for (const node of PRIMARIES) await cluster.runJob(node, 'object.updater');
    expect(leftBehind()).toEqual([]);
    for (const node of PRIMARIES) expect(cluster.entryAt(node, 'a')).toBeUndefined();
    expect(await get()).toBe('x');
    await cluster.run(proxy.deleteObject(cluster.operation(), NAME));
    expect(await get()).toBeUndefined();
  });
});
