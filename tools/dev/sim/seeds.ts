/**
 * Runs seeds in order, in this process or in several: each worker is this program again, is given one
 * seed at a time, and gives back its result.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RunOptions, RunResult } from '../../../test/sim/run.ts';

export interface SeedRange {
  readonly first: number;
  readonly count: number;
}

/** Says whether to go on. */
export type OnResult = (result: RunResult) => boolean;

/** A mutant's file must not have been loaded before it was broken, so the simulator is imported late. */
async function simulator() {
  const { runSeed } = await import('../../../test/sim/run.ts');
  const { runRoundsSeed } = await import('../../../test/sim/rounds-run.ts');
  return (seed: number, options: RunOptions): Promise<RunResult> =>
    options.rounds === true ? runRoundsSeed(seed, options) : runSeed(seed, options);
}

export async function runHere(
  { first, count }: SeedRange,
  options: RunOptions,
  onResult: OnResult,
): Promise<void> {
  const runSeed = await simulator();
  for (let i = 0; i < count; i++) {
    if (!onResult(await runSeed(first + i, options))) return;
  }
}

export interface Processes {
  readonly jobs: number;
  /** Real time that a seed may take. */
  readonly limitSeconds: number;
}

export async function runInProcesses(
  { jobs, limitSeconds }: Processes,
  { first, count }: SeedRange,
  options: RunOptions,
  onResult: OnResult,
): Promise<void> {
  let next = 0;
  let isOver = false;
  const take = (): number | undefined => (isOver || next >= count ? undefined : first + next++);
  const worker = async (): Promise<void> => {
    let child = startWorker();
    try {
      for (let seed = take(); seed !== undefined; seed = take()) {
        const result = await ask(child, { seed, options }, limitSeconds);
        if (result === undefined) child = startWorker();
        if (!onResult(result ?? endless(seed, limitSeconds))) isOver = true;
      }
    } finally {
      if (child.connected) child.disconnect();
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

/** A large young generation: nearly all that a seed allocates dies with it. */
function startWorker(): ChildProcess {
  const file = fileURLToPath(import.meta.url);
  return fork(file, ['worker'], { execArgv: ['--max-semi-space-size=32'] });
}

interface Order {
  readonly seed: number;
  readonly options: RunOptions;
}

/** Undefined: it took too long, and its process was ended. */
function ask(
  child: ChildProcess,
  order: Order,
  limitSeconds: number,
): Promise<RunResult | undefined> {
  return new Promise((resolve, reject) => {
    let isTooLong = false;
    const limit = setTimeout(() => {
      isTooLong = true;
      child.kill('SIGKILL');
    }, 1000 * limitSeconds);
    const ended = (code: number | null): void => {
      clearTimeout(limit);
      if (isTooLong) resolve(undefined);
      else reject(new Error(`the worker of seed ${order.seed} ended with ${code}`));
    };
    child.once('exit', ended);
    child.once('message', (result) => {
      clearTimeout(limit);
      child.off('exit', ended);
      resolve(result as RunResult);
    });
    child.send(order);
  });
}

/** A loop in which no virtual time passes: it holds a real process up for ever. */
function endless(seed: number, limitSeconds: number): RunResult {
  const promise = 'liveness';
  const message = `promise "${promise}" broken: the seed has not ended within ${limitSeconds} s`;
  const nothing = { virtualMs: 0, events: 0, operations: {}, faults: {}, orphans: 0 };
  return { seed, traceHash: '', ...nothing, failure: { promise, message, report: '' } };
}

if (process.argv[2] === 'worker' && process.send !== undefined) {
  const runSeed = await simulator();
  // Ctrl-C, and the end of a time limit, reach the whole group; who asks for seeds says when it is over.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
  process.on('message', (message) => {
    const { seed, options } = message as Order;
    void runSeed(seed, options).then((result) => process.send!(result));
  });
}
