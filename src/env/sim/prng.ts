/**
 * Seeded randomness: xoshiro128**, in 32-bit arithmetic because that is what JavaScript does fast.
 * Every component draws from its own stream (seed and name hashed together), so that a new draw in one
 * place doesn't shift what all others see, and a failing seed stays close to failing while one debugs.
 */
import { createHash } from 'node:crypto';
import { assert } from '#base/assert.ts';
import type { Random } from '../env.ts';

export class Prng implements Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number | string, stream: string) {
    const digest = createHash('sha256').update(`${seed}\0${stream}`).digest();
    this.#a = digest.readInt32LE(0);
    this.#b = digest.readInt32LE(4);
    this.#c = digest.readInt32LE(8);
    this.#d = digest.readInt32LE(12) | 1; // never all zero
  }

  /** Uniform in [0, 2^32). */
  next(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  float(): number {
    return ((this.next() >>> 5) * 2 ** 26 + (this.next() >>> 6)) / 2 ** 53;
  }

  integer(below: number): number {
    assert(Number.isInteger(below) && below > 0 && below <= 2 ** 32, `integer below ${below}`);
    return Math.floor((this.next() / 2 ** 32) * below);
  }

  chance(probability: number): boolean {
    return probability > 0 && this.float() < probability;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    let offset = 0;
    for (; offset + 4 <= length; offset += 4) bytes.writeUInt32LE(this.next(), offset);
    for (let rest = this.next(); offset < length; offset++, rest >>>= 8)
      bytes[offset] = rest & 0xff;
    return bytes;
  }

  /** Around `mean`, never below a quarter of it, with a long tail: how delays are in practice. */
  delay(mean: number): number {
    return mean * (0.25 - 0.75 * Math.log(1 - this.float()));
  }
}
