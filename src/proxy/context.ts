/** What the proxy's operations share: made once by createProxy, passed to each of them. */
import { OperatingError } from '#base/errors.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { Env } from '#env/env.ts';
import type { RowSender } from '#object/row-sender.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Operation } from './contract.ts';
import type { Encryption } from './encryption/encryption.ts';
import type { ProxyLimits } from './limits.ts';
import type { ProxyMetrics } from './metrics.ts';
import type { Peers } from './peers.ts';
import type { ReplicaCalls } from './replica-calls.ts';
import type { Trace, Tracer } from './trace.ts';
import type { Turns } from './turns.ts';

export interface ProxyContext {
  readonly env: Env;
  readonly cluster: ClusterSource;
  readonly self: { readonly node: string; readonly site: string };
  readonly clock: HybridClock;
  readonly limits: ProxyLimits;
  readonly calls: ReplicaCalls;
  readonly peers: Peers;
  readonly tracer: Tracer;
  readonly metrics: ProxyMetrics;
  readonly objectRows: RowSender;
  readonly containerRows: RowSender;
  readonly turns: Turns;
  readonly encryption: Encryption;
}

const WRITE_ID_BYTES = 8;

/** Equal in every retry of one write. */
export function newWriteId(env: Env): string {
  return env.random.bytes(WRITE_ID_BYTES).toString('hex');
}

export function nowSeconds(env: Env): number {
  return env.clock.wallMicros() / 1e6;
}

export function throwIfGone(operation: Operation): void {
  if (operation.signal.aborted) throw clientGone();
}

export function clientGone(cause?: unknown): OperatingError {
  return new OperatingError('client-gone', 'the client went away', {}, { cause });
}

export function unavailable(what: string, codes: readonly string[] = []): OperatingError {
  return new OperatingError('unavailable', `no majority of replicas: ${what}`, { codes });
}

/** Runs one operation with its trace and its measurement. */
export async function traced<Result>(
  context: ProxyContext,
  operation: Operation,
  name: string,
  path: string,
  work: (trace: Trace) => Promise<Result>,
  outcomeOf: (result: Result) => string = () => 'ok',
): Promise<Result> {
  const trace = context.tracer.begin(operation.txn, name, path);
  let outcome = 'internal';
  try {
    const result = await work(trace);
    outcome = outcomeOf(result);
    return result;
  } catch (error) {
    outcome = error instanceof OperatingError ? error.code : 'internal';
    throw error;
  } finally {
    trace.tookMs = context.env.clock.monotonicMs() - trace.startMs;
    trace.outcome = outcome;
    context.metrics.observe(name, outcome, trace.tookMs);
  }
}
