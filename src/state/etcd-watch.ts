/**
 * One watch on etcd: a response of the gateway that never ends, one JSON object per line. It is
 * begun anew, from the revision after the last one delivered, when it breaks, and every RENEW_MS
 * even when it seems well: a connection that died silently would else be waited on for ever. Nothing
 * is lost or repeated by that.
 */
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { EtcdClient, EtcdStream } from './etcd-client.ts';
import { checked, decodeEvent, encodeBounds, watchResponse } from './etcd-codec.ts';
import type { KeyRange, Revision, Watch, WatchListener } from './state.ts';

const RENEW_MS = 30_000;
const RETRY_MS = 200;
const MAX_RETRY_MS = 3000;
/** How often the store is asked whether it is there, while the watch is silent. */
const ASK_MS = 2000;
const MAX_LINE_BYTES = 64 * 1024 * 1024;

export class EtcdWatch implements Watch {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #client: EtcdClient;
  readonly #range: KeyRange;
  readonly #listener: WatchListener;
  readonly #closing = new AbortController();
  #next: Revision;
  #heardAtMs: number;
  #delivered = 0;

  constructor(
    env: Pick<Env, 'clock' | 'log'>,
    client: EtcdClient,
    range: KeyRange,
    fromRevision: Revision,
    listener: WatchListener,
  ) {
    this.#env = env;
    this.#client = client;
    this.#range = range;
    this.#next = fromRevision;
    this.#listener = listener;
    this.#heardAtMs = env.clock.monotonicMs();
    this.#run().catch((error: unknown) => this.#ended(error));
    this.#ask().catch((error: unknown) => this.#ended(error));
  }

  heardAtMs(): number {
    return Math.max(this.#heardAtMs, this.#client.answeredAtMs);
  }

  close(): void {
    this.#closing.abort(new Error('the watch was closed'));
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let retryMs = RETRY_MS;
    while (!signal.aborted) {
      const before = this.#delivered;
      try {
        await this.#follow();
        retryMs = RETRY_MS;
      } catch (error) {
        if (signal.aborted) return;
        this.#listener.onTrouble?.(error instanceof Error ? error : new Error(messageOf(error)));
        if (this.#delivered > before) retryMs = RETRY_MS;
        await this.#env.clock.sleep(retryMs, signal);
        retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
      }
    }
  }

  /** One response, until it ends, breaks, or its time is over. */
  async #follow(): Promise<void> {
    const renewal = new AbortController();
    const timer = this.#env.clock.setTimer(RENEW_MS, () => renewal.abort());
    const signal = AbortSignal.any([this.#closing.signal, renewal.signal]);
    const create = {
      ...encodeBounds(this.#range),
      start_revision: String(this.#next),
      progress_notify: true,
    };
    try {
      const stream = await this.#client.stream('/v3/watch', { create_request: create }, signal);
      await this.#read(stream, signal);
    } catch (error) {
      if (!renewal.signal.aborted) throw error;
    } finally {
      timer.cancel();
    }
  }

  async #read({ body, broke }: EtcdStream, signal: AbortSignal): Promise<void> {
    try {
      for await (const line of linesOf(body)) this.#take(line);
    } catch (error) {
      if (!signal.aborted) broke(error);
      throw error;
    }
  }

  #take(line: string): void {
    if (this.#closing.signal.aborted) return;
    const { result } = checked(watchResponse, JSON.parse(line));
    this.#heardAtMs = this.#env.clock.monotonicMs();
    if (result.compact_revision > 0) {
      this.close();
      this.#listener.onCompacted(result.compact_revision);
      return;
    }
    if (result.canceled) throw new OperatingError('state-unavailable', result.cancel_reason);
    const events = result.events.filter(({ kv }) => kv.mod_revision >= this.#next).map(decodeEvent);
    const last = result.events.at(-1)?.kv.mod_revision;
    if (last !== undefined) this.#next = Math.max(this.#next, last + 1);
    if (events.length === 0) return;
    this.#delivered += 1;
    this.#listener.onEvents(events, this.#next - 1);
  }

  /** etcd is silent for minutes when nothing changes; whether it is there must be asked. */
  async #ask(): Promise<void> {
    const { clock } = this.#env;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await clock.sleep(ASK_MS, signal);
      const askedAtMs = clock.monotonicMs();
      if (askedAtMs - this.heardAtMs() < ASK_MS) continue;
      try {
        await this.#client.ask();
      } catch (error) {
        this.#env.log.debug('state.etcd-silent', { error: messageOf(error) });
      }
    }
  }

  #ended(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.#env.log.error('state.watch-failed', { error: messageOf(error) });
  }
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const pieces = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = pieces.pop() ?? '';
    if (rest.length > MAX_LINE_BYTES) {
      throw new OperatingError('state-unavailable', 'etcd sent a line without end');
    }
    for (const line of pieces) if (line !== '') yield line;
  }
  if (rest !== '') yield rest;
}
