/** rclone (v1 and Keystone v3) and python-openstackclient against a whole cluster. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { folderSums } from './folder-sums.ts';
import { has, run } from './program.ts';

const RCLONE = has('rclone');
const OPENSTACK = has('openstack');
/** Above rclone's chunk size below: it goes up in segments. */
const BIG_BYTES = 12_000_000;

let cluster: Cluster;
let work: string;

beforeAll(async () => {
  cluster = await Cluster.start();
  work = mkdtempSync(path.join(tmpdir(), 'anello-tools-'));
  mkdirSync(path.join(work, 'tree/a/b'), { recursive: true });
  writeFileSync(path.join(work, 'tree/a/b/ünï ☃ 100%'), 'names');
  writeFileSync(path.join(work, 'tree/empty'), '');
  writeFileSync(path.join(work, 'tree/big.bin'), randomBytes(BIG_BYTES));
  for (let i = 0; i < 100; i++) writeFileSync(path.join(work, `tree/a/${i}`), `file ${i}`);
}, 60_000);

afterAll(async () => {
  await cluster?.stopAndRemove();
  if (work) rmSync(work, { recursive: true, force: true });
});

describe.skipIf(!RCLONE)('rclone', () => {
  const remotes = (): string => {
    const { swift, keystone } = cluster.access;
    const v1 = [
      'auth_version = 1',
      `auth = ${swift.auth}`,
      `user = ${swift.user}`,
      `key = ${swift.key}`,
    ];
    const v3 = [
      'auth_version = 3',
      `auth = ${keystone.url}`,
      `user = ${keystone.user}`,
      `key = ${keystone.password}`,
      `tenant = ${keystone.project}`,
      `domain = ${keystone.domain}`,
      `tenant_domain = ${keystone.domain}`,
      `region = ${keystone.region}`,
    ];
    const section = (name: string, lines: string[]): string =>
      `[${name}]\ntype = swift\nchunk_size = 5M\n${lines.join('\n')}\n`;
    return section('v1', v1) + section('v3', v3);
  };

  const rclone = async (...args: string[]): Promise<string> => {
    const config = path.join(work, 'rclone.conf');
    writeFileSync(config, remotes());
    const outcome = await run('rclone', ['--config', config, ...args], { cwd: work });
    expect(outcome.code, `rclone ${args.join(' ')}: ${outcome.stderr}`).toBe(0);
    return outcome.stdout;
  };

  it.each(['v1', 'v3'])('by %s: copy, check, move, copy back, purge', async (remote) => {
    const there = `${remote}:rclone-${remote}`;
    await rclone('copy', 'tree', there);
    await rclone('check', 'tree', there);
    await rclone('moveto', `${there}/big.bin`, `${there}/moved/big.bin`);
    await rclone('copyto', `${there}/a/1`, `${there}/a/copy`);
    const back = path.join(work, `back-${remote}`);
    await rclone('copy', there, back);
    const expected = folderSums(path.join(work, 'tree'));
    expected.set('moved/big.bin', expected.get('big.bin')!);
    expected.delete('big.bin');
    expected.set('a/copy', expected.get('a/1')!);
    expect(folderSums(back)).toEqual(expected);
    await rclone('purge', there);
    expect(await rclone('lsf', `${remote}:`)).not.toContain(`rclone-${remote}/`);
  });
});

describe.skipIf(!OPENSTACK)('openstack', () => {
  const openstack = async (...args: string[]): Promise<string> => {
    const { keystone } = cluster.access;
    const env = {
      OS_AUTH_URL: keystone.url,
      OS_IDENTITY_API_VERSION: '3',
      OS_USERNAME: keystone.user,
      OS_PASSWORD: keystone.password,
      OS_PROJECT_NAME: keystone.project,
      OS_USER_DOMAIN_NAME: keystone.domain,
      OS_PROJECT_DOMAIN_NAME: keystone.domain,
      OS_REGION_NAME: keystone.region,
    };
    const outcome = await run('openstack', args, { cwd: work, env });
    expect(outcome.code, `openstack ${args.join(' ')}: ${outcome.stderr}`).toBe(0);
    return outcome.stdout;
  };

  it('makes a container, stores, shows, saves and deletes an object', async () => {
    await openstack('container', 'create', 'osc');
    await openstack('object', 'create', 'osc', 'tree/big.bin');
    const shown = JSON.parse(
      await openstack('object', 'show', '-f', 'json', 'osc', 'tree/big.bin'),
    );
    expect(Number(shown['content-length'])).toBe(BIG_BYTES);
    await openstack('object', 'save', 'osc', 'tree/big.bin', '--file', 'saved.bin');
    const saved = readFileSync(path.join(work, 'saved.bin'));
    expect(saved.equals(readFileSync(path.join(work, 'tree/big.bin')))).toBe(true);
    await openstack('container', 'set', '--property', 'Color=blue', 'osc');
    expect(await openstack('container', 'show', 'osc')).toContain("Color='blue'");
    await openstack('container', 'delete', '-r', 'osc');
    expect(JSON.parse(await openstack('container', 'list', '-f', 'json'))).not.toContainEqual({
      Name: 'osc',
    });
    const account = JSON.parse(await openstack('object', 'store', 'account', 'show', '-f', 'json'));
    expect(account['Account']).toMatch(/^AUTH_/);
  });
});
