import { defineConfig } from 'vitest/config';

/** For what hangs; a machine that has much to do needs many times what a quiet one does. */
const HANGS_MS = 180_000;

// Whole clusters of real processes, after all else, or they starve each other. Three at once take as long as two.
export default defineConfig({
  test: {
    setupFiles: ['test/cluster/last-words.ts'],
    include: ['test/cluster/**/*.test.ts'],
    reporters: ['default', './tools/dev/summary-reporter.ts'],
    pool: 'forks',
    maxWorkers: 2,
    minWorkers: 1,
    testTimeout: HANGS_MS,
    hookTimeout: HANGS_MS,
  },
});
