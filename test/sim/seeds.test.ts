/** Half of the seeds that `npm test` runs; `more-seeds.test.ts` has the others, for the other core. */
import { describe, it } from 'vitest';
import { expectKept } from './seed-command.ts';

describe('the cluster', () => {
  it('keeps its promises in seeds 1000 to 1149', { timeout: 1_800_000 }, async () => {
    await expectKept(1_000, 150);
  });
});
