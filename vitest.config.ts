import { defineConfig } from 'vitest/config';

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
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Whole clusters of real processes: one at a time, after all else, or they starve each other.
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          pool: 'forks',
          poolOptions: { forks: { singleFork: true } },
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
