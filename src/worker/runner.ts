/**
 * Runs one job for the life of a process: step, wait, step. The throttle keeps a busy job below a
 * share of the time: after a step of d milliseconds it waits at least d * (1 / share - 1), so that
 * what clients ask for comes first even when there is a backlog of a million entries.
 */
import { messageOf } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { Job, JobStatus, StepResult } from './job.ts';

export interface RunnerOptions {
  /** Largest share of the time that the job may work, 0 < share <= 1; asked after each step. */
  readonly share?: number | (() => number);
  /** Wait before the first step, so that jobs of one process don't start together. */
  readonly startMs?: number;
}

const DEFAULT_SHARE = 0.25;
const FIRST_FAILURE_WAIT_MS = 500;
const MAX_FAILURE_WAIT_MS = 60_000;

export class JobRunner {
  readonly #env: Env;
  readonly #job: Job;
  readonly #share: () => number;
  readonly #stopped = new AbortController();
  #wake = new AbortController();
  #state: JobStatus['state'] = 'waiting';
  #steps = 0;
  #failures = 0;
  #failuresInRow = 0;
  #busyMs = 0;
  #lastError: string | undefined;
  #heldUntilMs = Number.NEGATIVE_INFINITY;
  #finished: Promise<void>;

  constructor(env: Env, job: Job, options: RunnerOptions = {}) {
    this.#env = env;
    this.#job = job;
    const { share = DEFAULT_SHARE } = options;
    const asked = typeof share === 'number' ? () => share : share;
    this.#share = () => Math.min(1, Math.max(0.01, asked()));
    this.#finished = this.#run(options.startMs ?? 0);
  }

  get name(): string {
    return this.#job.name;
  }

  status(): JobStatus {
    return {
      name: this.#job.name,
      state: this.#state,
      steps: this.#steps,
      failures: this.#failures,
      busyMs: Math.round(this.#busyMs),
      lastError: this.#lastError,
      facts: this.#job.facts?.() ?? {},
    };
  }

  /** Ends the present wait: something happened that the job should look at. */
  wake(): void {
    this.#wake.abort();
  }

  /** No step begins for so long, woken or not; 0: the next one begins at once. */
  hold(ms: number): void {
    this.#heldUntilMs = this.#env.clock.monotonicMs() + ms;
    this.wake();
  }

  /** Resolves when the step under way has ended. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake.abort();
    await this.#finished;
  }

  async #run(startMs: number): Promise<void> {
    await this.#wait(startMs);
    await this.#whileHeld();
    while (!this.#stopped.signal.aborted) {
      await this.#wait(await this.#stepOnce());
      await this.#whileHeld();
    }
    this.#state = 'stopped';
  }

  async #whileHeld(): Promise<void> {
    const leftMs = (): number => this.#heldUntilMs - this.#env.clock.monotonicMs();
    while (leftMs() > 0 && !this.#stopped.signal.aborted) {
      this.#state = 'held';
      await this.#wait(leftMs());
    }
  }

  /** How long to wait before the next step. */
  async #stepOnce(): Promise<number> {
    let start = this.#env.clock.monotonicMs();
    this.#state = 'working';
    let result: StepResult | undefined;
    const rest = async (): Promise<void> => {
      const { clock } = this.#env;
      await clock.sleep(this.#pauseMs(this.#worked(start)), this.#stopped.signal);
      start = clock.monotonicMs();
    };
    try {
      result = await this.#job.step(this.#stopped.signal, rest);
      this.#failuresInRow = 0;
      this.#lastError = undefined;
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#failed(error);
    }
    const tookMs = this.#worked(start);
    this.#steps++;
    this.#state = result === undefined ? 'failing' : 'waiting';
    if (result === undefined) return this.#failureWaitMs();
    return result.kind === 'idle' ? result.waitMs : this.#pauseMs(tookMs);
  }

  /** How long it has worked since then. */
  #worked(sinceMs: number): number {
    const tookMs = this.#env.clock.monotonicMs() - sinceMs;
    this.#busyMs += tookMs;
    return tookMs;
  }

  #pauseMs(workedMs: number): number {
    return workedMs * (1 / this.#share() - 1);
  }

  #failed(error: unknown): void {
    this.#failures++;
    this.#failuresInRow++;
    this.#lastError = messageOf(error);
    this.#env.log.warn('job.failed', { job: this.#job.name, error: this.#lastError });
  }

  #failureWaitMs(): number {
    const doubled = FIRST_FAILURE_WAIT_MS * 2 ** Math.min(this.#failuresInRow - 1, 16);
    return Math.min(MAX_FAILURE_WAIT_MS, doubled) * (0.75 + this.#env.random.float() / 2);
  }

  async #wait(ms: number): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    if (this.#wake.signal.aborted) this.#wake = new AbortController();
    try {
      await this.#env.clock.sleep(ms, this.#wake.signal);
    } catch (error) {
      if (!this.#wake.signal.aborted) throw error;
    }
  }
}
