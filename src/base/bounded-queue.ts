/**
 * A first-in first-out queue with a stated limit, on a ring of slots: no shifting, and a long queue
 * that has emptied gives its memory back.
 */
import { assert } from './assert.ts';

const MIN_SLOTS = 16;

export class BoundedQueue<Item> {
  readonly limit: number;
  #slots: (Item | undefined)[] = new Array(MIN_SLOTS);
  #head = 0;
  #length = 0;

  constructor(limit: number) {
    assert(Number.isInteger(limit) && limit > 0, `queue limit ${limit}`);
    this.limit = limit;
  }

  get length(): number {
    return this.#length;
  }

  get isFull(): boolean {
    return this.#length >= this.limit;
  }

  /** False, and nothing added, when the queue is full: the caller refuses, drops or waits. */
  push(item: Item): boolean {
    if (this.isFull) return false;
    if (this.#length === this.#slots.length) this.#resize(this.#slots.length * 2);
    this.#slots[(this.#head + this.#length) % this.#slots.length] = item;
    this.#length++;
    return true;
  }

  /** Undefined when the queue is empty. */
  shift(): Item | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#slots.length;
    this.#length--;
    if (this.#slots.length > MIN_SLOTS && this.#length * 4 <= this.#slots.length) {
      this.#resize(this.#slots.length / 2);
    }
    return item;
  }

  peek(): Item | undefined {
    return this.#slots[this.#head];
  }

  clear(): void {
    this.#slots = new Array(MIN_SLOTS);
    this.#head = 0;
    this.#length = 0;
  }

  /** First to last; the queue must not change meanwhile. */
  *[Symbol.iterator](): IterableIterator<Item> {
    for (let i = 0; i < this.#length; i++) {
      yield this.#slots[(this.#head + i) % this.#slots.length] as Item;
    }
  }

  #resize(count: number): void {
    const slots: (Item | undefined)[] = new Array(count);
    let i = 0;
    for (const item of this) slots[i++] = item;
    this.#slots = slots;
    this.#head = 0;
  }
}
