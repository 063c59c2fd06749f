/**
 * Asks peers, nearest first, until those that are complete make up R of every set together with what
 * is counted already. A peer that fails or is not complete is replaced by the next; one that is slow
 * gets company after HEDGE_MS, so that a dead replica costs a listing that and not a whole deadline.
 */
import { codeOf, OperatingError } from '#base/errors.ts';
import type { Clock, Timer } from '#env/env.ts';
import type { RowTarget } from './calls.ts';
import { type Replicas, shortfall } from './context.ts';

const HEDGE_MS = 250;

/** Says whether the peer is complete. */
export type Ask = (peer: RowTarget) => Promise<boolean>;

export class Gathering {
  readonly #clock: Clock;
  readonly #replicas: Replicas;
  readonly #waiting: RowTarget[];
  readonly #counted: Set<number>;
  readonly #ask: Ask;
  readonly #done = Promise.withResolvers<void>();
  #active = 0;
  #lastError: unknown;

  /** @param self the device that asks, and whether it counts itself */
  constructor(
    clock: Clock,
    replicas: Replicas,
    self: { device: number; complete: boolean },
    ask: Ask,
  ) {
    this.#clock = clock;
    this.#replicas = replicas;
    this.#waiting = replicas.members.filter((member) => member.device !== self.device);
    this.#counted = new Set(self.complete ? [self.device] : []);
    this.#ask = ask;
  }

  /** Resolves as soon as enough are counted. @throws OperatingError `unavailable` */
  async untilEnough(): Promise<void> {
    const needed = shortfall(this.#replicas, this.#counted);
    for (let i = 0; i < needed; i++) this.#launch();
    this.#settle();
    const hedge = this.#hedge();
    try {
      await this.#done.promise;
    } finally {
      hedge.cancel();
    }
  }

  /** Waits until every peer has answered or failed. @throws OperatingError `unavailable` */
  async all(): Promise<void> {
    const peers = this.#waiting.splice(0);
    await Promise.all(peers.map((peer) => this.#one(peer)));
    this.#settle();
    await this.#done.promise;
  }

  #launch(): void {
    const peer = this.#waiting.shift();
    if (peer === undefined) return;
    void this.#one(peer).then(() => {
      const missing = shortfall(this.#replicas, this.#counted);
      if (this.#active < missing) this.#launch();
      this.#settle();
    });
  }

  async #one(peer: RowTarget): Promise<void> {
    this.#active++;
    try {
      const complete = await this.#ask(peer);
      // A joining device counts in NEW's majority: OLD's supplies what it lacks (Ring change, 3).
      if (complete || this.#replicas.joining.has(peer.device)) this.#counted.add(peer.device);
    } catch (error) {
      this.#lastError = error;
    }
    this.#active--;
  }

  #hedge(): Timer {
    let timer: Timer;
    const tick = (): void => {
      this.#launch();
      timer = this.#clock.setTimer(HEDGE_MS, tick);
    };
    timer = this.#clock.setTimer(HEDGE_MS, tick);
    return { cancel: () => timer.cancel() };
  }

  #settle(): void {
    if (shortfall(this.#replicas, this.#counted) === 0) this.#done.resolve();
    else if (this.#active === 0 && this.#waiting.length === 0)
      this.#done.reject(this.#unavailable());
  }

  #unavailable(): OperatingError {
    const reason = this.#lastError === undefined ? 'incomplete' : codeOf(this.#lastError);
    const facts = { counted: [...this.#counted], reason };
    const options = { cause: this.#lastError };
    return new OperatingError('unavailable', 'too few complete replicas answer', facts, options);
  }
}
