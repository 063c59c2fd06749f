/** The other half of the seeds that `npm test` runs: see `seeds.test.ts`. */
import { describe, it } from 'vitest';
import { expectKept } from './seed-command.ts';

describe('the cluster', () => {
  it('keeps its promises in seeds 1150 to 1299', { timeout: 1_800_000 }, async () => {
    await expectKept(1_150, 150);
  });
});
