import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createNodeEnv } from '#env/node/node-env.ts';
import { HISTORY_REVISIONS } from './sqlite-schema.ts';
import { openSqliteState } from './sqlite-state.ts';
import { describeState } from './state.contract.ts';

const env = createNodeEnv({ logLevel: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'anello-state-'));
let files = 0;
const nextPath = (): string => join(folder, `${files++}.db`);

afterAll(async () => {
  await env.close();
  rmSync(folder, { recursive: true });
});

describeState('sqlite', async () => {
  const path = nextPath();
  return {
    open: async () => openSqliteState(env, path),
    close: async () => undefined,
  };
});

describe('sqlite state', () => {
  const value = Buffer.from('v');

  it('keeps everything over a close and an open', async () => {
    const path = nextPath();
    const before = openSqliteState(env, path);
    const { revision } = await before.txn({ success: [{ kind: 'put', key: 'a', value }] });
    await before.close();
    const after = openSqliteState(env, path);
    expect(await after.get('a')).toMatchObject({ value, modRevision: revision });
    expect((await after.range({ prefix: '' })).revision).toBe(revision);
    await after.close();
  });

  it('refuses a file written by a newer version', () => {
    const path = nextPath();
    const db = env.disk.openDatabase(path);
    db.exec('CREATE TABLE setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID');
    db.exec("INSERT INTO setting VALUES ('format', 99)");
    db.close();
    expect(() => openSqliteState(env, path)).toThrow(
      expect.objectContaining({ code: 'newer-format' }),
    );
  });

  it('keeps its history bounded by itself', async () => {
    const path = nextPath();
    const state = openSqliteState(env, path);
    const db = env.disk.openDatabase(path);
    db.exec(`UPDATE setting SET value = ${HISTORY_REVISIONS * 2} WHERE name = 'revision'`);
    db.close();
    for (let i = 0; i < 256; i++) {
      await state.txn({ success: [{ kind: 'put', key: 'a', value }] });
    }
    const compacted = await new Promise<number>((resolve) => {
      state.watch({ prefix: '' }, 1, { onEvents: () => undefined, onCompacted: resolve });
    });
    expect(compacted).toBeGreaterThanOrEqual(HISTORY_REVISIONS);
    await state.close();
  });

  it('answers state-unavailable after it was closed', async () => {
    const state = openSqliteState(env, nextPath());
    await state.close();
    await expect(state.get('a')).rejects.toMatchObject({ code: 'state-unavailable' });
  });

  it('tells a watch when it last heard from the store', async () => {
    const state = openSqliteState(env, nextPath());
    const watch = state.watch({ prefix: '' }, 1, {
      onEvents: () => undefined,
      onCompacted: () => undefined,
    });
    const before = watch.heardAtMs();
    while (watch.heardAtMs() <= before + 50) await env.clock.sleep(20);
    await state.close();
  });
});
