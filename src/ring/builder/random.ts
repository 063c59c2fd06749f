/**
 * The builder's own randomness: the same seed gives the same ring on every machine and for ever, so
 * the generator is part of the builder's behaviour and is not exchanged. xorshift128 (Marsaglia
 * 2003) with its state spread from the seed by an integer hash. Not for secrets.
 */
export class SeededRandom {
  #x: number;
  #y: number;
  #z: number;
  #w: number;

  constructor(seed: number) {
    this.#x = spread(seed);
    this.#y = spread(this.#x + seed);
    this.#z = spread(this.#y + seed);
    this.#w = spread(this.#z + seed) | 1;
  }

  /** Uniform 32 bits. */
  next(): number {
    const t = this.#x ^ (this.#x << 11);
    this.#x = this.#y;
    this.#y = this.#z;
    this.#z = this.#w;
    this.#w = this.#w ^ (this.#w >>> 19) ^ t ^ (t >>> 8);
    return this.#w >>> 0;
  }

  /** Uniform in 0..bound-1, bound <= 2^21 (products stay exact). */
  below(bound: number): number {
    return Math.floor((this.next() * bound) / 2 ** 32);
  }

  shuffle(items: Uint32Array): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const item = items[i]!;
      items[i] = items[j]!;
      items[j] = item;
    }
  }
}

function spread(value: number): number {
  let hash = Math.imul((value | 0) + 0x6d2b79f5, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return hash ^ (hash >>> 16);
}
