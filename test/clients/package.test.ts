/** `npm run build`: what it makes is installed on a clean root and runs there, without the checkout and its Node. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freeBase, sleep } from '../cluster/cluster.ts';
import { has } from './program.ts';

const REPOSITORY = path.resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(path.join(tmpdir(), 'anello-package-'));
const root = path.join(folder, 'root');
/** Nothing of this process's own. */
const env = { PATH: '/usr/bin:/bin', HOME: folder };
const canBuild = has('dpkg-deb');

beforeAll(() => {
  if (!canBuild) return;
  execFileSync(process.execPath, ['tools/dev/build.ts', '--out', folder], { cwd: REPOSITORY });
  const [deb] = readdirSync(folder).filter((name) => name.endsWith('.deb'));
  execFileSync('dpkg-deb', ['-x', path.join(folder, deb!), root]);
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!canBuild)('the package', { timeout: 90_000 }, () => {
  const anello = path.join(root, 'usr/bin/anello');

  it('carries its runtime and nothing of development', () => {
    const version = execFileSync(anello, ['--version'], { env, encoding: 'utf8' });
    expect(version).toMatch(/^\d+\.\d+\.\d+\n$/);
    const modules = readdirSync(path.join(root, 'usr/lib/anello/node_modules'));
    expect(modules).toContain('better-sqlite3');
    for (const name of ['vitest', 'typescript', '@biomejs', 'node'])
      expect(modules).not.toContain(name);
    expect(existsSync(path.join(root, 'usr/lib/anello/src/ring/ring.test.ts'))).toBe(false);
  });

  it.skipIf(!has('systemd-analyze'))('its unit is one that systemd takes', () => {
    const unit = path.join(root, 'usr/lib/systemd/system/anello.service');
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], {
      encoding: 'utf8',
    });
    // /usr/bin/anello is not on this machine's own root.
    const complaints = stderr.split('\n').filter((line) => line.includes('anello.service'));
    expect(complaints.filter((line) => !line.includes('is not executable'))).toEqual([]);
  });

  it('runs a cluster', async () => {
    const base = await freeBase();
    const data = path.join(folder, 'data');
    const child = spawn(anello, ['up', '--data', data, '--port', String(base)], {
      env,
      stdio: 'ignore',
    });
    try {
      let healthy = false;
      for (let wait = 0; wait < 300 && !healthy; wait += 1) {
        await sleep(100);
        const answer = await fetch(`http://127.0.0.1:${base}/healthcheck`).catch(() => undefined);
        healthy = answer?.ok === true;
      }
      expect(healthy).toBe(true);
      const args = ['ring', 'status', '--data', data, '--json'];
      const status = JSON.parse(execFileSync(anello, args, { env, encoding: 'utf8' }));
      expect(status.rings.length).toBeGreaterThan(2);
    } finally {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    }
  });
});
