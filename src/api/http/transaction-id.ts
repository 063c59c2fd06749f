/**
 * Transaction ids in Swift's form: `tx`, 21 random hex digits, `-`, the time in 10 hex digits. One
 * id follows a request through every process, so that a user's report finds its lines in every log.
 */
import type { Env } from '#env/env.ts';

const DIGITS = 21;
const IDS_PER_REFILL = 128;
const MAX_EXTRA = 32;

export class TransactionIds {
  readonly #env: Pick<Env, 'clock' | 'random'>;
  #hex = '';
  #used = 0;

  constructor(env: Pick<Env, 'clock' | 'random'>) {
    this.#env = env;
  }

  /** `extra`: the client's own X-Trans-Id-Extra, to be found again by it. */
  next(extra: string | undefined): string {
    // One call to the random source serves many requests: it costs more than all the rest here.
    if (this.#used >= this.#hex.length) {
      this.#hex = this.#env.random.bytes((DIGITS * IDS_PER_REFILL) / 2).toString('hex');
      this.#used = 0;
    }
    const digits = this.#hex.slice(this.#used, this.#used + DIGITS);
    this.#used += DIGITS;
    const seconds = Math.floor(this.#env.clock.wallMicros() / 1e6);
    const id = `tx${digits}-${seconds.toString(16).padStart(10, '0')}`;
    return extra ? `${id}-${encodeURIComponent(extra.slice(0, MAX_EXTRA))}` : id;
  }
}
