/**
 * Keys in the order of their UTF-8 bytes, for ranges in memory. A sorted array: an insertion moves
 * what is behind it, which for hundreds of thousands of keys is still well under a millisecond, and
 * changes are rare. Kept are the bytes as Latin-1 strings, because strings compare by UTF-16 units,
 * which is another order beyond ASCII.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ASCII = /^[\x00-\x7f]*$/;

export class SortedKeys {
  #keys: string[] = [];

  replace(keys: readonly string[]): void {
    this.#keys = keys.map(toBytes).sort(compare);
  }

  /** The key must not be there yet. */
  add(key: string): void {
    const bytes = toBytes(key);
    this.#keys.splice(this.#position(bytes), 0, bytes);
  }

  remove(key: string): void {
    const bytes = toBytes(key);
    const position = this.#position(bytes);
    if (this.#keys[position] === bytes) this.#keys.splice(position, 1);
  }

  withPrefix(prefix: string, limit: number): string[] {
    const start = toBytes(prefix);
    const found: string[] = [];
    for (let i = this.#position(start); i < this.#keys.length && found.length < limit; i++) {
      const key = this.#keys[i]!;
      if (!key.startsWith(start)) break;
      found.push(fromBytes(key));
    }
    return found;
  }

  /** Index of the first key that is not below. */
  #position(bytes: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < bytes) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function toBytes(key: string): string {
  return ASCII.test(key) ? key : Buffer.from(key).toString('latin1');
}

function fromBytes(bytes: string): string {
  return ASCII.test(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString();
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
