import { defineConfig } from 'vitest/config';

// What takes longer than `npm test` allows; the last figures and their date stand in the README.
export default defineConfig({
  test: {
    include: ['test/**/*.long.ts'],
    pool: 'forks',
    reporters: ['default', './tools/dev/summary-reporter.ts'],
    fileParallelism: false,
    testTimeout: 7_200_000,
    hookTimeout: 120_000,
  },
});
