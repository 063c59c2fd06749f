import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tools/**/*.test.ts', 'test/*.test.ts', 'test/sim/**/*.test.ts', 'test/cluster/**/*.test.ts'],
    pool: 'forks',
    reporters: ['default', './tools/dev/summary-reporter.ts'],
    testTimeout: 20_000,
  },
});
