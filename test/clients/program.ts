/** Running other people's programs in tests, and doing without those that are not installed. */
import { execFile, execFileSync } from 'node:child_process';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** False: not installed, and the tests that need it are skipped, saying so; in CI that is a failure. */
export function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    if (process.env['CI'] === 'true') throw new Error(`${program} is not installed`);
    console.warn(`${program} is not installed: its tests are skipped`);
    return false;
  }
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 600_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Resolves whatever the exit code is. Bytes of stdout are Latin-1, so that binary data survives. */
export function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const { input, cwd, env, timeoutMs = TIMEOUT_MS } = options;
  return new Promise((resolve) => {
    const child = execFile(
      program,
      [...args],
      {
        cwd,
        env: { ...process.env, ...env },
        timeout: timeoutMs,
        maxBuffer: MAX_OUTPUT,
        encoding: 'buffer',
      },
      (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : 1;
        resolve({ code, stdout: stdout.toString('latin1'), stderr: stderr.toString('utf8') });
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
}
