/** A large body that is missing on a replica comes, however often the connection breaks, and every byte once. */
import { describe, expect, it } from 'vitest';
import {
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from '#proxy/testing/test-cluster.ts';

const SIZE = 24_000_000;
/** Slow enough that the connection breaks in the middle, several times. */
const BYTES_PER_SECOND = 2_000_000;

describe('a large body', () => {
  it('goes on at the byte where its source broke off', async () => {
    const cluster = await TestCluster.startWithContainer({ blank: ['bari'] });
    const body = patternBytes(SIZE);
    cluster.kill('bari');
    const request = putRequest(body);
    await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName('x'), request));
    await cluster.restart('bari');
    const { puller, budget } = cluster.node('bari').service;
    budget.change({ bandwidth: [{ between: ['*', '*'], bytesPerSecond: BYTES_PER_SECOND }] });
    await cluster.world.runFor(1_000);
    await cluster.runJob('bari', 'object.rejoin');
    expect(cluster.entryAt('bari', 'x')?.hasBody).toBe(false);
    for (let cut = 0; cut < 4; cut++) {
      await cluster.world.runFor(2_000);
      cluster.world.network.dropConnections('bari');
    }
    await cluster.world.runFor(30_000);
    const entry = cluster.entryAt('bari', 'x')!;
    expect(entry.hasBody).toBe(true);
    expect(puller.facts()['resumed']).toBeGreaterThanOrEqual(2);
    // What was under way when a connection broke comes again, no more than that.
    const received = Object.values(budget.received()).reduce((sum, bytes) => sum + bytes, 0);
    expect(received).toBeLessThan(SIZE * 1.2);
    const reader = cluster.device('bari').read(entry, { start: 0, end: SIZE });
    expect((await cluster.run(collect(reader))).equals(body)).toBe(true);
  });
});
