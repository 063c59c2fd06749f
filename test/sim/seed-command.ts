/** `npm run sim` as somebody types it, in a process of its own, for tests. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const TOOL = fileURLToPath(new URL('../../tools/dev/sim.ts', import.meta.url));
/** Nearly all that a seed allocates dies with it: a fifth of the time. */
const YOUNG = '--max-semi-space-size=32';

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly last: string;
}

export function sim(...args: readonly string[]): Promise<Ended> {
  return ended(start(args));
}

/** Its whole process group is told to end as soon as it has printed something, as by a time limit. */
export function simEndedEarly(...args: readonly string[]): Promise<Ended> {
  const child = start(args, true);
  child.stdout.once('data', () => process.kill(-child.pid!, 'SIGTERM'));
  return ended(child);
}

function start(args: readonly string[], detached = false) {
  const all = [YOUNG, TOOL, ...args];
  return spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'ignore'], detached });
}

function ended(child: ReturnType<typeof start>): Promise<Ended> {
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  return new Promise((resolve) => {
    child.on('close', (status) => {
      resolve({ status, stdout, last: stdout.trimEnd().split('\n').at(-1) ?? '' });
    });
  });
}

/** Brief seeds, of 0.4 CPU seconds each. @throws what was broken, with the commands that replay it */
export async function expectKept(firstSeed: number, seeds: number): Promise<void> {
  const range = ['--first-seed', String(firstSeed), '--seeds', String(seeds)];
  const { status, stdout, last } = await sim('--brief', ...range, '--keep-going');
  console.log(last);
  if (status !== 0 || !last.startsWith(`${seeds} seeds, 0 broken promises, `)) {
    throw new Error(`ended with ${status}:\n${stdout}`);
  }
}
