/** Streamed bodies in `local` containers: far sites are not waited for, and get them all the same. */
import { describe, expect, it } from 'vitest';
import { codeOf, OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { containerPath, objectPath } from '#base/names.ts';
import {
  CONTAINER,
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
  type TestClusterOptions,
} from './testing/test-cluster.ts';

const FAR_MS = 200;
const MIB = 1024 * 1024;
/** One primary at each site, and a stand-in at the proxy's. */
const BOX = containerPath(CONTAINER);
const SITES = ['lngs', 'bari', 'padova', 'lngs-2'];

async function started(options: TestClusterOptions = {}): Promise<TestCluster> {
  const cluster = await TestCluster.start({ sites: SITES, mode: 'local', ...options });
  await cluster.createContainer();
  await put(cluster, 'first', Buffer.from('the container is known'));
  const { network } = cluster.world;
  for (const near of [...cluster.nodes.keys()].filter((node) => node.startsWith('lngs'))) {
    for (const far of ['bari', 'padova']) {
      network.setLinkBothWays(near, far, { delayMs: FAR_MS, jitterMs: 0 });
    }
  }
  return cluster;
}

function put(cluster: TestCluster, object: string, body: Buffer, request = putRequest(body)) {
  return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(object), request));
}

function read(cluster: TestCluster, object: string, from: string): Promise<Buffer | undefined> {
  const work = async (): Promise<Buffer | undefined> => {
    const { proxy } = cluster.node(from);
    const reader = await proxy.openObject(cluster.operation(), objectName(object));
    return reader && collect(reader.read(0, reader.length));
  };
  return cluster.run(work());
}

function holders(cluster: TestCluster, object: string): string[] {
  const { hashPrefix, hashSuffix } = cluster.view;
  const hash = hashPath(hashPrefix, objectPath(objectName(object)), hashSuffix);
  return SITES.filter((node) => {
    if (!cluster.node(node).machine.isUp) return false;
    return cluster.device(node).stat({ policy: 0, hash })?.hasBody;
  });
}

/** Nodes of the proxy's site that stand in for an object's absent primaries, in their order. */
function standIns(cluster: TestCluster, object: string): string[] {
  const ring = cluster.view.rings.get(0)!;
  const partition = ring.partitionOf(cluster.keyOf(object).hash);
  return [...ring.handoffs(partition)]
    .filter(({ site }) => site === 'lngs')
    .map(({ node }) => node);
}

/** Files of bodies on a node's disk. */
async function blobs(cluster: TestCluster, node: string): Promise<string[]> {
  const { disk } = cluster.node(node).machine.env;
  const folders = await disk.list('/d1/blobs');
  const files = await Promise.all(folders.map((folder) => disk.list(`/d1/blobs/${folder}`)));
  return files.flat();
}

/** Virtual time that it takes. */
async function timed<Result>(cluster: TestCluster, work: Promise<Result>) {
  const startMs = cluster.world.nowMs;
  return { result: await work, tookMs: cluster.world.nowMs - startMs };
}

/** A body during which something happens. */
function bodyWith(body: Buffer, half: () => void) {
  const middle = body.length / 2;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield body.subarray(0, middle);
    half();
    yield body.subarray(middle);
  }
  return { ...putRequest(body), body: chunks() };
}

describe('a streamed body in a local container', () => {
  it('is acknowledged by two devices of the own site, and the far ones get it beside', async () => {
    const cluster = await started();
    const body = patternBytes(MIB);
    const { result, tookMs } = await timed(cluster, put(cluster, 'x', body));
    expect(result).toMatchObject({ kind: 'stored', ack: 'local' });
    expect(tookMs).toBeLessThan(FAR_MS);
    expect(holders(cluster, 'x')).toEqual(['lngs', 'lngs-2']);
    await cluster.world.runFor(20 * FAR_MS);
    expect(holders(cluster, 'x')).toEqual(SITES);
    expect((await read(cluster, 'x', 'padova'))?.equals(body)).toBe(true);
  });

  it('does not wait for far sites either when it is too long to be kept for them', async () => {
    const cluster = await started();
    const body = patternBytes(3 * MIB);
    const { result, tookMs } = await timed(cluster, put(cluster, 'x', body));
    expect(result).toMatchObject({ kind: 'stored', ack: 'local' });
    expect(tookMs).toBeLessThan(FAR_MS);
    await cluster.world.runFor(20 * FAR_MS);
    expect(holders(cluster, 'x')).toEqual(['lngs', 'lngs-2']);
  });

  it('comes to the far primaries by the handover of the stand-in, which then drops it', async () => {
    const cluster = await started({ runJobs: true });
    const body = patternBytes(3 * MIB);
    await put(cluster, 'x', body);
    for (let n = 0; n < 60 && !holders(cluster, 'x').includes('padova'); n++) {
      await cluster.world.runFor(5_000);
    }
    expect((await read(cluster, 'x', 'padova'))?.equals(body)).toBe(true);
    for (let n = 0; n < 60 && holders(cluster, 'x').includes('lngs-2'); n++) {
      await cluster.world.runFor(5_000);
    }
    expect(holders(cluster, 'x')).toEqual(['lngs', 'bari', 'padova']);
  });

  it('has its row on a majority soon after, though only two storage nodes could send it', async () => {
    const cluster = await started();
    // What storage nodes send of rows comes to their own site's replica alone.
    const listed = () => cluster.rows.holders('container', BOX, 'x');
    await put(cluster, 'x', patternBytes(3 * MIB));
    await cluster.world.runFor(20 * FAR_MS);
    expect(listed().length).toBeGreaterThanOrEqual(2);
  });

  it('survives each of the two devices', async () => {
    for (const node of ['lngs', 'lngs-2']) {
      const cluster = await started();
      const body = patternBytes(3 * MIB);
      await put(cluster, 'x', body);
      cluster.kill(node);
      const from = node === 'lngs' ? 'lngs-2' : 'lngs';
      expect((await read(cluster, 'x', from))?.equals(body)).toBe(true);
    }
  });

  it('goes on with the far sites when a device of the own one dies midway', async () => {
    const cluster = await started();
    const body = patternBytes(MIB);
    const request = bodyWith(body, () => cluster.kill('lngs-2'));
    const result = await put(cluster, 'x', body, request);
    expect(result).toMatchObject({ kind: 'stored' });
    expect(result.ack).not.toBe('local');
    expect(holders(cluster, 'x').length).toBeGreaterThanOrEqual(2);
  });

  it('is copied to another device of the site when one dies midway and nobody else has it', async () => {
    const cluster = await started({ sites: [...SITES, 'lngs-3'] });
    const body = patternBytes(3 * MIB);
    const [first, second] = standIns(cluster, 'x');
    const request = bodyWith(body, () => cluster.kill(first!));
    const { result, tookMs } = await timed(cluster, put(cluster, 'x', body, request));
    expect(result).toMatchObject({ kind: 'stored', ack: 'local' });
    expect(tookMs).toBeLessThan(FAR_MS);
    cluster.kill('lngs');
    expect((await read(cluster, 'x', second!))?.equals(body)).toBe(true);
  });

  it('is copied to a far primary where the site has no further device', async () => {
    const cluster = await started();
    const body = patternBytes(3 * MIB);
    const request = bodyWith(body, () => cluster.kill('lngs-2'));
    const result = await put(cluster, 'x', body, request);
    expect(result).toMatchObject({ kind: 'stored' });
    expect(result.ack).not.toBe('local');
    expect(holders(cluster, 'x').length).toBe(2);
    cluster.kill('lngs');
    const far = holders(cluster, 'x')[0]!;
    expect((await read(cluster, 'x', far))?.equals(body)).toBe(true);
  });

  it('is refused when the device that could be copied from dies too', async () => {
    const cluster = await started();
    const body = patternBytes(3 * MIB);
    const request = bodyWith(body, () => {
      cluster.kill('lngs-2');
      cluster.node('lngs').devices.clear();
    });
    const work = put(cluster, 'x', body, request);
    expect(await work.then(() => 'stored', codeOf)).toBe('unavailable');
  });

  it('leaves nothing where no copy could be made', async () => {
    const cluster = await started();
    const body = patternBytes(3 * MIB);
    const request = bodyWith(body, () => {
      for (const other of ['lngs-2', 'bari', 'padova']) cluster.kill(other);
    });
    const work = put(cluster, 'x', body, request);
    expect(await work.then(() => 'stored', codeOf)).toBe('unavailable');
    await cluster.world.runFor(1_000);
    expect(holders(cluster, 'x')).toEqual([]);
    expect(await cluster.run(blobs(cluster, 'lngs'))).toEqual([]);
  });

  it('goes everywhere at once where the own site has too few devices', async () => {
    const cluster = await started();
    cluster.kill('lngs-2');
    const body = patternBytes(3 * MIB);
    const { result, tookMs } = await timed(cluster, put(cluster, 'x', body));
    expect(result).toMatchObject({ kind: 'stored' });
    expect(result.ack).not.toBe('local');
    expect(tookMs).toBeGreaterThan(2 * FAR_MS);
    await cluster.world.runFor(20 * FAR_MS);
    expect(holders(cluster, 'x')).toEqual(['lngs', 'bari', 'padova']);
  });

  it('is stored while all other sites are away', async () => {
    const cluster = await started();
    cluster.kill('bari');
    cluster.kill('padova');
    const body = patternBytes(3 * MIB);
    expect(await put(cluster, 'x', body)).toMatchObject({ kind: 'stored', ack: 'local' });
    expect((await read(cluster, 'x', 'lngs'))?.equals(body)).toBe(true);
  });

  it('stays where it was acknowledged when the proxy dies before the far sites have it', async () => {
    const cluster = await started();
    const body = patternBytes(MIB);
    await put(cluster, 'x', body);
    cluster.kill('lngs');
    await cluster.world.runFor(20 * FAR_MS);
    expect(holders(cluster, 'x')).toContain('lngs-2');
    await cluster.restart('lngs');
    expect(holders(cluster, 'x')).toContain('lngs');
    expect((await read(cluster, 'x', 'lngs-2'))?.equals(body)).toBe(true);
  });

  it('leaves nothing when the client leaves midway', async () => {
    const cluster = await started();
    const body = patternBytes(MIB);
    const request = bodyWith(body, () => {
      throw new OperatingError('client-gone', 'it went away');
    });
    expect(await put(cluster, 'x', body, request).then(() => 'stored', codeOf)).toBe('client-gone');
    await cluster.world.runFor(20 * FAR_MS);
    expect(holders(cluster, 'x')).toEqual([]);
  });

  it('keeps for a far device that takes nothing no more than its share', async () => {
    const cluster = await started({ limits: { outstandingBytes: 2 * MIB } });
    await cluster.world.runFor(1_000); // all are connected
    for (const far of ['bari', 'padova']) cluster.node(far).machine.stall(3_000);
    for (let n = 0; n < 6; n++) {
      const result = await put(cluster, `x${n}`, patternBytes(MIB, n));
      expect(result).toMatchObject({ kind: 'stored', ack: 'local' });
    }
    await cluster.world.runFor(40_000);
    const arrived = [0, 1, 2, 3, 4, 5].filter((n) => holders(cluster, `x${n}`).includes('bari'));
    expect(arrived).toEqual([0, 1]);
  });
});
