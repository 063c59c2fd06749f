/**
 * A background job: bounded steps with waits between them. Updater, expirer, rejoin, compaction and,
 * later, replicator and auditor are jobs; they differ only in what one step does.
 *
 * A step does a bounded piece of work and says how to go on; it never loops for ever and never
 * waits long itself, so that a stop is prompt and one busy job can't starve the others.
 */

export interface Job {
  /** Stable, dotted: `object.updater`. */
  readonly name: string;
  /** One bounded step. What it throws is logged, counted and followed by a growing wait. */
  step(signal: AbortSignal, rest?: Rest): Promise<StepResult>;
  /** What `anello status` shows of this job: small, plain values. */
  facts?(): Readonly<Record<string, string | number | boolean>>;
}

/**
 * For between the pieces of a step: resolves when the job's share of the time is kept for what it has worked
 * since the last one. A share that holds from step to step only is none to who asks during a step of a second.
 * Rejects when the job is to stop.
 */
export type Rest = () => Promise<void>;

export const noRest: Rest = async () => undefined;

/** `more`: there is more to do at once (throttled). `idle`: nothing to do for about `waitMs`. */
export type StepResult =
  | { readonly kind: 'more' }
  | { readonly kind: 'idle'; readonly waitMs: number };

export interface JobStatus {
  readonly name: string;
  readonly state: 'waiting' | 'working' | 'failing' | 'held' | 'stopped';
  readonly steps: number;
  readonly failures: number;
  readonly busyMs: number;
  readonly lastError: string | undefined;
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}
