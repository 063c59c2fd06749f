/**
 * A running hash of everything that happened, and the last events in words. Two runs of one seed must
 * have the same hash; where they differ, something drew on the real world.
 */
const KEPT = 2000;

export class Trace {
  #high = 0x9e3779b9;
  #low = 0x85ebca6b;
  readonly #labels: string[] = [];
  readonly #times: number[] = [];
  #count = 0;

  add(timeMs: number, label: string, detail: number): void {
    this.mix(timeMs * 1000);
    for (let i = 0; i < label.length; i++) this.mix(label.charCodeAt(i));
    this.mix(detail);
    const slot = this.#count++ % KEPT;
    this.#labels[slot] = label;
    this.#times[slot] = timeMs;
  }

  get count(): number {
    return this.#count;
  }

  hash(): string {
    const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }

  /** The labels of the last events, oldest first. */
  tail(count = 50): string[] {
    const available = Math.min(count, this.#count, KEPT);
    return Array.from({ length: available }, (_, i) => {
      const slot = (this.#count - available + i) % KEPT;
      return `${this.#times[slot]!.toFixed(3)} ${this.#labels[slot]}`;
    });
  }

  /** Adds what an event carries (a checksum of the bytes it moves). */
  mix(value: number): void {
    const low = value | 0;
    this.#low = Math.imul(this.#low ^ low, 0x5bd1e995);
    this.#high = Math.imul(this.#high ^ (this.#low >>> 13) ^ low, 0xc2b2ae35);
  }
}
