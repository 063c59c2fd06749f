import { defineConfig } from 'vitest/config';

/** For what hangs; a machine that has much to do needs many times what a quiet one does. */
const HANGS_MS = 180_000;

export default defineConfig({
  test: {
    setupFiles: ['test/seed.ts'],
    include: ['src/**/*.test.ts', 'tools/**/*.test.ts', 'test/*.test.ts', 'test/sim/**/*.test.ts'],
    reporters: ['default', './tools/dev/summary-reporter.ts'],
    pool: 'forks',
    // Vitest leaves a core to itself: of two cores that is half.
    maxWorkers: 2,
    minWorkers: 1,
    // Tests leave nothing behind in their process; a new one for each file took a fifth of the time of all.
    poolOptions: { forks: { isolate: false } },
    testTimeout: HANGS_MS,
    hookTimeout: HANGS_MS,
  },
});
