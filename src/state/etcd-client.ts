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

export interface EtcdStream {
  readonly body: ReadableStream<Uint8Array>;
  /** To be called when it ends before its time: its member may be dead. */
  broke(error: unknown): void;
}

export type Repeat = 'safe' | 'unsafe';

const ATTEMPT_MS = 3000;
const DEADLINE_MS = 6000;
const PAUSE_MS = 100;
/** One key at most, the first of all: key \0 to the end. */
const ANY_KEY = { key: 'AA==', range_end: 'AA==', limit: '1', keys_only: true };
/** gRPC's codes, as the gateway gives them. */
const CODE = { invalidArgument: 3, notFound: 5, resourceExhausted: 8, outOfRange: 11 } as const;
/** What the kernel says when nothing was sent. */
const NOT_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN']);

export class EtcdClient {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #options: Required<EtcdOptions>;
  #preferred = 0;
  #answeredAtMs = 0;
  #asking: Promise<unknown> | undefined;
  /** Streams that are open, with the member that each comes from. */
  readonly #streams = new Map<AbortController, number>();

  constructor(env: Pick<Env, 'clock' | 'log'>, options: EtcdOptions) {
    assert(options.endpoints.length > 0, 'etcd needs an endpoint');
    this.#env = env;
    this.#options = { attemptMs: ATTEMPT_MS, deadlineMs: DEADLINE_MS, ...options };
  }

  /** Monotonic milliseconds when a call that was answered last had been sent. */
  get answeredAtMs(): number {
    return this.#answeredAtMs;
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

  /** Whether the store is there; `answeredAtMs` says when. Those who ask at once ask together. */
  ask(): Promise<unknown> {
    this.#asking ??= this.call('/v3/kv/range', ANY_KEY, 'safe').finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  /** A response that goes on: the caller reads lines until it ends. */
  async stream(path: string, body: unknown, signal: AbortSignal): Promise<EtcdStream> {
    const { fetch, endpoints, attemptMs } = this.#options;
    const index = this.#preferred;
    const left = new AbortController();
    this.#streams.set(left, index);
    signal.addEventListener('abort', () => this.#streams.delete(left), { once: true });
    const timer = this.#env.clock.setTimer(attemptMs, () => left.abort(new Error('too slow')));
    try {
      const either = AbortSignal.any([signal, left.signal]);
      const response = await fetch(`${endpoints[index]}${path}`, request(body, either));
      if (response.status !== 200 || response.body === null) {
        throw new OperatingError('state-unavailable', `etcd answered ${response.status}`);
      }
      const broke = (error: unknown): void => {
        this.#streams.delete(left);
        this.#leave(index, error);
      };
      return { body: response.body, broke };
    } catch (error) {
      this.#streams.delete(left);
      if (!signal.aborted) this.#leave(index, error);
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async #attempt(endpoint: string, path: string, body: unknown): Promise<unknown> {
    const abort = new AbortController();
    const tooSlow = () => abort.abort(new OperatingError('state-unavailable', 'etcd is too slow'));
    const timer = this.#env.clock.setTimer(this.#options.attemptMs, tooSlow);
    const sentAtMs = this.#env.clock.monotonicMs();
    try {
      const response = await this.#options.fetch(`${endpoint}${path}`, request(body, abort.signal));
      const text = await response.text();
      if (response.status === 200) {
        this.#answeredAtMs = Math.max(this.#answeredAtMs, sentAtMs);
        return parse(text);
      }
      throw failure(response.status, text);
    } finally {
      timer.cancel();
    }
  }

  #leave(index: number, error: unknown): void {
    if (index !== this.#preferred) return;
    const { endpoints } = this.#options;
    this.#preferred = (index + 1) % endpoints.length;
    // A member that hangs says nothing on its streams either, without breaking them.
    for (const [stream, from] of this.#streams) {
      if (from !== index) continue;
      this.#streams.delete(stream);
      stream.abort(new OperatingError('state-unavailable', 'its member was left'));
    }
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
