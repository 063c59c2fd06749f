import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

async function readAll(cluster: TestCluster, object: string): Promise<Buffer | undefined> {
  const work = async (): Promise<Buffer | undefined> => {
    const reader = await cluster.proxy.openObject(cluster.operation(), objectName(object));
    return reader && collect(reader.read(0, reader.length));
  };
  return cluster.run(work());
}

describe('the proxy', () => {
  it('stores a small object on three devices and gives it back', async () => {
    const cluster = await TestCluster.start();
    await cluster.createContainer();
    const body = Buffer.from('hello, world');
    const result = await cluster.run(
      cluster.proxy.putObject(cluster.operation(), objectName('a/b'), putRequest(body)),
    );
    expect(result).toMatchObject({ kind: 'stored', etag: md5(body), size: body.length });
    expect(result.ack).toBeUndefined();
    expect(await readAll(cluster, 'a/b')).toEqual(body);
    expect(
      cluster.rows.holders('container', '/AUTH_test/box', 'a/b').length,
    ).toBeGreaterThanOrEqual(2);
  });

  it('stores a large object by staging it', async () => {
    const cluster = await TestCluster.start();
    await cluster.createContainer();
    const body = patternBytes(3 * 1024 * 1024 + 17);
    const chunks = [body.subarray(0, 1_000_000), body.subarray(1_000_000)];
    const result = await cluster.run(
      cluster.proxy.putObject(cluster.operation(), objectName('big'), putRequest(chunks)),
    );
    expect(result).toMatchObject({ kind: 'stored', etag: md5(body), size: body.length });
    expect((await readAll(cluster, 'big'))?.equals(body)).toBe(true);
  });
});
