/** What one replica said of a container, to who asks for no more, is nobody else's answer. */
import { expect, it } from 'vitest';
import { CONTAINER, collect, objectName, putRequest, TestCluster } from './testing/test-cluster.ts';

/** lngs missed that the container was made, and its own device is the first that it asks. */
async function behind(): Promise<TestCluster> {
  const cluster = await TestCluster.start({ realRows: true });
  const { proxy } = cluster.node('bari');
  cluster.kill('lngs');
  await cluster.run(proxy.createContainer(cluster.operation(), CONTAINER, { changes: {} }));
  await cluster.run(
    proxy.putObject(cluster.operation(), objectName('a'), putRequest(Buffer.from('x'))),
  );
  await cluster.restart('lngs');
  return cluster;
}

it('does not make a 404 of a read that joins in while it is asked', async () => {
  const cluster = await behind();
  const nearest = cluster.proxy.openObject(
    { ...cluster.operation(), read: 'nearest' },
    objectName('a'),
  );
  const reader = cluster.proxy.openObject(cluster.operation(), objectName('a'));
  const [one, other] = await cluster.run(Promise.all([nearest, reader]));
  expect(one).toBeUndefined();
  expect((await cluster.run(collect(other!.read(0, other!.length)))).toString()).toBe('x');
});

it('is remembered for such reads alone', async () => {
  const cluster = await TestCluster.start({ realRows: true });
  await cluster.createContainer();
  const info = (read: 'quorum' | 'nearest') =>
    cluster.run(cluster.proxy.containerInfo({ ...cluster.operation(), read }, CONTAINER, false));
  for (const node of ['bari', 'padova']) cluster.kill(node);
  expect(await info('nearest')).toMatchObject({ name: CONTAINER });
  await expect(info('quorum')).rejects.toMatchObject({ code: 'unavailable' });
});
