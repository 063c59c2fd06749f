/** What devices tell of their rounds, and what others make of it. */
import { describe, expect, it } from 'vitest';
import type { Device } from '#device/contract.ts';
import { SimWorld } from '#env/sim/world.ts';
import { PeerBoard } from '#object/peer-board.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import { Rounds } from './rounds.ts';
import { Sweeps } from './sweeps.ts';

const INCARNATION = '0123456789abcdef0123456789abcdef';
const RINGS = [{ devices: [{ id: 7 }] }] as unknown as Ring[];

/** With no rings to compare in, a round is over whenever it is asked about. */
function setUp() {
  const world = new SimWorld({ seed: 1 });
  const { env } = world.machine('node');
  const cluster = { current: () => ({ rings: new Map() }) } as unknown as ClusterSource;
  const board = new PeerBoard(() => env.clock.monotonicMs());
  const rounds = new Rounds(env, cluster, board, () => undefined);
  const sweeps = new Sweeps();
  const facts = { id: 7, status: 'ok', state: 'ok', full: 0, complete: new Map() };
  const ask = (device: Device, atMs: number): number | undefined => {
    sweeps.told({ ...facts, ...rounds.of(device) } as never, atMs);
    return sweeps.sweptMs(RINGS);
  };
  return { ask };
}

function opened(incarnation = INCARNATION): Device {
  return { id: 7, status: 'ok', incarnation } as unknown as Device;
}

describe('sweeps', () => {
  it('a device that is opened anew holds reclaim back for two rounds, not for as many as it had done', () => {
    const { ask } = setUp();
    const first = opened();
    for (let atMs = 0; atMs < 1000; atMs++) ask(first, atMs);
    expect(ask(first, 1000)).toBeGreaterThan(990);
    const again = opened();
    expect(ask(again, 2000)).toBeLessThan(1000);
    for (let atMs = 2001; atMs < 2005; atMs++) ask(again, atMs);
    expect(ask(again, 2005)).toBeGreaterThanOrEqual(2000);
  });

  it('one that was wiped has swept nothing', () => {
    const { ask } = setUp();
    const first = opened();
    for (let atMs = 0; atMs < 10; atMs++) ask(first, atMs);
    expect(ask(opened('f'.repeat(32)), 11)).toBeUndefined();
  });
});
