import { defineConfig } from 'vitest/config';

// Real clients from Debian's packages against a real cluster; one file at a time, they share the machine.
export default defineConfig({
  test: {
    setupFiles: ['test/cluster/last-words.ts'],
    include: ['test/clients/**/*.test.ts'],
    pool: 'forks',
    reporters: ['default', './tools/dev/summary-reporter.ts'],
    fileParallelism: false,
    testTimeout: 1_200_000,
    hookTimeout: 120_000,
  },
});
