/**
 * Differences between two replicas as they were seen last, by any name; says which to open.
 *
 * Only a difference that was there before, in the same form, is opened: one that changes is writes in
 * flight, and opening it would be work for nothing. One that goes on and on is opened all the same: a
 * range that is written all the time may lack something old as well.
 */

/** Looks after which a difference that never stays the same is opened. */
const MAX_LOOKS = 6;
/** What was opened and still looks the same is opened again after so long. */
const OPEN_AGAIN_MS = 60_000;
const MAX_DIFFERENCES = 100_000;

interface Difference {
  readonly form: string;
  readonly looks: number;
  /** When it was opened in this very form, which brought nothing: the peer has not reclaimed yet what is gone here. */
  readonly openedAtMs: number;
}

/** `settled`: there is nothing to learn; in this very form it was opened, and is still there. */
export type Judgement = 'settled' | 'wait' | 'open';

export class Differences {
  readonly #nowMs: () => number;
  readonly #seen = new Map<string, Difference>();

  /** @param nowMs monotonic */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** There is none. */
  clear(name: string): void {
    this.#seen.delete(name);
  }

  judge(name: string, form: string): Judgement {
    const known = this.#seen.get(name);
    const isSame = known?.form === form;
    if (isSame && this.#nowMs() < known.openedAtMs + OPEN_AGAIN_MS) return 'settled';
    const looks = (known?.looks ?? 0) + 1;
    if (this.#seen.size >= MAX_DIFFERENCES) this.#seen.clear();
    this.#seen.set(name, { form, looks, openedAtMs: Number.NEGATIVE_INFINITY });
    return isSame || looks > MAX_LOOKS ? 'open' : 'wait';
  }

  /** Only what was taken in to its end: a call that failed half way settles nothing. */
  opened(name: string, form: string): void {
    this.#seen.set(name, { form, looks: 0, openedAtMs: this.#nowMs() });
  }
}
