import { describe, expect, it } from 'vitest';
import { HybridClock } from '#base/hybrid-clock.ts';
import { Endpoint } from './endpoint.ts';
import { SimCluster, TEST_CLUSTER } from './testing/sim-cluster.ts';

describe('a process whose clock bound can not be saved (simulator, seed 32)', () => {
  it('goes on taking calls of peers whose clocks are ahead, and does not adopt them', async () => {
    const cluster = new SimCluster(1);
    const ahead = await cluster.start('ahead');
    cluster.world.machine('ahead').jumpWallClock(60_000);
    cluster.announce('full');
    const { env } = cluster.world.machine('full');
    const clock = new HybridClock({
      workerId: 100,
      wallMicros: () => env.clock.wallMicros(),
      bound: env.clock.wallMicros() + 10_000_000,
      reserve: () => {
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      },
    });
    const self = { node: 'full', site: 'here' };
    const full = new Endpoint({ env, clock, cluster: TEST_CLUSTER, self, peers: cluster.peers });
    full.handle('echo', (args) => ({ result: args }));
    await cluster.world.run(full.listen({ host: '0.0.0.0', port: 7400 }));
    const answer = ahead.call('full', 'echo', 'hello', { txn: 'tx', deadlineMs: 1_000 });
    expect((await cluster.world.run(answer)).result).toBe('hello');
    expect(clock.peekMicros()).toBeLessThan(env.clock.wallMicros() + 20_000_000);
    expect(cluster.world.log.format()).toContain('wire.clock-unsaved');
  });
});
