/** Devices that fill up, fail or hang: clients go on, and are told when no majority is left. */
import { describe, expect, it } from 'vitest';
import { rejectedCode } from '#base/testing/thrown.ts';
import {
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'];
/** Longer than any wait of a read; a hedged one does not see it. */
const HANGS_MS = 30_000;

function put(cluster: TestCluster, object: string, body: Buffer) {
  const { proxy } = cluster;
  return cluster.run(proxy.putObject(cluster.operation(), objectName(object), putRequest(body)));
}

function get(cluster: TestCluster, object: string, from = 'lngs'): Promise<Buffer | undefined> {
  const work = async (): Promise<Buffer | undefined> => {
    const { proxy } = cluster.node(from);
    const reader = await proxy.openObject(cluster.operation(), objectName(object));
    return reader && collect(reader.read(0, reader.length));
  };
  return cluster.run(work());
}

function setRoom(cluster: TestCluster, node: string, bytes: number): void {
  const { disk } = cluster.node(node).machine;
  disk.settings = { ...disk.settings, capacityBytes: disk.usedBytes + bytes };
}

/** The device notices by itself, at the latest when something is written. */
async function untilStatus(cluster: TestCluster, node: string, wanted: string): Promise<void> {
  for (let n = 0; n < 200 && cluster.device(node).status !== wanted; n++) {
    await put(cluster, 'filler', patternBytes(20_000, n)).catch(() => undefined);
    await cluster.world.runFor(300);
  }
  expect(cluster.device(node).status).toBe(wanted);
}

describe('devices that fill up', () => {
  // What was refused is undecided, and may show: one device has it.
  it('one: the others take the writes; two: writes are refused, reads and deletions go on', async () => {
    const cluster = await TestCluster.startWithContainer();
    const body = patternBytes(5_000);
    await put(cluster, 'kept', body);
    setRoom(cluster, 'bari', 50_000);
    await untilStatus(cluster, 'bari', 'full');
    expect((await put(cluster, 'on two', body)).kind).toBe('stored');
    setRoom(cluster, 'padova', 50_000);
    await untilStatus(cluster, 'padova', 'full');
    expect(await rejectedCode(put(cluster, 'refused', body))).toBe('unavailable');
    for (const node of NODES) {
      expect((await get(cluster, 'kept', node))?.equals(body), node).toBe(true);
      expect((await get(cluster, 'on two', node))?.equals(body), node).toBe(true);
    }
    const removed = cluster.proxy.deleteObject(cluster.operation(), objectName('kept'));
    expect(await cluster.run(removed)).toBe('deleted');
    for (const node of ['bari', 'padova']) {
      setRoom(cluster, node, 2 ** 30);
      await untilStatus(cluster, node, 'ok');
    }
    expect((await put(cluster, 'refused', body)).kind).toBe('stored');
  });
});

describe('a device that returns I/O errors', () => {
  it.each([5_000, 2_500_000])('on reads: another replica answers (%i bytes)', async (size) => {
    const cluster = await TestCluster.startWithContainer();
    const body = patternBytes(size);
    await put(cluster, 'x', body);
    await cluster.world.runFor(2_000);
    const { disk } = cluster.node('lngs').machine;
    disk.faults.add({ operations: ['read'], path: '/d1', action: { kind: 'error', code: 'EIO' } });
    for (let n = 0; n < 5; n++) expect((await get(cluster, 'x'))?.equals(body)).toBe(true);
  });

  it('on a sync: it goes out of service, and nothing is acknowledged by it', async () => {
    const cluster = await TestCluster.startWithContainer();
    const body = patternBytes(5_000);
    const { disk } = cluster.node('lngs').machine;
    disk.faults.add({ operations: ['sync'], path: '/d1', action: { kind: 'error', code: 'EIO' } });
    expect((await put(cluster, 'x', body)).kind).toBe('stored');
    await cluster.world.runFor(2_000);
    expect(cluster.device('lngs').status).not.toBe('ok');
    for (const node of NODES) expect((await get(cluster, 'x', node))?.equals(body)).toBe(true);
    cluster.kill('bari');
    expect(await rejectedCode(put(cluster, 'y', body))).toBe('unavailable');
  });
});

describe('a replica that hangs', () => {
  it.each([
    [500, 'padova', 'padova-2'],
    [2_500_000, 'padova', 'padova-2'],
    [500, 'bari', 'lngs'],
    [2_500_000, 'bari', 'lngs'],
  ])('does not hold up a read of %i bytes (%s hangs, %s reads)', async (size, hanging, reader) => {
    const cluster = await TestCluster.startWithContainer({ sites: [...NODES, 'padova-2'] });
    const body = patternBytes(size);
    await put(cluster, 'x', body);
    await cluster.world.runFor(2_000);
    expect((await get(cluster, 'x', reader))?.equals(body)).toBe(true);
    cluster.node(hanging).machine.stall(HANGS_MS);
    const before = cluster.world.nowMs;
    expect((await get(cluster, 'x', reader))?.equals(body)).toBe(true);
    expect(cluster.world.nowMs - before).toBeLessThan(3_000);
  });
});
