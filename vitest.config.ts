import { defineConfig } from 'vitest/config';

/** For what hangs; a machine that has much to do needs many times what a quiet one does. */
const HANGS_MS = 180_000;

export default defineConfig({
  test: {
    reporters: ['default', './tools/dev/summary-reporter.ts'],
    pool: 'forks',
    // Vitest leaves a core to itself: of two cores that is half.
    maxWorkers: 2,
    minWorkers: 1,
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles: ['test/seed.ts'],
          include: [
            'src/**/*.test.ts',
            'tools/**/*.test.ts',
            'test/*.test.ts',
            'test/sim/**/*.test.ts',
          ],
          pool: 'forks',
          testTimeout: HANGS_MS,
          hookTimeout: HANGS_MS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Whole clusters of real processes: two at a time (they wait a lot), after all else, or they starve each other.
        test: {
          name: 'cluster',
          setupFiles: ['test/cluster/last-words.ts'],
          include: ['test/cluster/**/*.test.ts'],
          pool: 'forks',
          testTimeout: HANGS_MS,
          hookTimeout: HANGS_MS,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
