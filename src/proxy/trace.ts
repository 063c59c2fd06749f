/**
 * What recent operations did, for `anello trace TXID`: which nodes, by which ring version, how long
 * each step took. Kept in memory, a bounded number of operations, the oldest forgotten first; it is
 * always on, so it must cost next to nothing: a step is one small object.
 */
import type { Env } from '#env/env.ts';

export interface TraceStep {
  /** Milliseconds after the operation began. */
  readonly atMs: number;
  readonly tookMs: number;
  readonly node: string;
  readonly device: number;
  readonly call: string;
  readonly ringVersion: number;
  /** `stored`, `superseded`, `ok`, or the code of the failure. */
  readonly outcome: string;
}

export interface TracedOperation {
  readonly txn: string;
  readonly operation: string;
  readonly path: string;
  /** Unix milliseconds. */
  readonly startedAt: number;
  readonly tookMs: number | null;
  readonly outcome: string | null;
  readonly steps: readonly TraceStep[];
}

const MAX_STEPS = 64;

export class Trace {
  readonly txn: string;
  readonly operation: string;
  readonly path: string;
  readonly startedAt: number;
  readonly startMs: number;
  readonly steps: TraceStep[] = [];
  tookMs: number | null = null;
  outcome: string | null = null;

  constructor(txn: string, operation: string, path: string, startedAt: number, startMs: number) {
    this.txn = txn;
    this.operation = operation;
    this.path = path;
    this.startedAt = startedAt;
    this.startMs = startMs;
  }

  add(step: TraceStep): void {
    if (this.steps.length < MAX_STEPS) this.steps.push(step);
  }
}

export class Tracer {
  readonly #env: Env;
  readonly #ring: (Trace | undefined)[];
  #next = 0;

  constructor(env: Env, operations: number) {
    this.#env = env;
    this.#ring = new Array(operations).fill(undefined);
  }

  begin(txn: string, operation: string, path: string): Trace {
    const { clock } = this.#env;
    const trace = new Trace(txn, operation, path, clock.wallMicros() / 1000, clock.monotonicMs());
    this.#ring[this.#next] = trace;
    this.#next = (this.#next + 1) % this.#ring.length;
    return trace;
  }

  /** Operations of a transaction, oldest first (one request may do several). */
  find(txn: string): TracedOperation[] {
    return this.#recent()
      .filter((trace) => trace.txn === txn)
      .map(shown);
  }

  /** The newest operations, newest first. */
  latest(limit: number): TracedOperation[] {
    return this.#recent().reverse().slice(0, limit).map(shown);
  }

  #recent(): Trace[] {
    const inOrder = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
    return inOrder.filter((trace) => trace !== undefined);
  }
}

function shown(trace: Trace): TracedOperation {
  const { txn, operation, path, startedAt, tookMs, outcome, steps } = trace;
  return { txn, operation, path, startedAt, tookMs, outcome, steps };
}
