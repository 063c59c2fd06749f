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

  it('leaves its turn to others while all of its lines are closed', async () => {
    const cluster = await TestCluster.startWithContainer({ blank: ['bari'] });
    const put = (name: string, body: Buffer) =>
      cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(name), putRequest(body)));
    cluster.kill('bari');
    await put('x', patternBytes(6_000_000));
    await put('small', Buffer.alloc(4_000, 7));
    await cluster.restart('bari');
    await cluster.world.runFor(1_000);
    const { env, service } = cluster.node('bari');
    const minute = Math.floor(env.clock.wallMicros() / 60_000_000) % 1_440;
    const hours = `${timeOf(minute - 1)}-${timeOf(minute + 1)}`;
    const lngs = { between: ['lngs', 'bari'] as [string, string], bytesPerSecond: 50_000, hours };
    service.budget.change({ concurrency: 1, bandwidth: [lngs] });
    cluster.kill('padova');
    await cluster.runJob('bari', 'object.rejoin'); // not complete: padova is away
    const [key, small] = [cluster.keyOf('x'), cluster.keyOf('small')];
    expect(cluster.entryAt('bari', 'x')?.hasBody).toBe(false);
    service.puller.enqueue({ device: cluster.node('bari').device, ...key });
    await cluster.world.runFor(90_000);
    await cluster.restart('padova');
    await cluster.world.runFor(5_000);
    service.puller.enqueue({ device: cluster.node('bari').device, ...small });
    await cluster.world.runFor(60_000);
    expect(cluster.entryAt('bari', 'small')?.hasBody).toBe(true);
    // What had come of the large one was kept.
    expect(cluster.entryAt('bari', 'x')?.hasBody).toBe(false);
    service.budget.change({ bandwidth: [] });
    await cluster.world.runFor(60_000);
    expect(cluster.entryAt('bari', 'x')?.hasBody).toBe(true);
    const received = Object.values(service.budget.received()).reduce((sum, one) => sum + one, 0);
    expect(received).toBeLessThan(7_000_000);
  });
});

function timeOf(minute: number): string {
  const time = (minute + 1_440) % 1_440;
  const digits = (value: number): string => String(value).padStart(2, '0');
  return `${digits(Math.floor(time / 60))}:${digits(time % 60)}`;
}
