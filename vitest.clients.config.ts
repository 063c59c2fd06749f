import { defineConfig } from 'vitest/config';

// Real clients, and servers (etcd, HAProxy: *.debian.ts), of Debian's packages; large transfers. One file at a time,
// they share the machine.
export default defineConfig({
  test: {
    setupFiles: ['test/cluster/last-words.ts'],
    include: ['test/clients/**/*.test.ts', '{src,test}/**/*.debian.ts'],
    pool: 'forks',
    reporters: ['default', './tools/dev/summary-reporter.ts'],
    fileParallelism: false,
    testTimeout: 1_200_000,
    hookTimeout: 120_000,
  },
});
