/**
 * SQLite's integrity check on a thread of its own: it reads the whole file, so neither the event loop
 * nor the checkpoints may wait for it. It runs once in an audit cycle, so the thread does not stay.
 */
import { Worker } from 'node:worker_threads';
import { OperatingError } from '#base/errors.ts';

const WORKER = new URL('./verify-worker.js', import.meta.url);
/** A thread that hits its limit ends the whole process (seen once, at its start, with a quarter of this); unused room costs nothing. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4, stackSizeMb: 1 };

interface Verdict {
  readonly problem?: string;
  readonly error?: string;
  readonly code?: string;
}

/** Undefined: nothing is wrong. @throws OperatingError with SQLite's code where it could not look */
export function verifyDatabase(path: string): Promise<string | undefined> {
  const options = { workerData: { path }, resourceLimits: RESOURCE_LIMITS, execArgv: [] };
  const worker = new Worker(WORKER, options);
  return new Promise((resolve, reject) => {
    worker.once('message', ({ problem, error, code }: Verdict) => {
      if (error === undefined) resolve(problem);
      else reject(new OperatingError(code ?? 'internal', error, { path }));
    });
    worker.once('error', reject);
    // After a message this changes nothing any more.
    worker.once('exit', () => reject(new OperatingError('internal', 'the check ended', { path })));
  });
}
