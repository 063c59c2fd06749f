/** The sqlite driver on simulated disks and virtual time: the contract again, and power failures. */
import { describe, expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { openSqliteState } from './sqlite-state.ts';
import { describeState } from './state.contract.ts';

const PATH = '/data/state.db';

describeState('sqlite, simulated', async () => {
  const world = new SimWorld({ seed: 1 });
  const { env } = world.machine('m');
  return {
    async open() {
      await env.disk.mkdir('/data');
      return openSqliteState(env, PATH);
    },
    close: async () => undefined,
    run: (test) => world.run(test),
  };
});

describe('a power failure', () => {
  it.each([1, 2, 3, 4, 5])('loses nothing that was acknowledged (seed %d)', async (seed) => {
    const world = new SimWorld({ seed });
    const machine = world.machine('m');
    const random = world.random('test');
    let acknowledged = 0;
    let checked = 0;
    const live = async (): Promise<void> => {
      const { env } = machine;
      await env.disk.mkdir('/data');
      const state = openSqliteState(env, PATH);
      const stored = Number((await state.get('n'))?.value.toString() ?? 0);
      expect(stored, `seed ${seed}`).toBeGreaterThanOrEqual(acknowledged);
      expect(stored).toBeLessThanOrEqual(acknowledged + 1);
      const { revision } = await state.range({ prefix: '' });
      expect(revision).toBe(stored + 1);
      acknowledged = stored;
      checked += 1;
      for (;;) {
        const value = Buffer.from(String(acknowledged + 1));
        await state.txn({ success: [{ kind: 'put', key: 'n', value }] });
        acknowledged += 1;
        await env.clock.sleep(1);
      }
    };
    for (let life = 0; life < 8; life++) {
      live().catch(() => undefined); // what a dead process was doing never ends
      await world.run(world.nowMs + 5 + random.integer(60));
      machine.crash();
      machine.restart();
    }
    expect(checked).toBe(8);
    expect(acknowledged).toBeGreaterThan(20);
  });
});
