/**
 * The bytes of one version of an object, from whichever replica has it. A replica that fails, or that
 * gives nothing for a while, is left for another one at the same byte; every request is pinned
 * to the body's version, so bytes of two versions are never mixed. When nobody has the rest, the download
 * breaks off.
 */
import { bodyVersion, type DataPart } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { ReadArgs, ReadReply } from '#object/calls.ts';
import type { BodyReader } from '#wire/contract.ts';
import type { ProxyContext } from './context.ts';
import { clientGone } from './context.ts';
import type { Operation } from './contract.ts';
import { addressOf, type Place, type Replica } from './placement.ts';
import type { Trace } from './trace.ts';

export interface DownloadOptions {
  readonly context: ProxyContext;
  readonly operation: Operation;
  readonly trace: Trace;
  readonly place: Place;
  readonly data: DataPart;
  /** Known to have the body, nearest first; then the rest is tried. */
  readonly sources: readonly Replica[];
}

/** Stand-ins that may have a body. */
export const HANDOFFS = 6;
/** How often one replica may be tried in one download, and how many replicas fail in a row. */
const MAX_TRIES = 12;

export class Download {
  readonly #options: DownloadOptions;
  /** Whom to try, best first; who fails goes to the end. */
  #candidates: Replica[];

  constructor(options: DownloadOptions) {
    this.#options = options;
    this.#candidates = candidates(options);
  }

  async *read(start: number, end: number): AsyncGenerator<Buffer> {
    let position = start;
    let failures = 0;
    while (position < end) {
      const before = position;
      const replica = this.#candidates[0];
      if (replica === undefined || failures >= MAX_TRIES) throw exhausted(this.#options.place.path);
      try {
        const patienceMs = this.#patienceMs(failures);
        for await (const chunk of this.#from(replica, position, end, patienceMs)) {
          position += chunk.length;
          yield chunk;
        }
        if (position < end) throw new OperatingError('short-body', 'the replica stopped early');
      } catch (error) {
        if (this.#options.operation.signal.aborted) throw clientGone(error);
        this.#leave(replica, error, position);
        failures = position > before ? 1 : failures + 1;
      }
    }
  }

  /** Doubled each time that all have been tried: where all are slow, leaving one makes none faster. */
  #patienceMs(failures: number): number {
    const rounds = Math.floor(failures / this.#candidates.length);
    return this.#options.context.limits.stallMs * 2 ** rounds;
  }

  async *#from(
    replica: Replica,
    start: number,
    end: number,
    patienceMs: number,
  ): AsyncGenerator<Buffer> {
    const { context, operation } = this.#options;
    const body = await this.#open(replica, start, end);
    if (body === undefined) throw new OperatingError('no-body', 'the replica has not this version');
    const stalled = new Stall(context, body, patienceMs);
    let left = end - start;
    const onAbort = (): void => body.cancel('the client left');
    operation.signal.addEventListener('abort', onAbort, { once: true });
    try {
      stalled.waiting();
      for await (const chunk of body) {
        stalled.stop();
        if (chunk.length > left) throw new OperatingError('long-body', 'more than was asked for');
        left -= chunk.length;
        yield chunk;
        if (left === 0) break;
        stalled.waiting();
      }
    } finally {
      stalled.stop();
      operation.signal.removeEventListener('abort', onAbort);
    }
  }

  async #open(replica: Replica, start: number, end: number): Promise<BodyReader | undefined> {
    const { context, trace, place, data, operation } = this.#options;
    const args: ReadArgs = {
      ...addressOf(place, replica),
      range: [start, end],
      pin: bodyVersion(data),
    };
    const { result, body } = await context.calls.call(trace, replica, 'object.read', args, {
      ringVersion: replica.ringVersion,
      deadlineMs: context.limits.streamDeadlineMs,
      lane: 'bulk',
      signal: operation.signal,
    });
    return (result as ReadReply).hasBody ? body : undefined;
  }

  #leave(replica: Replica, error: unknown, position: number): void {
    const { context, place, trace } = this.#options;
    context.metrics.count('resume');
    const facts = { txn: trace.txn, path: place.path, node: replica.node, position };
    context.env.log.warn('download.moved', { ...facts, error: codeOf(error) });
    const rest = this.#candidates.filter((candidate) => candidate !== replica);
    // A replica without the version is not asked again; one that broke may come back.
    this.#candidates = codeOf(error) === 'no-body' ? rest : [...rest, replica];
  }
}

/** Cancels a body that gives nothing for too long while it is waited for. */
class Stall {
  readonly #context: ProxyContext;
  readonly #body: BodyReader;
  readonly #patienceMs: number;
  #timer: { cancel(): void } | undefined;

  constructor(context: ProxyContext, body: BodyReader, patienceMs: number) {
    this.#context = context;
    this.#body = body;
    this.#patienceMs = patienceMs;
  }

  waiting(): void {
    const { clock } = this.#context.env;
    this.#timer = clock.setTimer(this.#patienceMs, () => this.#body.cancel('stalled'));
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

/** Known sources, the other primaries, then handoffs: a body may be where it should not be. */
function candidates({ context, place, sources }: DownloadOptions): Replica[] {
  const known = new Set(sources.map((source) => source.member));
  const others = context.peers
    .nearestFirst(place.primaries)
    .filter((replica) => !known.has(replica.member));
  return [...sources, ...others, ...place.handoffs(HANDOFFS)];
}

function exhausted(path: string): OperatingError {
  return new OperatingError('unavailable', 'no replica has the (rest of the) body', { path });
}
