import { describe } from 'vitest';
import { testEnv } from '../env.contract.ts';
import { SimWorld } from './world.ts';

describe('env/sim', () => {
  testEnv({
    host: 'n1',
    async run(test) {
      const world = new SimWorld({ seed: 1 });
      const { env } = world.machine('n1');
      const whole = async (): Promise<void> => {
        await env.disk.mkdir('/data');
        await test(env, '/data');
      };
      await world.run(whole());
    },
  });
});
