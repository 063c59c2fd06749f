/** A write that was told nobody and lost its only body does not hide what was acknowledged before it. */
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import {
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'] as const;
const SIZES = [30, 2_500_000] as const;

async function put(cluster: TestCluster, body: Buffer): Promise<void> {
  const write = cluster.proxy.putObject(cluster.operation(), objectName('x'), putRequest(body));
  await cluster.run(write);
  await cluster.world.runFor(2_000);
}

/** A newer version reaches these replicas, and its body is lost there. */
async function loseNewer(cluster: TestCluster, ...nodes: string[]): Promise<void> {
  const { key, path, state } = cluster.entryAt(nodes[0]!, 'x')!;
  const timestamp = cluster.node(nodes[0]!).clock.now();
  const data = { ...state.data!, timestamp, writeId: 'ab'.repeat(8) };
  const write = { key, path, state: { data, groups: {} }, unlisted: true, intent: 'join' } as const;
  for (const node of nodes) await cluster.run(cluster.device(node).write(write));
}

async function repairAll(cluster: TestCluster): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const node of NODES) {
      await cluster.runJob(node, 'repair.exchange');
      await cluster.runJob(node, 'object.compare');
      await cluster.world.runFor(3_000);
    }
  }
}

async function read(cluster: TestCluster, via: string): Promise<Buffer | undefined> {
  const { proxy } = cluster.node(via);
  const open = async (): Promise<Buffer | undefined> => {
    const reader = await proxy.openObject(cluster.operation(), objectName('x'));
    return reader && collect(reader.read(0, reader.length));
  };
  return cluster.run(open());
}

describe.each(SIZES)('a version of %d bytes that one replica knows and nobody has', (size) => {
  const older = patternBytes(size);

  it('takes no body away from the others', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, older);
    await loseNewer(cluster, 'bari');
    await repairAll(cluster);
    for (const node of ['lngs', 'padova']) expect(cluster.entryAt(node, 'x')?.hasBody).toBe(true);
  });

  it('is given up when it is read, and all have the acknowledged one again', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, older);
    await loseNewer(cluster, 'bari');
    await repairAll(cluster);
    for (const via of NODES) expect((await read(cluster, via))?.equals(older)).toBe(true);
    await repairAll(cluster);
    const versions = NODES.map((node) => cluster.entryAt(node, 'x')?.state.data?.timestamp);
    expect(new Set(versions).size).toBe(1);
    for (const node of NODES) expect(cluster.entryAt(node, 'x')?.hasBody).toBe(true);
  });

  it('is not taken by who waits for the bytes of the acknowledged one', async () => {
    const cluster = await TestCluster.startWithContainer();
    cluster.kill('padova');
    await put(cluster, older);
    await cluster.restart('padova');
    // States first, as rejoin does, and who lacks thousands of names.
    const { key, path, state } = cluster.entryAt('lngs', 'x')!;
    const write = { key, path, state, unlisted: false, intent: 'join' } as const;
    await cluster.run(cluster.device('padova').write(write));
    await loseNewer(cluster, 'bari');
    await repairAll(cluster);
    for (const via of NODES) expect((await read(cluster, via))?.equals(older)).toBe(true);
  });

  it('comes with its body where there is one after all', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, patternBytes(7));
    cluster.kill('padova');
    await put(cluster, older);
    await cluster.restart('padova');
    await repairAll(cluster);
    const versions = NODES.map((node) => cluster.entryAt(node, 'x')?.state.data?.timestamp);
    expect(new Set(versions).size).toBe(1);
    expect(cluster.entryAt('padova', 'x')?.hasBody).toBe(true);
  });
});

describe('in a container that is not strict', () => {
  it('the version that is whole is served, and said to be the best that was found', async () => {
    const cluster = await TestCluster.startWithContainer({ mode: 'available' });
    const older = patternBytes(30);
    await put(cluster, older);
    await loseNewer(cluster, 'bari');
    for (const via of NODES) {
      const { proxy } = cluster.node(via);
      const open = proxy.openObject(cluster.operation(), objectName('x'));
      const reader = await cluster.run(open);
      const bytes = reader && (await cluster.run(collect(reader.read(0, reader.length))));
      expect(bytes?.equals(older)).toBe(true);
    }
    const { proxy } = cluster.node('bari');
    const reader = await cluster.run(proxy.openObject(cluster.operation(), objectName('x')));
    expect(reader?.degraded).toBe(true);
  });
});

describe('a version that a majority may have acknowledged', () => {
  it('is not given up: its body is missed, and that is said', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, patternBytes(30));
    await loseNewer(cluster, 'bari', 'lngs');
    for (const via of NODES) {
      const code = await read(cluster, via).then(() => 'read', codeOf);
      expect(code).toBe('unavailable');
    }
  });
});
