/** The stores under test: a fresh Anello cluster, or the peer that BENCH_PEER brings. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { S3Keys } from './presigned.ts';
import { familyOf } from './procfs.ts';

export interface Store {
  readonly name: string;
  readonly url: URL;
  readonly account: string;
  readonly token: string;
  /** Absent: the peer has no S3. */
  readonly s3?: S3Keys;
  readonly pids: () => number[];
  /** Of `anello up`. */
  readonly folder?: string;
  stop(): Promise<void>;
}

const CLI = fileURLToPath(new URL('../../anello.js', import.meta.url));

export async function startAnello(
  basePort: number,
  options: readonly string[] = [],
): Promise<Store & { readonly folder: string }> {
  const folder = mkdtempSync(path.join(process.env['BENCH_DIR'] ?? tmpdir(), 'anello-bench-'));
  const args = ['up', '--data', folder, '--port', String(basePort), ...options];
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await untilHealthy(`http://127.0.0.1:${basePort}/healthcheck`, child);
  const access = JSON.parse(readFileSync(path.join(folder, 'access.json'), 'utf8'));
  const { accessKey, secretKey, region } = access.s3;
  const { token, storageUrl } = await login(access.swift.auth, access.swift.user, access.swift.key);
  return {
    name: 'anello',
    folder,
    url: storageUrl,
    account: storageUrl.pathname,
    token,
    s3: { access: accessKey, secret: secretKey, region },
    pids: () => familyOf([child.pid!]),
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** `folder` holds swift/up.sh, token.sh, down.sh: see the README of what BENCH_PEER points to. */
export function startSwift(folder: string, tuned: boolean): Store {
  const script = (name: string, ...args: string[]): string =>
    execFileSync('bash', [path.join(folder, 'swift', name), ...args], {
      encoding: 'utf8',
      env: { ...process.env, ...(tuned && { STORAGE_WORKERS: '0' }) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  script('up.sh', 'fresh');
  const runFolder = execFileSync(
    'bash',
    ['-c', `. ${path.join(folder, 'swift/env.sh')}; echo "$RUN"`],
    { encoding: 'utf8' },
  ).trim();
  return {
    name: tuned ? 'swift (tuned)' : 'swift',
    url: new URL('http://127.0.0.1:8085/v1/AUTH_test'),
    account: '/v1/AUTH_test',
    token: script('token.sh').trim(),
    pids: () =>
      familyOf(
        readdirSync(runFolder)
          .filter((name) => name.endsWith('.pid'))
          .map((name) => Number(readFileSync(path.join(runFolder, name), 'utf8'))),
      ),
    stop: async () => {
      script('down.sh');
    },
  };
}

async function untilHealthy(url: string, child: { exitCode: number | null }): Promise<void> {
  for (let attempt = 0; attempt < 150; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`the cluster ended with code ${child.exitCode}`);
    const ok = await fetch(url).then(
      (r) => r.ok,
      () => false,
    );
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${url} never answered`);
}

async function login(
  auth: string,
  user: string,
  key: string,
): Promise<{ token: string; storageUrl: URL }> {
  const response = await fetch(auth, { headers: { 'x-auth-user': user, 'x-auth-key': key } });
  const token = response.headers.get('x-auth-token');
  const storageUrl = response.headers.get('x-storage-url');
  if (token === null || storageUrl === null) throw new Error(`log-in answered ${response.status}`);
  return { token, storageUrl: new URL(storageUrl) };
}
