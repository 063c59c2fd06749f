import { describe, expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { noRest, type Rest, type StepResult } from './job.ts';
import { JobRunner } from './runner.ts';

function setUp(
  step: (sleep: (ms: number) => Promise<void>, rest: Rest) => Promise<StepResult>,
  share?: number,
) {
  const world = new SimWorld({ seed: 1 });
  const { env } = world.machine('node');
  const job = {
    name: 'test.job',
    step: (_signal: AbortSignal, rest = noRest) => step((ms) => env.clock.sleep(ms), rest),
    facts: () => ({ done: 7 }),
  };
  return { world, runner: new JobRunner(env, job, share === undefined ? {} : { share }) };
}

describe('a job', () => {
  it('works no more than its share of the time', async () => {
    const { world, runner } = setUp(async (sleep) => {
      await sleep(10);
      return { kind: 'more' };
    }, 0.25);
    await world.runFor(4_000);
    const { steps, busyMs } = runner.status();
    expect(steps).toBeGreaterThan(90);
    expect(busyMs).toBeLessThanOrEqual(1_020);
  });

  it('keeps its share within a long step, where it rests between the pieces, and pays once', async () => {
    const worked: number[] = [];
    const { world, runner } = setUp(async (sleep, rest) => {
      for (let piece = 0; piece < 100; piece++) {
        await sleep(10);
        worked.push(world.machine('node').env.clock.monotonicMs());
        await rest();
      }
      return { kind: 'more' };
    }, 0.25);
    await world.runFor(8_000);
    // Timers of a machine are late now and then.
    const apart = worked.slice(1).map((atMs, i) => atMs - worked[i]!);
    expect(Math.min(...apart)).toBeGreaterThan(38);
    expect(Math.max(...apart)).toBeLessThan(60);
    expect(worked.length).toBeGreaterThan(150);
    expect(runner.status().busyMs).toBeLessThan(2_040);
  });

  it('that is to stop does not rest any more', async () => {
    let pieces = 0;
    const { world, runner } = setUp(async (sleep, rest) => {
      for (; ; pieces++) {
        await sleep(10);
        await rest();
      }
    }, 0.01);
    await world.runFor(500);
    await world.run(runner.stop());
    expect(pieces).toBe(0);
    expect(runner.status()).toMatchObject({ state: 'stopped', failures: 0 });
  });

  it('that is idle waits as long as it said, or until it is woken', async () => {
    const { world, runner } = setUp(async () => ({ kind: 'idle', waitMs: 60_000 }));
    await world.runFor(10_000);
    expect(runner.status().steps).toBe(1);
    runner.wake();
    await world.runFor(1);
    expect(runner.status().steps).toBe(2);
    await world.runFor(60_001);
    expect(runner.status()).toMatchObject({ steps: 3, state: 'waiting', facts: { done: 7 } });
  });

  it('that fails is tried again after growing waits, and says why', async () => {
    const { world, runner } = setUp(async () => {
      throw new Error('the disk is gone');
    });
    await world.runFor(20_000);
    const { failures, state, lastError } = runner.status();
    expect(failures).toBeGreaterThan(3);
    expect(failures).toBeLessThan(8);
    expect(state).toBe('failing');
    expect(lastError).toBe('the disk is gone');
  });

  it('that is held makes no step, woken or not, until that is over or taken back', async () => {
    const { world, runner } = setUp(async () => ({ kind: 'idle', waitMs: 1_000 }));
    await world.runFor(500);
    runner.hold(60_000);
    runner.wake();
    await world.runFor(59_000);
    runner.wake();
    await world.runFor(900);
    expect(runner.status()).toMatchObject({ steps: 1, state: 'held' });
    await world.runFor(200);
    expect(runner.status()).toMatchObject({ steps: 2, state: 'waiting' });
    runner.hold(60_000);
    runner.hold(0);
    await world.runFor(100);
    expect(runner.status().steps).toBe(3);
    runner.hold(60_000);
    await world.run(runner.stop());
    expect(runner.status().state).toBe('stopped');
  });

  it('stops when the step under way has ended', async () => {
    let ended = false;
    const { world, runner } = setUp(async (sleep) => {
      await sleep(100);
      ended = true;
      return { kind: 'more' };
    });
    await world.runFor(10);
    await world.run(runner.stop());
    expect(ended).toBe(true);
    expect(runner.status()).toMatchObject({ state: 'stopped', steps: 1 });
    await world.runFor(10_000);
    expect(runner.status().steps).toBe(1);
  });
});
