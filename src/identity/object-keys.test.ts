/** Keys of encrypted objects: the same at every proxy, there while state is away, never lost. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import type { State } from '#state/state.ts';
import { BreakableState } from '#state/testing/breakable-state.ts';
import { decodeObjectKeys, encodeObjectKeys, ObjectKeyFile } from './object-key-file.ts';
import { listObjectKeys, makeObjectKey, ObjectKeys } from './object-keys.ts';
import { createVault } from './vault.ts';

const WAIT_MS = 120_000;

let env: NodeEnv;
let folder: string;
let closing: (() => Promise<void>)[];

beforeEach(() => {
  env = createNodeEnv({ logLevel: 'silent' });
  folder = mkdtempSync(path.join(tmpdir(), 'anello-object-keys-'));
  closing = [];
});

afterEach(async () => {
  for (const close of closing.reverse()) await close();
  await env.close();
  rmSync(folder, { recursive: true });
});

function stateAt(name = 'state.db'): State {
  const state = openSqliteState(env, path.join(folder, name));
  closing.push(() => state.close());
  return state;
}

function partsOf(state: State, masterKey: Uint8Array = Buffer.alloc(32, 1)) {
  return { env, state, vault: createVault(env.random, masterKey) };
}

const fileAt = (name: string) => path.join(folder, name);

async function proxyAt(state: State, name: string, masterKey?: Uint8Array): Promise<ObjectKeys> {
  const keys = new ObjectKeys(partsOf(state, masterKey), new ObjectKeyFile(env, fileAt(name)));
  await keys.start();
  closing.push(() => keys.close());
  return keys;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = env.clock.monotonicMs() + WAIT_MS;
  while (!(await holds())) {
    if (env.clock.monotonicMs() > end) throw new Error('waited too long');
    await env.clock.sleep(20);
  }
}

function keysInFile(name: string): number {
  try {
    return decodeObjectKeys(readFileSync(fileAt(name))).size;
  } catch {
    return 0;
  }
}

describe('object keys', () => {
  it("the first proxy makes the store's own, and all have the same", async () => {
    const [first, second] = [await proxyAt(stateAt(), 'a'), await proxyAt(stateAt(), 'b')];
    const made = await first.newest('');
    expect(await second.byId(made.id)).toEqual(made);
    expect(await second.newest('')).toEqual(made);
    expect(await listObjectKeys(partsOf(stateAt()))).toEqual([made]);
  });

  it('of a name are what was made last; older ones still open', async () => {
    const parts = partsOf(stateAt());
    const keys = await proxyAt(stateAt(), 'a');
    const old = await makeObjectKey(parts, 'payroll');
    expect(await keys.newest('payroll')).toEqual(old);
    await env.clock.sleep(2);
    const next = await makeObjectKey(parts, 'payroll');
    await until(async () => (await keys.newest('payroll')).id === next.id);
    expect(await keys.byId(old.id)).toEqual(old);
    await expect(keys.newest('nobody')).rejects.toMatchObject({ code: 'no-such-key' });
    await expect(keys.byId('00ff')).rejects.toMatchObject({ code: 'object-key-lost' });
    await expect(makeObjectKey(parts, '../x')).rejects.toMatchObject({ code: 'bad-input' });
  });

  it('outlive state: from the file while it is away, back in it when it was made anew', async () => {
    const state = new BreakableState(stateAt(), env.clock);
    const first = await proxyAt(state, 'a');
    const made = await first.newest('');
    await until(() => keysInFile('a') === 1);
    expect(statSync(fileAt('a')).mode & 0o777).toBe(0o600);
    state.break();
    const again = await proxyAt(state, 'a');
    expect(await again.newest('')).toEqual(made);
    state.mend();
    const fresh = stateAt('fresh.db');
    await proxyAt(fresh, 'a');
    await until(async () => (await listObjectKeys(partsOf(fresh))).length === 1);
    expect(await listObjectKeys(partsOf(fresh))).toEqual([made]);
  });

  it('do not open with another master key, and are no plain text in state or file', async () => {
    const first = await proxyAt(stateAt(), 'a');
    const { material, id } = await first.newest('');
    await until(() => keysInFile('a') === 1);
    const other = await proxyAt(stateAt(), 'b', Buffer.alloc(32, 2));
    await expect(other.byId(id)).rejects.toMatchObject({ code: 'object-key-lost' });
    expect(readFileSync(fileAt('a')).includes(material)).toBe(false);
    expect(readFileSync(fileAt('state.db')).includes(material)).toBe(false);
  });

  it('are read from a file of version 1, and a damaged or newer one is refused', () => {
    const golden = path.resolve(import.meta.dirname, '../../test/golden/object-keys/v1/keys.bin');
    const bytes = readFileSync(golden);
    const keys = decodeObjectKeys(bytes);
    expect([...keys]).toEqual([['encryption/keys/0011223344556677', Buffer.alloc(60, 6)]]);
    expect(encodeObjectKeys(keys)).toEqual(bytes);
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i]! ^= 0x55;
      let code = 'accepted';
      try {
        decodeObjectKeys(changed);
      } catch (error) {
        code = codeOf(error);
      }
      expect(['malformed', 'newer-format'], `byte ${i}`).toContain(code);
    }
  });
});
