/** `anello restore` from the command line, on real files. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from '#authority/authority.ts';
import { collectBackup } from '#authority/backup.ts';
import { encodeBackup } from '#authority/backup-format.ts';
import { initialiseCluster } from '#authority/genesis.ts';
import { readBundle } from '#authority/publisher.ts';
import { codeOf } from '#base/errors.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { createVault, loadMasterKey } from '#identity/vault.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import type { State } from '#state/state.ts';
import { programOf } from '../program.ts';

const POLICY = { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict' } as const;
const folder = mkdtempSync(path.join(tmpdir(), 'anello-restore-'));
const file = (name: string): string => path.join(folder, name);
let env: NodeEnv;
let backupRevision = 0;

/** A cluster's state store, its master key, a backup of it, and what its nodes had by then. */
beforeAll(async () => {
  env = createNodeEnv({ logLevel: 'silent' });
  const masterKey = await loadMasterKey(env, file('master.key'));
  const state = openSqliteState(env, file('old.db'));
  const sealer = createVault(env.random, masterKey);
  const authority = createAuthority({ env, state, sealer, address: '', askMoves: async () => [] });
  const description = { name: 'test', policies: [{ ...POLICY, isDefault: true }] };
  await initialiseCluster(authority, env, { description, sites: ['a'], state: '' });
  await put(state, 'identity/public/user/u', 'somebody');
  await put(state, 'identity/public/key/k', 'a signing key');
  const backup = await collectBackup(state, env.clock);
  backupRevision = backup.revision;
  writeFileSync(file('a.backup'), encodeBackup(backup));
  for (let n = 0; n < 150; n += 1)
    await authority.store.change({ what: 'later', who: 'test' }, () => ({ result: undefined }));
  writeFileSync(file('bundle'), (await readBundle(state, 0))!);
  await state.close();
});

afterAll(async () => {
  await env.close();
  rmSync(folder, { recursive: true, force: true });
});

function put(state: State, key: string, text: string) {
  return state.txn({ success: [{ kind: 'put', key, value: Buffer.from(text) }] });
}

/** What it prints. */
async function restore(...args: string[]): Promise<string> {
  const printed: string[] = [];
  const { log } = console;
  console.log = (text: string) => printed.push(text);
  try {
    const program = await programOf([() => import('../commands/restore.ts')]);
    const common = ['--config', file('no-machine.yaml'), '--master-key', file('master.key')];
    await program.parseAsync(['restore', ...args, ...common], { from: 'user' });
  } finally {
    console.log = log;
  }
  return printed.join('\n');
}

describe('anello restore', () => {
  it('begins above the bundle that a node has kept, without the keys that signed tokens', async () => {
    const into = ['--state', `sqlite:${file('new.db')}`, '--bundle', file('bundle')];
    const told = JSON.parse(await restore(file('a.backup'), ...into, '--json'));
    expect(told).toMatchObject({ last: 151, version: 152, adopted: [], joinedSince: [] });
    const state = openSqliteState(env, file('new.db'));
    expect((await state.get('identity/public/user/u'))?.value.toString()).toBe('somebody');
    expect(await state.get('identity/public/key/k')).toBeUndefined();
    await state.close();
    expect(backupRevision).toBeGreaterThan(0);
    expect(await restore(file('a.backup'), ...into).catch(codeOf)).toBe('not-empty');
    expect(await restore(file('a.backup'), ...into, '--replace')).toContain('version 152');
  });

  it('refuses what is no backup, no bundle of the cluster, or nowhere to go', async () => {
    writeFileSync(file('b.backup'), 'no backup');
    const into = ['--state', `sqlite:${file('other.db')}`];
    expect(await restore(file('b.backup'), ...into).catch(codeOf)).toBe('malformed');
    expect(await restore(file('missing.backup'), ...into).catch(codeOf)).toBe('wrong-use');
    expect(await restore(file('a.backup')).catch(codeOf)).toBe('wrong-use');
    const strange = [...into, '--bundle', file('b.backup')];
    expect(await restore(file('a.backup'), ...strange).catch(codeOf)).toBe('bad-bundle');
  });
});
