/** What the command of the simulator promises of itself. */
import { describe, expect, it } from 'vitest';
import { sim, simEndedEarly } from './seed-command.ts';

describe('npm run sim', () => {
  it('ends with 1, a summary and the command that replays a broken promise, event by event', {
    timeout: 600_000,
  }, async () => {
    const broken = ['--brief', '--mutant', 'acknowledge-on-a-minority', '--seeds', '40'];
    const { status, stdout, last } = await sim(...broken, '--verbose');
    expect(status).toBe(1);
    expect(last).toMatch(/^\d+ seeds, 1 broken promises, .* seeds\/s, .* simulated hours/);
    const told = /^ {2}npm run sim -- (--first-seed (\d+) .*)$/m.exec(stdout);
    const [command = '', seed] = told?.slice(1) ?? [];
    const trace = new RegExp(`^seed ${seed} [0-9a-f]{16} \\d+ events$`, 'm');
    const replayed = await sim(...command.split(' '));
    expect(replayed.status).toBe(1);
    expect(trace.exec(replayed.stdout)?.[0]).toBe(trace.exec(stdout)![0]);
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

  it('takes a seed that does not end for a broken promise, and goes on', {
    timeout: 300_000,
  }, async () => {
    const endless = ['--brief', '--seeds', '3', '--jobs', '2', '--limit', '0', '--keep-going'];
    const { status, stdout, last } = await sim(...endless);
    expect(last).toMatch(/^3 seeds, 3 broken promises/);
    expect(stdout.match(/promise "liveness" broken: the seed has not ended/g)).toHaveLength(3);
    expect(status).toBe(1);
  });

  it('ends after the seeds under way, with the totals so far, when its process group is told to', {
    timeout: 300_000,
  }, async () => {
    const { status, last } = await simEndedEarly(
      '--brief',
      '--seeds',
      '99',
      '--jobs',
      '2',
      '--verbose',
    );
    expect(last).toMatch(/^\d\d? seeds, 0 broken/);
    expect(Number.parseInt(last, 10)).toBeLessThan(99);
    expect(status).toBe(0);
  });
});
