/** For tests: a state whose owner dies before (or right after) its n-th change from now on. */
import { OperatingError } from '#base/errors.ts';
import type { Operation, State } from '#state/state.ts';
import { KEYS } from '../records.ts';

export class Mortal {
  #left = Number.POSITIVE_INFINITY;
  #after = false;
  #dead = false;
  readonly #onDeath: () => void;

  constructor(onDeath: () => void = () => undefined) {
    this.#onDeath = onDeath;
  }

  dieAt(transaction: number, after: boolean): void {
    this.#left = transaction;
    this.#after = after;
  }

  get isDead(): boolean {
    return this.#dead;
  }

  readonly wrap = (state: State): State => ({
    get: (key) => this.#alive(() => state.get(key)),
    range: (range, options) => this.#alive(() => state.range(range, options)),
    txn: (transaction) =>
      this.#alive(async () => {
        if (transaction.success.some(isChange) && this.#left-- === 0) {
          this.#dead = true;
          if (this.#after) await state.txn(transaction);
          this.#onDeath();
          throw dead();
        }
        return state.txn(transaction);
      }),
    watch: (range, from, listener) => state.watch(range, from, listener),
    grantLease: (seconds) => this.#alive(() => state.grantLease(seconds)),
    keepAlive: (lease) => this.#alive(() => state.keepAlive(lease)),
    revokeLease: (lease) => this.#alive(() => state.revokeLease(lease)),
    compact: (revision) => this.#alive(() => state.compact(revision)),
    close: () => state.close(),
  });

  async #alive<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#dead) throw dead();
    return work();
  }
}

/** Of the cluster: neither who leads nor what processes say of themselves. */
function isChange(operation: Operation): boolean {
  if (operation.kind === 'range') return false;
  const key = operation.kind === 'put' ? operation.key : '';
  return key !== KEYS.leader && !key.startsWith(KEYS.processes);
}

function dead(): OperatingError {
  return new OperatingError('dead', 'this process is dead');
}
