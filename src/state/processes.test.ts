import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createNodeEnv } from '#env/node/node-env.ts';
import { openSqliteState } from './sqlite-state.ts';

const SCRIPT = join(import.meta.dirname, 'testing/incrementer.ts');

describe('one sqlite file, several processes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'anello-processes-'));
  const env = createNodeEnv({ logLevel: 'silent' });
  afterAll(async () => {
    await env.close();
    rmSync(folder, { recursive: true });
  });

  /** Resolves with the number of acknowledged increments when the process has ended. */
  function increment(path: string, times: number, killAfter = Infinity): Promise<number> {
    const child = spawn(process.execPath, [SCRIPT, path, String(times)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let acknowledged = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      acknowledged += chunk.length;
      if (acknowledged >= killAfter) child.kill('SIGKILL');
    });
    return new Promise((resolve) => child.on('close', () => resolve(acknowledged)));
  }

  it('lose no increment, and a watcher beside them sees each one in order', async () => {
    const path = join(folder, 'shared.db');
    const state = openSqliteState(env, path);
    const seen: number[] = [];
    const watch = state.watch({ prefix: 'n' }, 1, {
      onEvents: (events) => {
        for (const event of events)
          if (event.kind === 'put') seen.push(Number(event.item.value.toString()));
      },
      onCompacted: () => expect.fail('history is long enough'),
    });
    await Promise.all([increment(path, 40), increment(path, 40), increment(path, 40)]);
    expect((await state.get('n'))?.value.toString()).toBe('120');
    while (seen.length < 120) await env.clock.sleep(20);
    expect(seen).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
    watch.close();
    await state.close();
  });

  it('keep what was acknowledged when one of them is killed by -9', async () => {
    const path = join(folder, 'killed.db');
    const [killed, other] = await Promise.all([increment(path, 10_000, 25), increment(path, 30)]);
    const state = openSqliteState(env, path);
    const value = Number((await state.get('n'))?.value.toString());
    expect(other).toBe(30);
    // The last one of the killed process may have been done and not yet told.
    expect(value).toBeGreaterThanOrEqual(killed + other);
    expect(value).toBeLessThanOrEqual(killed + other + 1);
    await state.txn({ success: [{ kind: 'put', key: 'after', value: Buffer.from('x') }] });
    await state.close();
  });
});
