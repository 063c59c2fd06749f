/**
 * The guide's blocks marked `run`, as they stand and in their order, in the folder of a cluster; the
 * programs that it renders files for take them; the metrics that it explains are there.
 */
import { execFile, spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  commandsOf,
  GUIDE_FILE,
  type GuideBlock,
  guideBlocks,
} from '../../tools/deploy/guide-blocks.ts';
import { CLI, Cluster } from './cluster.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const BLOCK_MS = 180_000;
/** What renders and what is rendered, in one folder. */
const CHECKERS = ['haproxy -c', 'nft -c', 'systemd-analyze verify', 'promtool check'];
const folder = mkdtempSync(path.join(tmpdir(), 'anello-guide-'));
const blocks = guideBlocks();
let cluster: Cluster;
let environment: NodeJS.ProcessEnv;

beforeAll(async () => {
  cluster = await Cluster.start();
  mkdirSync(path.join(folder, 'bin'));
  const command = path.join(folder, 'bin/anello');
  writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`);
  chmodSync(command, 0o755);
  symlinkSync(cluster.folder, path.join(folder, 'data'));
  symlinkSync(path.join(ROOT, 'rings'), path.join(folder, 'rings'));
  const { ANELLO_OPERATOR: _, ...rest } = process.env;
  environment = {
    ...rest,
    PATH: `${path.join(folder, 'bin')}:${process.env['PATH']}`,
    XDG_STATE_HOME: folder,
    PHOTO: await uploadPhoto(),
  };
});

afterAll(async () => {
  await cluster?.stopAndRemove();
  rmSync(folder, { recursive: true, force: true });
});

/** Its URL: what an operator would ask about. */
async function uploadPhoto(): Promise<string> {
  const { token, url } = await cluster.login();
  const put = (name: string, body?: string) => {
    const headers = { 'x-auth-token': token };
    return fetch(`${url}/${name}`, { method: 'PUT', headers, ...(body !== undefined && { body }) });
  };
  expect((await put('photos')).status).toBe(201);
  expect((await put('photos/cat.jpg', 'not really a cat')).status).toBe(201);
  return `${url}/photos/cat.jpg`;
}

function bash(text: string): Promise<{ code: number; out: string }> {
  const args = ['-e', '-o', 'pipefail', '-c', text];
  const options = { cwd: folder, env: environment, timeout: BLOCK_MS, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((resolve) => {
    execFile('bash', args, options, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: out + err });
    });
  });
}

function has(program: string): boolean {
  const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
  if (!found && process.env['CI'] !== 'true') console.warn(`${program} is not installed: skipped`);
  return found || process.env['CI'] === 'true';
}

/** The program has nothing against the text; what this machine lacks is another matter. */
function isTaken(command: string, { code, out }: { code: number; out: string }): boolean {
  if (code === 0) return true;
  if (command.startsWith('nft '))
    return /not permitted|cache init/i.test(out) && !/syntax error/i.test(out);
  if (!command.startsWith('systemd-analyze')) return false;
  const complaints = out.split('\n').filter((line) => line.includes('anello.service'));
  return complaints.every((line) => line.includes('is not executable'));
}

describe('the guide on a running cluster', () => {
  const runs = blocks.filter(({ mark }) => mark === 'sh run');

  it.each(runs.map((block): [number, GuideBlock] => [block.line, block]))(
    'line %i does what it says',
    async (_line, block) => {
      const { code, out } = await bash(block.text);
      expect(`${code}\n${code === 0 ? '' : `${block.text}\n${out}`}`).toBe('0\n');
    },
    BLOCK_MS,
  );

  const checks = blocks
    .filter(({ mark }) => mark === 'sh check')
    .flatMap(commandsOf)
    .filter((line) => CHECKERS.some((start) => line.startsWith(start)) && !line.includes('/etc/'));

  it.each(checks.map((line) => [line]))(
    '%s: takes what was rendered',
    async (line) => {
      if (!has(line.split(' ')[0]!)) return;
      const result = await bash(line);
      expect(isTaken(line, result) ? '' : result.out).toBe('');
    },
    BLOCK_MS,
  );

  it('explains metrics that there are', async () => {
    const names = [...readFileSync(GUIDE_FILE, 'utf8').matchAll(/`(anello_[a-z_]+)`/g)];
    expect(names.length).toBeGreaterThan(10);
    const texts = cluster.nodes.map(async ({ ports }) =>
      (await fetch(`http://127.0.0.1:${ports.admin}/metrics`)).text(),
    );
    const all = (await Promise.all(texts)).join('\n');
    const missing = names
      .map(([, name]) => name!)
      .filter((name) => !all.includes(`# TYPE ${name} `));
    expect(missing).toEqual([]);
  });

  it('leaves a change of part power and a changed document behind, in force everywhere', async () => {
    const status = await bash('anello ring status --json');
    expect(JSON.parse(status.out)).toMatchObject({ inForceEverywhere: true });
    const rings = JSON.parse((await bash('anello ring show --json')).out) as {
      rings: { settings: { partPower: number } }[];
    };
    expect(rings.rings.every(({ settings }) => settings.partPower === 11)).toBe(true);
    const { code, out } = await bash('anello config show --json');
    expect(code).toBe(0);
    expect(JSON.parse(out).links).toMatchObject([{ between: ['bari', 'lngs'], rttMs: 12 }]);
  });
});
