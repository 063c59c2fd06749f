/** The kernel's randomness, drawn in pieces of 4 KiB so that a small request costs no system call. */
import { randomBytes } from 'node:crypto';
import { assert } from '#base/assert.ts';
import type { Random } from '../env.ts';

const POOL_BYTES = 4096;
const MAX_BELOW = 2 ** 32;

export class NodeRandom implements Random {
  #pool = Buffer.alloc(0);
  #position = 0;

  bytes(length: number): Buffer {
    if (length > POOL_BYTES / 4) return randomBytes(length);
    const start = this.#take(length);
    // A copy: the caller's buffer must not be a window on bytes that others get.
    return Buffer.from(this.#pool.subarray(start, start + length));
  }

  float(): number {
    const start = this.#take(8);
    const high = this.#pool.readUInt32LE(start) >>> 5;
    const low = this.#pool.readUInt32LE(start + 4) >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  integer(below: number): number {
    assert(Number.isInteger(below) && below > 0 && below <= MAX_BELOW, `integer below ${below}`);
    // Values from the incomplete last stretch are drawn again, or small results would be likelier.
    const limit = MAX_BELOW - (MAX_BELOW % below);
    for (;;) {
      const start = this.#take(4);
      const value = this.#pool.readUInt32LE(start);
      if (value < limit) return value % below;
    }
  }

  /** The offset of `length` bytes that nobody has seen. `#pool` is current after the call only. */
  #take(length: number): number {
    if (this.#position + length > this.#pool.length) {
      this.#pool = randomBytes(POOL_BYTES);
      this.#position = 0;
    }
    const start = this.#position;
    this.#position += length;
    return start;
  }
}
