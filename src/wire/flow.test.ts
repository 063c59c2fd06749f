import { describe, expect, it } from 'vitest';
import type { CallOptions } from './contract.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { Pacer } from './pacer.ts';
import { bodyOf, readAll, SimCluster } from './testing/sim-cluster.ts';

const CALL: CallOptions = { txn: 'tx1', deadlineMs: 20_000 };
const MIB = 1024 * 1024;

async function far(bytesPerMs: number, delayMs = 10) {
  const cluster = new SimCluster(3);
  const { world } = cluster;
  world.network.setLinkBothWays('a', 'b', { delayMs, jitterMs: 0.2, bytesPerMs });
  const a = await cluster.start('a', 'lngs');
  const b = await cluster.start('b', 'bari');
  b.handle('count', async (_args, { body }) => {
    let bytes = 0;
    for await (const piece of body!) bytes += piece.length;
    return { result: bytes };
  });
  b.handle('echo', (args) => ({ result: args }));
  return { world, a, b };
}

describe('a body between sites', () => {
  it('leaves a queue of less than 25 ms for calls beside it, and most of the link is used', async () => {
    const bytesPerMs = 12_500; // 100 Mbit/s
    const { world, a } = await far(bytesPerMs);
    await world.run(a.call('b', 'echo', 1, CALL));
    const length = 60 * MIB;
    const start = world.nowMs;
    let done = false;
    const upload = a
      .call('b', 'count', null, { ...CALL, body: bodyOf(length) })
      .then(({ result }) => {
        done = true;
        return result;
      });
    const pings: number[] = [];
    while (!done) {
      await world.runFor(50);
      const { connections } = a.status();
      for (const { lane, rttMs } of connections) if (lane === 1 && rttMs) pings.push(rttMs);
    }
    expect(await upload).toBe(length);
    const share = length / (world.nowMs - start) / bytesPerMs;
    expect(share).toBeGreaterThan(0.6);
    const settled = pings.slice(Math.floor(pings.length / 5));
    expect(Math.max(...settled)).toBeLessThan(20 + 25);
  });

  it('is measured while it moves, and not for ever after', async () => {
    const { world, a, b } = await far(125_000, 10);
    await world.run(a.call('b', 'count', null, { ...CALL, body: bodyOf(5_000) }));
    await world.runFor(1_000);
    const received = (): number =>
      b.status().connections.reduce((sum, { bytesIn }) => sum + bytesIn, 0);
    const before = received();
    await world.runFor(60_000);
    expect(received() - before).toBeLessThan(10_000);
  });

  it('uses a fast link well over a long round trip', async () => {
    const { world, a } = await far(125_000, 10); // 1 Gbit/s, 20 ms
    const length = 100 * MIB;
    const start = world.nowMs;
    await world.run(a.call('b', 'count', null, { ...CALL, body: bodyOf(length) }));
    expect(length / (world.nowMs - start)).toBeGreaterThan(40_000); // simulated TCP has a window of 1 MiB;
  });
});

describe('bodies on one connection', () => {
  it('share it, and one that nobody reads stops only itself', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    b.handle('stall', () => new Promise(() => undefined));
    b.handle('count', async (_args, { body }) => ({ result: (await readAll(body)).length }));
    for (let i = 0; i < 20; i++) {
      a.call('b', 'stall', null, { ...CALL, body: bodyOf(50 * MIB) }).catch(() => undefined);
    }
    await world.runFor(100);
    const { result } = await world.run(
      a.call('b', 'count', null, { ...CALL, body: bodyOf(8 * MIB) }),
    );
    expect(result).toBe(8 * MIB);
    expect(b.status().receiveWindowBytes).toBe(20 * DEFAULT_LIMITS.siteWindowBytes);
    expect(world.nowMs).toBeLessThan(1000);
  });

  it('get less credit each when there are many, and the process holds no more than its budget', async () => {
    const cluster = new SimCluster();
    const { world } = cluster;
    const a = await cluster.start('a');
    const limits = { receiveBudgetBytes: 4 * MIB, initialCreditBytes: 64 * 1024 };
    const b = await cluster.start('b', 'here', { limits });
    b.handle('stall', () => new Promise(() => undefined));
    for (let i = 0; i < 40; i++) {
      a.call('b', 'stall', null, { ...CALL, body: bodyOf(2 * MIB) }).catch(() => undefined);
    }
    await world.runFor(200);
    const held = b.status().receiveWindowBytes;
    expect(held).toBeLessThan(4 * MIB + 40 * 64 * 1024);
    expect(b.status().connections[0]!.bytesIn).toBeLessThan(held + 100_000);
  });
});

describe('the pacer', () => {
  const limits = { startBytes: 1 * MIB, minBytes: 256 * 1024, maxBytes: 8 * MIB };

  it('grows while pings are fast and the window was the limit, and not otherwise', () => {
    const pacer = new Pacer(limits);
    expect(pacer.sample(20, 0, false)).toBe(1 * MIB);
    expect(pacer.sample(20, 100, true)).toBe(2 * MIB);
    expect(pacer.sample(21, 200, false)).toBe(2 * MIB);
    for (let i = 3; i < 20; i++) pacer.sample(20, i * 100, true);
    expect(pacer.windowBytes).toBe(8 * MIB);
  });

  it('shrinks when pings stay slow, not for one alone, and never below its least', () => {
    const pacer = new Pacer(limits);
    for (let i = 0; i < 3; i++) pacer.sample(20, i, false);
    expect(pacer.sample(300, 3, true)).toBe(1 * MIB);
    expect(pacer.sample(20, 4, false)).toBe(1 * MIB);
    for (let i = 5; i < 50; i++) pacer.sample(80, i, true);
    expect(pacer.windowBytes).toBe(256 * 1024);
  });

  it('takes a longer path for the new floor after a while', () => {
    const pacer = new Pacer(limits);
    pacer.sample(20, 0, false);
    for (let ms = 0; ms < 90_000; ms += 1000) pacer.sample(60, ms, true);
    expect(pacer.floorMs).toBe(60);
    expect(pacer.windowBytes).toBeGreaterThan(1 * MIB);
  });
});
