/** What a run over many seeds adds up to, and how it is printed. */
import { FAULTS } from '../../../test/sim/plan.ts';
import type { RunResult } from '../../../test/sim/run.ts';

const HOUR_MS = 3_600_000;
const TELL_EVERY_MS = 60_000;

export class Totals {
  readonly #started = performance.now();
  readonly #faults = new Map<string, number>();
  readonly #wanted: number;
  #toldMs = performance.now();
  #virtualMs = 0;
  #operations = 0;
  #answered = 0;
  #orphans = 0;
  seeds = 0;
  failed = 0;

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  add(result: RunResult): void {
    this.seeds++;
    this.#virtualMs += result.virtualMs;
    this.#orphans += result.orphans;
    if (result.failure !== undefined) this.failed++;
    for (const [fault, count] of Object.entries(result.faults)) {
      this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + count);
    }
    for (const [what, count] of Object.entries(result.operations)) {
      this.#operations += count;
      if (what.endsWith(':done')) this.#answered += count;
    }
    this.#tellSometimes();
  }

  /** How far a long run is: on standard error, so that what is kept of a run is its result. */
  #tellSometimes(): void {
    const now = performance.now();
    if (now - this.#toldMs < TELL_EVERY_MS) return;
    this.#toldMs = now;
    const rate = ((1000 * this.seeds) / (now - this.#started)).toFixed(2);
    console.error(
      `${this.seeds} of ${this.#wanted} seeds, ${this.failed} broken promises, ${rate} seeds/s`,
    );
  }

  /** The last line is the summary. */
  print(): void {
    const seconds = (performance.now() - this.#started) / 1000;
    console.log('\nfault injected          times');
    for (const fault of FAULTS) {
      console.log(`${fault.padEnd(20)} ${String(this.#faults.get(fault) ?? 0).padStart(8)}`);
    }
    const rate = (this.seeds / seconds).toFixed(2);
    const hours = this.#virtualMs / HOUR_MS;
    console.log(
      `\n${this.seeds} seeds, ${this.failed} broken promises, ${this.#operations} operations (${this.#answered} answered), ` +
        `${this.#orphans} orphans, ${rate} seeds/s, ${hours.toFixed(1)} simulated hours (${(hours / seconds).toFixed(3)} per second)`,
    );
  }
}
