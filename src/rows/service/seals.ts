/**
 * Seals of containers that are being deleted: while one holds, rows of new writes are refused. Kept in
 * memory only: a replica that restarts and takes a row keeps the container alive, because a container
 * with a live row is not deleted whatever its tombstone says.
 */
import type { Clock } from '#env/env.ts';

/** More containers than this are not deleted at the same time on one node. */
const MAX_SEALS = 10_000;

interface Seal {
  readonly name: string;
  readonly endMs: number;
}

export class Seals {
  readonly #clock: Clock;
  readonly #seals = new Map<string, Seal>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False: another seal holds, or there are too many. */
  set(device: number, hash: Buffer, name: string, forMs: number): boolean {
    const key = keyOf(device, hash);
    const holder = this.#holder(key);
    if (holder !== undefined && holder !== name) return false;
    if (this.#seals.size >= MAX_SEALS) this.#sweep();
    if (this.#seals.size >= MAX_SEALS) return false;
    this.#seals.set(key, { name, endMs: this.#clock.monotonicMs() + forMs });
    return true;
  }

  isSealed(device: number, hash: Buffer): boolean {
    return this.#seals.size > 0 && this.#holder(keyOf(device, hash)) !== undefined;
  }

  isHeldBy(device: number, hash: Buffer, name: string): boolean {
    return this.#holder(keyOf(device, hash)) === name;
  }

  release(device: number, hash: Buffer, name: string): void {
    const key = keyOf(device, hash);
    if (this.#holder(key) === name) this.#seals.delete(key);
  }

  #holder(key: string): string | undefined {
    const seal = this.#seals.get(key);
    if (seal === undefined) return undefined;
    if (seal.endMs > this.#clock.monotonicMs()) return seal.name;
    this.#seals.delete(key);
    return undefined;
  }

  #sweep(): void {
    for (const key of [...this.#seals.keys()]) this.#holder(key);
  }
}

function keyOf(device: number, hash: Buffer): string {
  return `${device} ${hash.toString('latin1')}`;
}
