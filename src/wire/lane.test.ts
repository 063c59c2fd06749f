import { describe, expect, it } from 'vitest';
import { type CallOptions, WireError } from './contract.ts';
import type { Endpoint } from './endpoint.ts';
import { bodyOf, readAll, SimCluster, TEST_CLUSTER } from './testing/sim-cluster.ts';

const CALL: CallOptions = { txn: 'tx1', deadlineMs: 2000 };

function answer(endpoint: Endpoint, name: string): void {
  endpoint.handle('who', () => ({ result: name }));
  endpoint.handle('count', async (_args, { body }) => ({ result: (await readAll(body)).length }));
}

async function failure(promise: Promise<unknown>): Promise<WireError> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(WireError);
  return error as WireError;
}

function lanesOf(endpoint: Endpoint): string[] {
  const open = endpoint.status().connections.filter(({ state }) => state === 'open');
  return open.map(({ peer, lane, dialledBy }) => `${peer}/${lane} by ${dialledBy}`).sort();
}

describe('the connections of two processes', () => {
  it('are one within a site, for everything', async () => {
    const cluster = new SimCluster();
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    answer(b, 'b');
    await cluster.world.run(a.call('b', 'count', null, { ...CALL, body: bodyOf(10) }));
    await cluster.world.run(a.call('b', 'who', null, CALL));
    expect(lanesOf(a)).toEqual(['b/0 by a']);
    expect(lanesOf(b)).toEqual(['a/0 by a']);
  });

  it('carry calls both ways, whoever dialled', async () => {
    const cluster = new SimCluster();
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    answer(a, 'a');
    answer(b, 'b');
    await cluster.world.run(a.call('b', 'who', null, CALL));
    const { result } = await cluster.world.run(b.call('a', 'who', null, CALL));
    expect(result).toBe('a');
    expect(lanesOf(b)).toEqual(['a/0 by a']);
  });

  it('are two between sites, and as many for bulk as configured', async () => {
    const cluster = new SimCluster();
    const a = await cluster.start('a', 'lngs', { limits: { bulkLanes: 2 } });
    const b = await cluster.start('b', 'bari');
    answer(b, 'b');
    const bulk = () => a.call('b', 'count', null, { ...CALL, body: bodyOf(10) });
    await cluster.world.run(Promise.all([a.call('b', 'who', null, CALL), bulk(), bulk()]));
    expect(lanesOf(a)).toEqual(['b/0 by a', 'b/1 by a', 'b/2 by a']);
    await cluster.world.run(a.call('b', 'who', null, { ...CALL, lane: 'bulk' }));
    expect(lanesOf(b)).toHaveLength(3);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'come to one when both dial at once, and no call is lost (seed %i)',
    async (seed) => {
      const cluster = new SimCluster(seed);
      const { world } = cluster;
      const a = await cluster.start('a');
      const b = await cluster.start('b');
      answer(a, 'a');
      answer(b, 'b');
      const { clock, random } = world.machine('a').env;
      const calls: Promise<unknown>[] = [];
      for (let i = 0; i < 40; i++) {
        calls.push(clock.sleep(random.float() * 4).then(() => a.call('b', 'who', null, CALL)));
        calls.push(clock.sleep(random.float() * 4).then(() => b.call('a', 'who', null, CALL)));
        calls.push(
          clock
            .sleep(random.float())
            .then(() => b.call('a', 'count', null, { ...CALL, body: bodyOf(300_000) })),
        );
      }
      const results = await world.run(Promise.all(calls));
      expect(results).toHaveLength(120);
      await world.runFor(3000);
      expect(a.status().connections).toHaveLength(1);
      expect(lanesOf(a)).toEqual(['b/0 by a']);
      expect(lanesOf(b)).toEqual(['a/0 by a']);
    },
  );

  it('are made anew after a peer has restarted', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    answer(await cluster.start('b'), 'b');
    await world.run(a.call('b', 'who', null, CALL));
    answer(await cluster.start('b'), 'b again');
    await world.runFor(100);
    const { result } = await world.run(a.call('b', 'who', null, CALL));
    expect(result).toBe('b again');
  });

  it('give way to a restarted peer that dials, when its old end fell silent', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    answer(a, 'a');
    const old = await cluster.start('b');
    old.handle('hang', () => new Promise(() => undefined));
    const hanging = failure(a.call('b', 'hang', null, { ...CALL, deadlineMs: 60_000 }));
    await world.runFor(100);
    world.machine('b').crash();
    const b = await cluster.start('b');
    answer(b, 'b again');
    await world.run(b.call('a', 'who', null, CALL));
    expect(await world.run(hanging)).toMatchObject({
      code: 'connection-lost',
      facts: { reason: 'replaced' },
    });
    expect((await world.run(a.call('b', 'who', null, CALL))).result).toBe('b again');
  });
});

describe('a peer that is down', () => {
  it('fails its calls as soon as it refuses, and while it is known to be down', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    cluster.announce('b');
    const start = world.nowMs;
    const first = await world.run(failure(a.call('b', 'who', null, CALL)));
    expect(first).toMatchObject({ code: 'unreachable', facts: { reason: 'ECONNREFUSED' } });
    expect(world.nowMs - start).toBeLessThan(5);
    const events = world.eventCount;
    await failure(a.call('b', 'who', null, CALL));
    expect(world.eventCount).toBe(events);
    expect(a.status().lanes).toMatchObject([
      { node: 'b', state: 'down', lastError: 'ECONNREFUSED' },
    ]);
  });

  it('fails its calls within the connect timeout when it says nothing', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a', 'here', { limits: { connectTimeoutMs: 500 } });
    cluster.announce('b');
    world.machine('b').crash();
    const start = world.nowMs;
    const error = await world.run(failure(a.call('b', 'who', null, { ...CALL, deadlineMs: 9000 })));
    expect(error.code).toBe('unreachable');
    expect(world.nowMs - start).toBeCloseTo(500, -1);
  });

  it('ends a waiting call at its own deadline or signal', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    cluster.announce('b');
    world.machine('b').crash();
    const controller = new AbortController();
    const late = failure(a.call('b', 'who', null, { ...CALL, deadlineMs: 50 }));
    const left = failure(a.call('b', 'who', null, { ...CALL, signal: controller.signal }));
    controller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    expect(await world.run(late)).toMatchObject({ code: 'timeout', facts: { sent: false } });
  });

  it('is found again within a second or two of its return', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    cluster.announce('b');
    for (let i = 0; i < 30; i++) {
      await world.run(failure(a.call('b', 'who', null, CALL)));
      await world.runFor(1000);
    }
    answer(await cluster.start('b'), 'b');
    await world.runFor(1600);
    expect((await world.run(a.call('b', 'who', null, CALL))).result).toBe('b');
  });

  it.each([0, 300, 600, 900, 1200, 1500, 1800, 2100, 2400, 2700])(
    'is found again within little more than a second when it said nothing (%i ms of phase)',
    async (phaseMs) => {
      const cluster = new SimCluster(phaseMs + 1);
      const { world } = cluster;
      const a = await cluster.start('a');
      answer(await cluster.start('b'), 'b');
      await world.run(a.call('b', 'who', null, CALL));
      world.network.partition(['a'], ['b']);
      for (const end = world.nowMs + 30_000 + phaseMs; world.nowMs < end; await world.runFor(100))
        void a.call('b', 'who', null, CALL).catch(() => undefined);
      world.network.heal();
      // The kernel asks again every second.
      await world.runFor(1_050);
      expect((await world.run(a.call('b', 'who', null, CALL))).result).toBe('b');
    },
  );

  it('is waited for, though a dial of another lane is under way in vain, once it is found up', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a', 'lngs');
    answer(a, 'a');
    cluster.announce('b', 'bari');
    world.machine('b').crash();
    const upload = () => a.call('b', 'count', null, { ...CALL, body: bodyOf(10) });
    for (let n = 0; n < 40; n++) {
      void upload().catch(() => undefined);
      await world.runFor(100);
    }
    const b = await cluster.start('b', 'bari');
    answer(b, 'b');
    await world.run(b.call('a', 'who', null, CALL));
    expect((await world.run(upload())).result).toBe(10);
  });

  it('is up again at once when it dials itself', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a', 'here', {
      limits: { backoffFirstMs: 60_000, backoffMaxMs: 60_000 },
    });
    answer(a, 'a');
    cluster.announce('b');
    await world.run(failure(a.call('b', 'who', null, CALL)));
    const b = await cluster.start('b');
    answer(b, 'b');
    await world.run(b.call('a', 'who', null, CALL));
    expect((await world.run(a.call('b', 'who', null, CALL))).result).toBe('b');
  });

  it('is found up on all lanes when it is on one', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const limits = { backoffFirstMs: 60_000, backoffMaxMs: 60_000 };
    const a = await cluster.start('a', 'lngs', { limits });
    answer(a, 'a');
    cluster.announce('b', 'bari');
    await world.run(failure(a.call('b', 'count', null, { ...CALL, body: bodyOf(10) })));
    const b = await cluster.start('b', 'bari');
    answer(b, 'b');
    await world.run(b.call('a', 'who', null, CALL));
    const { result } = await world.run(a.call('b', 'count', null, { ...CALL, body: bodyOf(10) }));
    expect(result).toBe(10);
  });

  it('is not dialled any more when nobody asks for it', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a', 'here', { limits: { demandMs: 5000 } });
    cluster.announce('b');
    await world.run(failure(a.call('b', 'who', null, CALL)));
    await world.runFor(10_000);
    const { failures } = a.status().lanes[0]!;
    await world.runFor(60_000);
    expect(a.status().lanes[0]).toMatchObject({ state: 'idle', failures });
  });

  it('is not in the directory: refused', async () => {
    const cluster = new SimCluster();
    const a = await cluster.start('a');
    expect(await cluster.world.run(failure(a.call('x', 'who', null, CALL)))).toMatchObject({
      code: 'refused',
    });
  });

  it.each([
    [
      'another key',
      { cluster: { ...TEST_CLUSTER, sharedKey: Buffer.alloc(32, 9) } },
      'wrong-proof',
    ],
    ['another cluster', { cluster: { ...TEST_CLUSTER, clusterId: 'other' } }, 'wrong-cluster'],
    ['only later versions', { versions: { min: 2, max: 3 } }, 'no-common-version'],
  ])('refuses calls by name when it has %s', async (_what, options, reason) => {
    const cluster = new SimCluster();
    const a = await cluster.start('a');
    answer(await cluster.start('b', 'here', options), 'b');
    const error = await cluster.world.run(failure(a.call('b', 'who', null, CALL)));
    expect(error).toMatchObject({ code: 'refused', facts: { reason } });
  });

  it('has a clock beyond the drift limit: calls fail with that name on both sides', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    world.machine('b', { skewMs: 7 * 3_600_000 });
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    answer(a, 'a');
    expect(await world.run(failure(a.call('b', 'who', null, CALL)))).toMatchObject({
      code: 'clock-drift',
    });
    expect(await world.run(failure(b.call('a', 'who', null, CALL)))).toMatchObject({
      code: 'clock-drift',
    });
    expect(a.status().errors).toHaveProperty('clock-drift');
  });
});

describe('a connection that breaks', () => {
  it('ends calls under way with `connection-lost`, and their handlers', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    let aborted: unknown;
    b.handle('hang', (_args, { deadline }) => {
      deadline.signal.addEventListener('abort', () => {
        aborted = deadline.signal.reason;
      });
      return new Promise(() => undefined);
    });
    const outcome = failure(a.call('b', 'hang', null, CALL));
    await world.runFor(5);
    world.network.dropConnections('a', 'b');
    expect(await world.run(outcome)).toMatchObject({
      code: 'connection-lost',
      facts: { reason: 'socket-closed' },
    });
    await world.runFor(5);
    expect(aborted).toMatchObject({ code: 'connection-lost' });
    expect(lanesOf(a)).toEqual(['b/0 by a']);
  });

  it('is noticed when the path falls silent', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    b.handle('hang', () => new Promise(() => undefined));
    const outcome = failure(a.call('b', 'hang', null, { ...CALL, deadlineMs: 600_000 }));
    await world.runFor(5);
    world.network.partition(['a'], ['b']);
    const start = world.nowMs;
    expect(await world.run(outcome)).toMatchObject({
      code: 'connection-lost',
      facts: { reason: 'silent' },
    });
    expect(world.nowMs - start).toBeLessThan(12_000);
  });

  it('with flipped bits on the path never delivers them', async () => {
    const cluster = new SimCluster(5);
    const { world } = cluster;
    world.network.setLinkBothWays('a', 'b', { corruptProbability: 0.05 });
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    b.handle('echo', (args) => ({ result: args }));
    let good = 0;
    for (let i = 0; i < 300; i++) {
      const args = Buffer.alloc(2000, i);
      const outcome = await world.run(a.call('b', 'echo', args, CALL).catch((error) => error));
      if (outcome instanceof WireError)
        expect(['connection-lost', 'unreachable', 'timeout', 'refused']).toContain(outcome.code);
      else {
        expect(args.equals(outcome.result as Buffer)).toBe(true);
        good++;
      }
      await world.runFor(200);
    }
    expect(good).toBeGreaterThan(100);
    expect(Object.keys({ ...a.status().errors, ...b.status().errors })).toContain(
      'payload-checksum',
    );
  });
});

describe('closing an endpoint', () => {
  it('lets calls under way finish, and takes no new ones', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    const { clock } = world.machine('b').env;
    b.handle('slow', async () => {
      await clock.sleep(500);
      return { result: 'done' };
    });
    const slow = a.call('b', 'slow', null, CALL);
    await world.runFor(5);
    const start = world.nowMs;
    const closing = b.close(5000);
    await world.runFor(5);
    expect(await world.run(failure(a.call('b', 'slow', null, CALL)))).toMatchObject({
      code: 'unreachable',
    });
    expect((await world.run(slow)).result).toBe('done');
    await world.run(closing);
    expect(world.nowMs - start).toBeLessThan(600);
    expect(b.status().connections).toEqual([]);
    expect(await world.run(failure(b.call('a', 'x', null, CALL)))).toMatchObject({
      code: 'refused',
    });
  });

  it('cuts what is left after the grace', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    b.handle('hang', () => new Promise(() => undefined));
    const hanging = failure(a.call('b', 'hang', null, { ...CALL, deadlineMs: 60_000 }));
    await world.runFor(5);
    await world.run(b.close(100));
    expect(await world.run(hanging)).toMatchObject({ code: 'connection-lost' });
  });
});
