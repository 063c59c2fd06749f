import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import { testEnv } from '../env.contract.ts';
import { createNodeEnv } from './node-env.ts';

describe('env/node', () => {
  testEnv({
    host: '127.0.0.1',
    async run(test) {
      const folder = await mkdtemp(join(tmpdir(), 'anello-env-'));
      const env = createNodeEnv({ logLevel: 'silent' });
      try {
        await test(env, folder);
      } finally {
        await env.close();
        await rm(folder, { recursive: true });
      }
    },
  });
});
