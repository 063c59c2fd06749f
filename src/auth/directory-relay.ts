/**
 * How a proxy that does not hear from state hears of revocations all the same: it asks an authority for
 * the directory, as it asks for bundles, until state is heard again.
 */
import { messageOf } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import type { Directory } from '#identity/directory.ts';
import { decodeDirectory } from '#identity/directory-file.ts';
import type { Revision } from '#state/state.ts';

/** Silence of state before others are asked: longer than the watch's own heartbeat. */
const SILENT_MS = 5000;
const ASK_EVERY_MS = 2000;

/** A directory's file above this revision; undefined: there is none. Its origin has been verified. */
export type AskDirectory = (above: Revision) => Promise<Buffer | undefined>;

export interface DirectoryRelayOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly directory: Directory;
  readonly ask: AskDirectory;
  /** Monotonic milliseconds when state was last heard from. */
  readonly stateHeardAtMs: () => number;
  readonly onNews: () => void;
}

export class DirectoryRelay {
  readonly #options: DirectoryRelayOptions;
  #timer: Timer | undefined;
  #closed = false;
  #heardAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: DirectoryRelayOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Monotonic milliseconds when an authority last answered. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#options.env.clock.setTimer(ASK_EVERY_MS, () => {
      this.#askIfSilent().finally(() => this.#schedule());
    });
  }

  async #askIfSilent(): Promise<void> {
    const { env, directory, ask, stateHeardAtMs, onNews } = this.#options;
    const nowMs = env.clock.monotonicMs();
    if (nowMs - stateHeardAtMs() < SILENT_MS) return;
    try {
      const bytes = await ask(directory.revision);
      this.#heardAtMs = nowMs;
      if (bytes === undefined || this.#closed) return;
      const { items, revision } = decodeDirectory(bytes);
      // State may have been heard meanwhile. Only its own word can take a revision back.
      if (revision <= directory.revision) return;
      directory.onSnapshot(items, revision);
      onNews();
      env.log.info('identity.directory-relayed', { revision });
    } catch (error) {
      env.log.debug('identity.directory-not-relayed', { error: messageOf(error) });
    }
  }
}
