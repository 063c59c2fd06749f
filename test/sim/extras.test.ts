import { describe, expect, it } from 'vitest';
import { EXTRAS } from './plan.ts';
import { runSeed } from './run.ts';

/** `npm run sim -- --with moves,uploads,versions --seeds 1000` has as many as one likes. */
const SEED = 2;
const RUNS = EXTRAS.map((extra) => ({ extra, seed: SEED }));
const WORK = {
  moves: 'move-begun:done',
  uploads: 'upload-complete:done',
  versions: 'version-list:done',
};

describe('the cluster keeps its promises', () => {
  it.each(RUNS)('with $extra in seed $seed', { timeout: 300_000 }, async ({ extra, seed }) => {
    const { failure, operations } = await runSeed(seed, { brief: true, extras: [extra] });
    if (failure !== undefined) {
      const replay = `npm run sim -- --brief --with ${extra} --first-seed ${seed} --seeds 1 --verbose`;
      throw new Error(`${failure.message}\n${replay}\n${failure.report.slice(0, 5_000)}`);
    }
    expect(operations[WORK[extra]]).toBeGreaterThan(0);
  });
});
