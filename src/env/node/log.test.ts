import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'anello-log-'));

afterAll(() => rmSync(folder, { recursive: true }));

/** A process that logs 3,000 lines to standard output and exits with 3. */
const CHATTY = `
  import { createNodeEnv } from ${JSON.stringify(new URL('./node-env.ts', import.meta.url).href)};
  const { log } = createNodeEnv({ logLevel: 'info' });
  for (let i = 0; i < 3000; i++) log.info('x.line', { i, text: 'x'.repeat(100) });
  process.exit(3);
`;

function runChatty() {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', CHATTY], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // `exit` may come before the last of its output.
  const exited = new Promise((resolve) => child.on('close', resolve));
  return { child, exited };
}

describe('log of node', () => {
  it('writes one JSON object per line, by level, without secrets', () => {
    const path = join(folder, 'log');
    const script = `
      import { createNodeEnv } from ${JSON.stringify(new URL('./node-env.ts', import.meta.url).href)};
      const options = { logLevel: 'info', logDestination: process.argv[1], facts: { node: 'n1' } };
      const { log } = createNodeEnv(options);
      log.debug('not.shown');
      log.info('user.created', { password: 'pw1', user: { token: 'pw2', name: 'demo' } });
      const cause = new Error('inner');
      log.with({ txn: 'tx1' }).error('disk.failed', { error: Object.assign(new Error('EIO: bad', { cause }), { code: 'EIO' }), big: 1n });
    `;
    execFileSync(process.execPath, ['--input-type=module-typescript', '-e', script, path]);
    const text = readFileSync(path, 'utf8');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([
      { level: 'info', node: 'n1', event: 'user.created', user: { name: 'demo' } },
      {
        level: 'error',
        event: 'disk.failed',
        txn: 'tx1',
        error: { code: 'EIO', message: 'EIO: bad', cause: 'inner' },
      },
    ]);
    expect(new Date(String(lines[0]!['time'])).getTime()).toBeGreaterThan(0);
    expect(text).not.toMatch(/pw1|pw2/);
  });

  it('every line is out when the process exits', async () => {
    const { child, exited } = runChatty();
    let text = '';
    child.stdout.on('data', (bytes) => {
      text += bytes;
    });
    expect(await exited).toBe(3);
    expect(text.trim().split('\n')).toHaveLength(3000);
  });

  it('a process whose reader has gone exits all the same', async () => {
    const { child, exited } = runChatty();
    child.stdout.destroy();
    expect(await exited).toBe(3);
  });
});
