import { scryptSync } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createNodeEnv } from '#env/node/node-env.ts';
import { Passwords } from './password.ts';
import { createVault, loadMasterKey } from './vault.ts';

const env = createNodeEnv({ logLevel: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'anello-secrets-'));
afterAll(async () => {
  await env.close();
  rmSync(folder, { recursive: true });
});

describe('vault', () => {
  const vault = createVault(env.random, Buffer.alloc(32, 1));
  const refused = expect.objectContaining({ code: 'cannot-unseal' });

  it('opens what it sealed, for the same purpose and key only', () => {
    const sealed = vault.seal(Buffer.from('secret'), 'a');
    expect(vault.open(sealed, 'a').toString()).toBe('secret');
    expect(() => vault.open(sealed, 'b')).toThrow(refused);
    expect(() => createVault(env.random, Buffer.alloc(32, 2)).open(sealed, 'a')).toThrow(refused);
    expect(sealed.includes('secret')).toBe(false);
  });

  it('refuses every changed bit and every shorter form', () => {
    const sealed = vault.seal(Buffer.from('secret'), 'a');
    for (let bit = 8; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => vault.open(changed, 'a')).toThrow(refused);
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(() => vault.open(sealed.subarray(0, length), 'a')).toThrow(refused);
    }
  });

  it('says so when it was sealed by a newer version', () => {
    const sealed = vault.seal(Buffer.from('secret'), 'a');
    sealed[0] = 2;
    expect(() => vault.open(sealed, 'a')).toThrow(
      expect.objectContaining({ code: 'newer-format' }),
    );
  });

  it('makes the key file once, for its owner only, and refuses a damaged one', async () => {
    const path = join(folder, 'keys', 'master.key');
    const key = await loadMasterKey(env, path);
    expect(existsSync(path)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await loadMasterKey(env, path)).toEqual(key);
    writeFileSync(path, readFileSync(path, 'utf8').slice(0, -3));
    await expect(loadMasterKey(env, path)).rejects.toMatchObject({ code: 'bad-master-key' });
  });
});

describe('passwords', () => {
  const passwords = new Passwords(env.random);

  it('matches the password it was made from and no other', async () => {
    const stored = await passwords.hash('pässwörd');
    expect(stored).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$/);
    expect(await passwords.matches('pässwörd', stored)).toBe(true);
    expect(await passwords.matches('password', stored)).toBe(false);
    expect(await passwords.matches('', stored)).toBe(false);
    expect(await passwords.hash('pässwörd')).not.toBe(stored);
  });

  it('checks a password stored with other parameters', async () => {
    const salt = Buffer.alloc(16, 9);
    const hash = scryptSync('older', salt, 32, { N: 16, r: 4, p: 2 });
    const stored = `$scrypt$ln=4,r=4,p=2$${salt.toString('base64')}$${hash.toString('base64')}`;
    expect(await passwords.matches('older', stored)).toBe(true);
    expect(await passwords.matches('other', stored)).toBe(false);
  });

  it('never matches for a user that does not exist, and takes as long', async () => {
    const stored = await passwords.hash('x');
    // Of the processor, which does not depend on what else the machine does.
    const work = async (hash: string | undefined): Promise<number> => {
      const start = process.cpuUsage();
      expect(await passwords.matches('y', hash)).toBe(false);
      const { user, system } = process.cpuUsage(start);
      return user + system;
    };
    const known = Math.min(...[await work(stored), await work(stored), await work(stored)]);
    expect(await work(undefined)).toBeGreaterThan(known / 3);
  });

  it('refuses parameters that would take the machine down, and passwords without end', async () => {
    for (const ln of ['0', '25', '99']) {
      const stored = `$scrypt$ln=${ln},r=8,p=1$c2FsdA==$c2FsdA==`;
      await expect(passwords.matches('x', stored)).rejects.toMatchObject({ code: 'malformed' });
    }
    await expect(passwords.hash('x'.repeat(5000))).rejects.toMatchObject({ code: 'bad-request' });
  });

  it('turns a flood of log-ins away instead of queueing it for ever', async () => {
    const attempts = Array.from({ length: 300 }, () =>
      passwords
        .matches('x', '$scrypt$ln=1,r=1,p=1$c2FsdA==$c2FsdA==')
        .catch((e: { code: string }) => e.code),
    );
    const results = await Promise.all(attempts);
    expect(results.filter((result) => result === 'busy')).toHaveLength(300 - 258);
  });
});
