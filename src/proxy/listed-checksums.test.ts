/** What a listing tells of checksums, also where a row came by repair or was written before rows told it. */
import { expect, it } from 'vitest';
import { encodeState } from '#base/entry-codec.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, containerPath } from '#base/names.ts';
import { rowStateOf } from '#rows/row-state.ts';
import { CONTAINER, objectName, putRequest, TestCluster } from './testing/test-cluster.ts';

type Checksums = Readonly<Record<string, string>>;

const WAIT_MS = 20_000;

it('is the same at a replica that was away when the object was written', async () => {
  const cluster = await TestCluster.start({ realRows: true, runJobs: true });
  await cluster.createContainer();
  cluster.kill('bari');
  const put = (name: string, checksums?: Checksums) => {
    const request = {
      ...putRequest(Buffer.from(name)),
      ...(checksums && { finish: () => ({ checksums }) }),
    };
    return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(name), request));
  };
  await put('by-swift');
  await put('whole', { crc32: 'AAAAAA==' });
  await put('of-parts', { sha256: 'AAAA-2' });
  await cluster.restart('bari');
  await cluster.run(cluster.node('lngs').env.clock.sleep(WAIT_MS));
  for (const [node, read] of [
    ['lngs', 'quorum'],
    ['bari', 'nearest'],
  ] as const) {
    const { proxy } = cluster.node(node);
    const page = await cluster.run(
      proxy.listObjects({ ...cluster.operation(), read }, CONTAINER, { limit: 10 }),
    );
    const told = page!.items.map((item) => 'checksums' in item && item.checksums);
    expect(told).toEqual([false, { sha256: '-' }, { crc32: '' }]);
  }
});

it('ends in one row, equal everywhere, where an older process sent the row without it', async () => {
  const cluster = await TestCluster.start({ realRows: true, runJobs: true });
  await cluster.createContainer();
  const request = {
    ...putRequest(Buffer.from('x')),
    finish: () => ({ checksums: { sha1: 'AA' } }),
  };
  await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName('a'), request));
  const { hashPrefix, hashSuffix } = cluster.view;
  const hash = hashPath(hashPrefix, containerPath(CONTAINER), hashSuffix);
  const { state } = cluster.entryAt('lngs', 'a')!;
  const { checksums: _, ...old } = rowStateOf(state).data!;
  const padova = cluster.node('padova');
  const key = { policy: CONTAINER_RING, hash };
  const row = { key, path: containerPath(CONTAINER), name: 'a', state: { data: old, groups: {} } };
  await cluster.run(padova.rows.write(row));
  await cluster.run(padova.env.clock.sleep(WAIT_MS));
  const states = ['lngs', 'bari', 'padova'].map((node) => {
    const { rows } = cluster.node(node);
    return encodeState(rows.read(CONTAINER_RING, hash, 'a')!);
  });
  expect(states[1]).toEqual(states[0]);
  expect(states[2]).toEqual(states[0]);
  const digests = ['lngs', 'bari', 'padova'].map((node) =>
    cluster.node(node).rows.facts(CONTAINER_RING, hash)!.digest.toString('hex'),
  );
  expect(new Set(digests).size).toBe(1);
});
