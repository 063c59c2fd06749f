import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { createNodeEnv } from '#env/node/node-env.ts';
import { cacheState } from './cached-state.ts';
import { openSqliteState } from './sqlite-state.ts';
import { describeState } from './state.contract.ts';
import type { State } from './state.ts';

const env = createNodeEnv({ logLevel: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'anello-cached-'));
let files = 0;

afterAll(async () => {
  await env.close();
  rmSync(folder, { recursive: true });
});

/** Closes the store with the cache, as the suite expects of what it opened. */
function cached(state: State, prefix: string): State {
  const cache = cacheState(env, state, prefix);
  const close = async (): Promise<void> => {
    await cache.close();
    await state.close();
  };
  return new Proxy(cache, {
    get: (target, name) => (name === 'close' ? close : bound(target, name)),
  });
}

function bound(target: State, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name);
  return typeof value === 'function' ? value.bind(target) : value;
}

describe('cached state', () => {
  const value = Buffer.from('v');
  let path: string;

  beforeEach(() => {
    path = join(folder, `${files++}.db`);
  });

  /** Counts what reaches the store. */
  function counting(state: State): { state: State; reads: () => number } {
    let reads = 0;
    const counted = new Proxy(state, {
      get: (target, name) => {
        if (name === 'get' || name === 'range') reads += 1;
        return bound(target, name);
      },
    });
    return { state: counted, reads: () => reads };
  }

  it('answers from memory what exists, sees its own writes at once, others soon', async () => {
    const store = openSqliteState(env, path);
    const other = openSqliteState(env, path);
    const { state, reads } = counting(store);
    const cache = cacheState(env, state, 'p/');
    await cache.txn({ success: [{ kind: 'put', key: 'p/a', value }] });
    await cache.txn({ success: [{ kind: 'put', key: 'p/b', value }] });
    const before = reads();
    expect((await cache.get('p/a'))?.value).toEqual(value);
    expect((await cache.range({ prefix: 'p/' })).items.map(({ key }) => key)).toEqual([
      'p/a',
      'p/b',
    ]);
    expect(await cache.range({ prefix: 'p/' }, { limit: 1 })).toMatchObject({ more: true });
    expect(reads()).toBe(before);
    await other.txn({ success: [{ kind: 'put', key: 'p/c', value }] });
    expect(await cache.get('p/c')).toBeDefined();
    expect((await cache.range({ prefix: 'p/' }, { fresh: true })).items).toHaveLength(3);
    while ((await cache.range({ prefix: 'p/' })).items.length < 3) await env.clock.sleep(20);
    await cache.txn({ success: [{ kind: 'deleteRange', range: { prefix: 'p/' } }] });
    expect((await cache.range({ prefix: 'p/' })).items).toEqual([]);
    await cache.close();
    await other.close();
    await store.close();
  });

  it('goes on from memory when others write elsewhere, and after what changed nothing', async () => {
    const store = openSqliteState(env, path);
    const { state, reads } = counting(store);
    const cache = cacheState(env, state, 'p/');
    await cache.txn({ success: [{ kind: 'put', key: 'p/a', value }] });
    await store.txn({ success: [{ kind: 'put', key: 'q/a', value }] });
    await cache.txn({ success: [{ kind: 'delete', key: 'p/none' }] });
    await cache.txn({ success: [{ kind: 'deleteRange', range: { prefix: 'p/none/' } }] });
    const before = reads();
    expect(await cache.get('p/a')).toBeDefined();
    expect(reads()).toBe(before);
    await cache.close();
    await store.close();
  });

  it('fails with the store instead of answering for ever from memory', async () => {
    const store = openSqliteState(env, path);
    const cache = cacheState(env, store, 'p/', 100);
    await cache.txn({ success: [{ kind: 'put', key: 'p/a', value }] });
    expect(await cache.get('p/a')).toBeDefined();
    await store.close();
    await env.clock.sleep(150);
    await expect(cache.get('p/a')).rejects.toMatchObject({ code: 'state-unavailable' });
    await cache.close();
  });
});

describeState('cached, by one client', async () => {
  const path = join(folder, `${files++}.db`);
  const only = openSqliteState(env, path);
  let first = true;
  return {
    // The suite's second client writes past the cache, as another process does.
    open: async () => {
      if (!first) return openSqliteState(env, path);
      first = false;
      return cached(only, '');
    },
    close: async () => undefined,
  };
});
