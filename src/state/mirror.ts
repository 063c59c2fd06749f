/**
 * Follows a range of state: a snapshot, then every change, for ever. When the watch's history is gone
 * or the store cannot be read, it starts again from a new snapshot, so the follower converges
 * whatever happens. Used for what processes keep in memory and on disk: the identity directory,
 * revocations, public keys, rings.
 */
import { messageOf } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import {
  type KeyRange,
  type KeyValue,
  MAX_RANGE_LIMIT,
  type Revision,
  type State,
  type Watch,
  type WatchEvent,
} from './state.ts';

const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5000;

export interface MirrorListener {
  /** Everything in the range: what is not in it is gone. */
  onSnapshot(items: readonly KeyValue[], revision: Revision): void;
  onEvents(events: readonly WatchEvent[], revision: Revision): void;
}

export interface Mirror {
  /** Resolves with the first snapshot. Rejects only when it is closed before. */
  readonly ready: Promise<void>;
  /** Monotonic milliseconds when the store was last heard from; undefined: not yet. */
  heardAtMs(): number | undefined;
  close(): void;
}

export function mirrorRange(
  env: Pick<Env, 'clock' | 'log'>,
  state: State,
  range: { readonly prefix: string },
  listener: MirrorListener,
): Mirror {
  return new RangeMirror(env, state, range, listener);
}

class RangeMirror implements Mirror {
  readonly ready: Promise<void>;
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #state: State;
  readonly #range: { readonly prefix: string };
  readonly #listener: MirrorListener;
  readonly #closing = new AbortController();
  #watch: Watch | undefined;
  #heardAtMs: number | undefined;

  constructor(
    env: Pick<Env, 'clock' | 'log'>,
    state: State,
    range: { readonly prefix: string },
    listener: MirrorListener,
  ) {
    this.#env = env;
    this.#state = state;
    this.#range = range;
    this.#listener = listener;
    this.ready = this.#start();
    this.ready.catch(() => undefined); // whoever waits for it sees the rejection; nobody must
  }

  heardAtMs(): number | undefined {
    return this.#watch?.heardAtMs() ?? this.#heardAtMs;
  }

  close(): void {
    this.#closing.abort(new Error('the mirror was closed'));
    this.#watch?.close();
  }

  async #start(): Promise<void> {
    for (let delayMs = RETRY_MIN_MS; ; delayMs = Math.min(2 * delayMs, RETRY_MAX_MS)) {
      this.#closing.signal.throwIfAborted();
      try {
        return await this.#load();
      } catch (error) {
        if (!this.#closing.signal.aborted) {
          this.#env.log.warn('state.mirror-trouble', {
            range: this.#range.prefix,
            error: messageOf(error),
          });
        }
      }
      await this.#env.clock.sleep(delayMs, this.#closing.signal);
    }
  }

  async #load(): Promise<void> {
    const { items, revision } = await readAll(this.#state, this.#range);
    this.#closing.signal.throwIfAborted();
    this.#heardAtMs = this.#env.clock.monotonicMs();
    this.#listener.onSnapshot(items, revision);
    this.#watch = this.#state.watch(this.#range, revision + 1, {
      onEvents: (events, to) => this.#listener.onEvents(events, to),
      onCompacted: (oldest) => this.#restart(oldest),
      onTrouble: (error) => {
        this.#env.log.debug('state.watch-trouble', { error: messageOf(error) });
      },
    });
  }

  #restart(oldest: Revision): void {
    this.#env.log.info('state.mirror-restarts', { range: this.#range.prefix, oldest });
    this.#heardAtMs = this.#watch?.heardAtMs();
    this.#watch = undefined;
    this.#start().catch(() => undefined); // rejects only because the mirror was closed
  }
}

/**
 * The whole range, in pages. The revision is the first page's: what changed while the later pages
 * were read comes again as events, which are idempotent.
 */
export async function readAll(
  state: State,
  range: { readonly prefix: string },
  fresh = false,
): Promise<{ readonly items: KeyValue[]; readonly revision: Revision }> {
  const first = await state.range(range, { fresh });
  const items = [...first.items];
  for (let page = first; page.more; ) {
    const start = `${items.at(-1)!.key}\0`;
    page = await state.range(pageRange(range.prefix, start), { limit: MAX_RANGE_LIMIT });
    items.push(...page.items);
  }
  return { items, revision: first.revision };
}

function pageRange(prefix: string, start: string): KeyRange {
  if (prefix === '') return { start };
  // A key range ends before the prefix's successor; all prefixes here end in ASCII.
  const last = prefix.charCodeAt(prefix.length - 1);
  return { start, end: prefix.slice(0, -1) + String.fromCharCode(last + 1) };
}
