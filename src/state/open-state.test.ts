import { describe, expect, it } from 'vitest';
import { createNodeEnv } from '#env/node/node-env.ts';
import { openState } from './open-state.ts';

describe('openState', () => {
  it.each([
    '',
    'sqlite',
    'sqlite:',
    'etcd:',
    'etcd:host:2379',
    'etcd:http://a:1/x',
    'redis:x',
    'etcd:http://a:1,',
  ])('refuses %j in one clear line', (where) => {
    const env = createNodeEnv({ logLevel: 'silent' });
    expect(() => openState(env, where, fetch)).toThrow(
      expect.objectContaining({ code: 'bad-state-url' }),
    );
  });
});
