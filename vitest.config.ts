import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tools/**/*.test.ts', 'test/*.test.ts', 'test/sim/**/*.test.ts', 'test/cluster/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 20_000,
  },
});
