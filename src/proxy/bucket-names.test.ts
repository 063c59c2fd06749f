import { describe, expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import { BucketNames } from './bucket-names.ts';

const ROUNDS = 30;

describe('a bucket name that two sites want at the same time', () => {
  it.each([1, 2, 3, 4, 5])(
    'is claimed by one of them, and both know whose it is (seed %d)',
    async (seed) => {
      const world = new SimWorld({ seed });
      const { env } = world.machine('m');
      const random = world.random('test');
      const test = async (): Promise<void> => {
        await env.disk.mkdir('/data');
        const states = ['lngs', 'bari'].map(() => openSqliteState(env, '/data/state.db'));
        const sites = states.map((state) => new BucketNames(env, state));
        const winners = new Set<string>();
        for (let round = 0; round < ROUNDS; round++) {
          const name = `bucket-${round}`;
          const claims = sites.map(async (names, site) => {
            await env.clock.sleep(random.integer(3));
            return names.claim(name, `AUTH_${site}`);
          });
          const [first, second] = await Promise.all(claims);
          expect(first, `seed ${seed}, ${name}`).toBe(second);
          for (const names of sites) expect(await names.ownerOf(name)).toBe(first);
          winners.add(first!);
          // Only its owner frees it, and then anybody may have it.
          await sites[0]!.release(name, 'AUTH_other');
          expect(await sites[1]!.claim(name, 'AUTH_other')).toBe(first);
          await sites[0]!.release(name, first!);
          expect(await sites[1]!.claim(name, 'AUTH_other')).toBe('AUTH_other');
        }
        expect(winners.size).toBe(2);
        for (const state of states) await state.close();
      };
      await world.run(test());
    },
  );
});
