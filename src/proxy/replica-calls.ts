/**
 * Every call of the proxy to a replica goes through here: the deadline, what it teaches about the
 * peer (latency, failures) and the step in the operation's trace.
 */
import { codeOf } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { Caller, CallOptions, CallResult, WireError } from '#wire/contract.ts';
import type { Peers } from './peers.ts';
import type { Trace } from './trace.ts';

export interface ReplicaAddress {
  readonly device: number;
  readonly node: string;
}

export interface ReplicaCallOptions extends Omit<CallOptions, 'txn'> {
  readonly ringVersion: number;
}

export class ReplicaCalls {
  readonly #env: Env;
  readonly #caller: Caller;
  readonly #peers: Peers;

  constructor(env: Env, caller: Caller, peers: Peers) {
    this.#env = env;
    this.#caller = caller;
    this.#peers = peers;
  }

  /** @throws WireError */
  async call(
    trace: Trace,
    replica: ReplicaAddress,
    method: string,
    args: object,
    { ringVersion, ...options }: ReplicaCallOptions,
  ): Promise<CallResult> {
    const start = this.#env.clock.monotonicMs();
    const step = { node: replica.node, device: replica.device, call: method, ringVersion };
    const atMs = start - trace.startMs;
    try {
      const call = { txn: trace.txn, ...options };
      const reply = await this.#caller.call(replica.node, method, args, call);
      const tookMs = this.#env.clock.monotonicMs() - start;
      if (options.body === undefined) this.#peers.succeeded(replica, tookMs);
      trace.add({ ...step, atMs, tookMs, outcome: outcomeOf(reply.result) });
      return reply;
    } catch (error) {
      const code = failureCode(error);
      if (options.signal?.aborted !== true) this.#peers.failed(replica, code);
      const tookMs = this.#env.clock.monotonicMs() - start;
      trace.add({ ...step, atMs, tookMs, outcome: code });
      throw error;
    }
  }
}

/** The handler's own code where the handler failed, else the wire's. */
export function failureCode(error: unknown): string {
  const code = codeOf(error);
  return code === 'remote' ? ((error as WireError).remoteCode ?? code) : code;
}

function outcomeOf(result: unknown): string {
  if (typeof result === 'object' && result !== null && 'outcome' in result) {
    if (typeof result.outcome === 'string') return result.outcome;
  }
  return 'ok';
}
