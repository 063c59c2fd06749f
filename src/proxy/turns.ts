/**
 * One conditional round of a key at a time in this process. Rivals at other proxies have to be met by
 * ballots; those of one proxy would only stop each other's accepts, over and over. Nobody waits for long:
 * who is before may be waiting for a replica that is gone.
 */
import type { Env } from '#env/env.ts';

export class Turns {
  readonly #env: Env;
  /** The last of each key's line. */
  readonly #last = new Map<string, Promise<void>>();

  constructor(env: Env) {
    this.#env = env;
  }

  async take<Result>(key: string, maxWaitMs: number, work: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key);
    const { promise: over, resolve } = Promise.withResolvers<void>();
    this.#last.set(key, over);
    try {
      if (before !== undefined) await this.#wait(before, maxWaitMs);
      return await work();
    } finally {
      resolve();
      if (this.#last.get(key) === over) this.#last.delete(key);
    }
  }

  #wait(before: Promise<void>, maxWaitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#env.clock.setTimer(maxWaitMs, resolve);
      void before.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
