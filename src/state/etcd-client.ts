/**
 * Calls to etcd's v3 JSON gateway, at whichever member answers. The gateway is part of etcd (3.4 and
 * later), so that no gRPC library is needed; its price is base64, some 30 % on small values.
 *
 * A member that is dead, slow or without leader is left for the next one. Reads are repeated until
 * the deadline. A write is repeated only when it surely was not taken: else its outcome is unknown
 * and the caller is told `state-unavailable`.
 */
import { assert } from '#base/assert.ts';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';

export interface EtcdOptions {
  /** `http://host:port` of each member's client port, the nearest first. */
  readonly endpoints: readonly string[];
  /** The platform's fetch, or one with client certificates. */
  readonly fetch: typeof globalThis.fetch;
  readonly attemptMs?: number;
  readonly deadlineMs?: number;
}

export type Repeat = 'safe' | 'unsafe';

const ATTEMPT_MS = 3000;
const DEADLINE_MS = 6000;
const PAUSE_MS = 100;
/** gRPC's codes, as the gateway gives them. */
const CODE = { invalidArgument: 3, notFound: 5, resourceExhausted: 8, outOfRange: 11 } as const;
/** What the kernel says when nothing was sent. */
const NOT_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN']);

export class EtcdClient {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #options: Required<EtcdOptions>;
  #preferred = 0;

  constructor(env: Pick<Env, 'clock' | 'log'>, options: EtcdOptions) {
    assert(options.endpoints.length > 0, 'etcd needs an endpoint');
    this.#env = env;
    this.#options = { attemptMs: ATTEMPT_MS, deadlineMs: DEADLINE_MS, ...options };
  }

  /** @throws OperatingError `state-unavailable`, `state-limit`, `no-lease` */
  async call(path: string, body: unknown, repeat: Repeat): Promise<unknown> {
    const { clock } = this.#env;
    const { endpoints, deadlineMs } = this.#options;
    const deadline = clock.monotonicMs() + deadlineMs;
    for (let attempt = 1; ; attempt++) {
      const index = this.#preferred;
      try {
        return await this.#attempt(endpoints[index]!, path, body);
      } catch (error) {
        if (error instanceof Refusal) throw error.reason;
        this.#leave(index, error);
        const again = repeat === 'safe' || wasNotSent(error);
        if (!again || clock.monotonicMs() >= deadline) throw unavailable(error);
        if (attempt % endpoints.length === 0) await clock.sleep(PAUSE_MS);
      }
    }
  }

  /** A response that goes on: the caller reads lines until it ends. */
  async stream(
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    const index = this.#preferred;
    try {
      const { fetch, endpoints, attemptMs } = this.#options;
      const attempt = new AbortController();
      const timer = this.#env.clock.setTimer(attemptMs, () => attempt.abort(new Error('too slow')));
      const either = AbortSignal.any([signal, attempt.signal]);
      const response = await fetch(`${endpoints[index]}${path}`, request(body, either));
      timer.cancel();
      if (response.status !== 200 || response.body === null) {
        throw new OperatingError('state-unavailable', `etcd answered ${response.status}`);
      }
      return response.body;
    } catch (error) {
      if (!signal.aborted) this.#leave(index, error);
      throw error;
    }
  }

  /** A stream broke: the member may be dead. */
  leaveMember(error: unknown): void {
    this.#leave(this.#preferred, error);
  }

  async #attempt(endpoint: string, path: string, body: unknown): Promise<unknown> {
    const abort = new AbortController();
    const tooSlow = () => abort.abort(new OperatingError('state-unavailable', 'etcd is too slow'));
    const timer = this.#env.clock.setTimer(this.#options.attemptMs, tooSlow);
    try {
      const response = await this.#options.fetch(`${endpoint}${path}`, request(body, abort.signal));
      const text = await response.text();
      if (response.status === 200) return parse(text);
      throw failure(response.status, text);
    } finally {
      timer.cancel();
    }
  }

  #leave(index: number, error: unknown): void {
    if (index !== this.#preferred) return;
    const { endpoints } = this.#options;
    this.#preferred = (index + 1) % endpoints.length;
    this.#env.log.debug('state.etcd-member-left', {
      endpoint: endpoints[index],
      error: messageOf(error),
    });
  }
}

/** An answer that another member would give too. */
class Refusal extends Error {
  readonly reason: OperatingError;

  constructor(reason: OperatingError) {
    super(reason.message);
    this.reason = reason;
  }
}

function request(body: unknown, signal: AbortSignal): RequestInit {
  const headers = { 'Content-Type': 'application/json' };
  return { method: 'POST', headers, body: JSON.stringify(body), signal };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new OperatingError('state-unavailable', 'etcd did not answer JSON', {}, { cause });
  }
}

function failure(status: number, text: string): Error {
  const body = parse(text) as { code?: unknown; message?: unknown; error?: unknown } | null;
  const message = String(body?.message ?? body?.error ?? status);
  switch (body?.code) {
    case CODE.notFound:
      return new Refusal(new OperatingError('no-lease', message));
    case CODE.invalidArgument:
    case CODE.outOfRange:
      return new Refusal(new OperatingError('state-limit', message));
    case CODE.resourceExhausted:
      return new Refusal(new OperatingError('state-unavailable', message));
    default:
      return new OperatingError('state-unavailable', message);
  }
}

function wasNotSent(error: unknown): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && NOT_SENT.has(String(cause.code))) return true;
    if (cause.message.includes('etcdserver: no leader')) return true;
    if (cause instanceof AggregateError && cause.errors.some(wasNotSent)) return true;
  }
  return false;
}

function unavailable(cause: unknown): OperatingError {
  if (cause instanceof OperatingError) return cause;
  return new OperatingError(
    'state-unavailable',
    `etcd cannot be reached: ${messageOf(cause)}`,
    {},
    { cause },
  );
}
