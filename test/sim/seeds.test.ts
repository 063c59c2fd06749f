/** Seeds of the simulator as `npm run sim` runs them, and what the command promises of itself. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** Brief ones, of about 0.4 CPU seconds each; `npm run test:long` has more. */
const SEEDS = 120;
const FIRST_SEED = 1_000;
const TOOL = fileURLToPath(new URL('../../tools/dev/sim.ts', import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly last: string;
}

function sim(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [TOOL, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
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

describe('npm run sim', () => {
  it(`finds no broken promise in ${SEEDS} seeds`, { timeout: 900_000 }, async () => {
    const range = ['--first-seed', String(FIRST_SEED), '--seeds', String(SEEDS)];
    const { status, stdout, last } = await sim('--brief', ...range, '--jobs', '2', '--keep-going');
    console.log(last);
    expect(last, stdout).toMatch(new RegExp(`^${SEEDS} seeds, 0 broken promises, `));
    expect(status).toBe(0);
  });

  it('ends with 1, a summary and the command that replays it when a promise is broken', {
    timeout: 600_000,
  }, async () => {
    const { status, stdout, last } = await sim(
      '--brief',
      '--mutant',
      'acknowledge-on-a-minority',
      '--seeds',
      '40',
    );
    expect(status).toBe(1);
    expect(last).toMatch(/^\d+ seeds, 1 broken promises, .* seeds\/s, .* simulated hours/);
    expect(stdout).toMatch(
      /^ {2}npm run sim -- --first-seed \d+ --seeds 1 --verbose --brief --mutant acknow/m,
    );
  });

  it('takes any first seed up to 2^53-1000, and refuses what makes no sense', {
    timeout: 300_000,
  }, async () => {
    const last = String(2 ** 53 - 1_000);
    expect((await sim('--brief', '--first-seed', last, '--seeds', '1')).last).toMatch(
      /^1 seeds, 0 broken/,
    );
    const wrong = [
      ['--first-seed', String(2 ** 53 - 999)],
      ['--first-seed', '-1'],
      ['--seeds', '1.5'],
      ['--first-seed', last, '--seeds', '1001'],
      ['--faults', 'meteor'],
      ['--no-such-option'],
    ];
    for (const args of wrong)
      expect(await sim(...args), args.join(' ')).toMatchObject({ status: 2 });
  });
});
