/**
 * The bytes of one simulated file as the page cache has them, with what is needed to take back all that
 * was not synced.
 *
 * Every write first keeps the old content of the pages it touches. These kept pages form generations: a
 * sync that begins closes the current one, and when it ends, everything up to it is durable. What is
 * written while a sync runs belongs to the next generation: a sync promises nothing about it.
 */
import type { Unsynced } from './host.ts';
import type { Prng } from './prng.ts';

const PAGE_BYTES = 4096;
/** What a disk writes whole or not at all. */
const SECTOR_BYTES = 512;
const EMPTY = Buffer.alloc(0);

interface Generation {
  readonly number: number;
  /** The file's length when this generation began. */
  oldLength: number;
  /** Its sync failed: the kernel has dropped the pages, and no later sync brings them back. */
  failed?: boolean;
  /** By page number: the bytes it had when this generation began (short at the end of the file). */
  readonly oldPages: Map<number, Buffer>;
}

export class FileContent {
  #bytes: Buffer;
  #length: number;
  #generations: Generation[];
  #nextGeneration = 2;

  /** The initial bytes count as durable. */
  constructor(bytes: Uint8Array = EMPTY) {
    this.#bytes = Buffer.from(bytes);
    this.#length = bytes.length;
    this.#generations = [{ number: 1, oldLength: bytes.length, oldPages: new Map() }];
  }

  get length(): number {
    return this.#length;
  }

  /** A copy; shorter than asked at the end of the file. */
  read(position: number, length: number): Buffer {
    const end = Math.min(this.#length, position + length);
    return Buffer.from(this.#bytes.subarray(Math.min(position, end), end));
  }

  write(position: number, bytes: Uint8Array): void {
    const end = position + bytes.length;
    this.#keepPages(position, end);
    this.#reserve(end);
    this.#bytes.set(bytes, position);
    this.#length = Math.max(this.#length, end);
  }

  truncate(length: number): void {
    const from = Math.min(length, this.#length);
    this.#keepPages(from, this.#length);
    this.#reserve(length);
    this.#bytes.fill(0, from, this.#length);
    this.#length = length;
  }

  /** Flips bits of a byte at rest: nobody wrote, so there is nothing to take back. */
  damage(position: number, mask: number): void {
    if (position >= this.#length) return;
    this.#bytes[position] = this.#bytes[position]! ^ mask;
    for (const { oldPages } of this.#generations) {
      const old = oldPages.get(Math.floor(position / PAGE_BYTES));
      const offset = position % PAGE_BYTES;
      if (old !== undefined && offset < old.length) old[offset] = old[offset]! ^ mask;
    }
  }

  /** The number to hand to `endSync`. */
  beginSync(): number {
    const current = this.#generations.at(-1)!;
    this.#generations.push({
      number: this.#nextGeneration++,
      oldLength: this.#length,
      oldPages: new Map(),
    });
    return current.number;
  }

  endSync(number: number): void {
    const synced = this.#generations.filter((g) => g.number <= number && !g.failed);
    const rest = this.#generations.filter((g) => g.number > number || g.failed);
    const length = rest.find((g) => g.number > number)?.oldLength ?? this.#length;
    for (const failed of rest) {
      if (failed.number > number) continue;
      // What was written again after the failure is durable now.
      failed.oldLength = length;
      for (const { number: later, oldPages } of synced) {
        if (later < failed.number) continue;
        for (const page of oldPages.keys()) failed.oldPages.delete(page);
      }
    }
    this.#generations = rest;
  }

  /** The sync failed: whether its pages are on disk stays unknown for ever. */
  failSync(number: number): void {
    for (const generation of this.#generations) {
      if (generation.number <= number) generation.failed = true;
    }
  }

  get hasUnsynced(): boolean {
    return (
      this.#generations.some((g) => g.oldPages.size > 0) || this.#oldest.oldLength !== this.#length
    );
  }

  crash(unsynced: Unsynced, random: Prng): void {
    if (unsynced !== 'kept' && this.hasUnsynced) this.#takeBack(unsynced, random);
    this.#generations = [
      { number: this.#nextGeneration++, oldLength: this.#length, oldPages: new Map() },
    ];
  }

  get #oldest(): Generation {
    return this.#generations[0]!;
  }

  #takeBack(unsynced: Unsynced, random: Prng): void {
    const old = new Map<number, Buffer>();
    for (const { oldPages } of this.#generations.toReversed()) {
      for (const [page, bytes] of oldPages) old.set(page, bytes);
    }
    const pages = [...old.keys()].sort((a, b) => a - b);
    const survives = unsynced === 'lost' ? () => false : chooseSectors(pages, random);
    let keptEnd = this.#oldest.oldLength;
    for (const page of pages) {
      for (let sector = 0; sector < PAGE_BYTES; sector += SECTOR_BYTES) {
        const start = page * PAGE_BYTES + sector;
        if (!survives(page, sector)) this.#revertSector(start, old.get(page)!.subarray(sector));
        else keptEnd = Math.max(keptEnd, Math.min(start + SECTOR_BYTES, this.#length));
      }
    }
    this.#setLength(
      unsynced === 'lost' ? this.#oldest.oldLength : this.#chooseLength(keptEnd, random),
    );
  }

  #revertSector(start: number, old: Buffer): void {
    this.#reserve(start + SECTOR_BYTES);
    this.#bytes.fill(0, start, start + SECTOR_BYTES);
    this.#bytes.set(old.subarray(0, SECTOR_BYTES), start);
  }

  /** The length is metadata, written on its own: the file may end in zeros that nobody wrote. */
  #chooseLength(keptEnd: number, random: Prng): number {
    const candidates = [this.#oldest.oldLength, keptEnd, keptEnd, this.#length];
    return candidates[random.integer(candidates.length)]!;
  }

  #setLength(length: number): void {
    this.#reserve(length);
    this.#length = length;
    this.#bytes.fill(0, length);
  }

  #keepPages(start: number, end: number): void {
    const { oldPages } = this.#generations.at(-1)!;
    const last = Math.ceil(end / PAGE_BYTES);
    for (let page = Math.floor(start / PAGE_BYTES); page < last; page++) {
      if (oldPages.has(page)) continue;
      const from = page * PAGE_BYTES;
      const old = from >= this.#length ? EMPTY : this.read(from, PAGE_BYTES);
      oldPages.set(page, old);
    }
  }

  /** Beyond the length, the buffer is always zero. */
  #reserve(length: number): void {
    if (length <= this.#bytes.length) return;
    const grown = Buffer.alloc(Math.max(length, this.#bytes.length * 2, PAGE_BYTES));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/** Three ways in which a power failure leaves unsynced sectors: none, those first in the file, some. */
function chooseSectors(pages: number[], random: Prng): (page: number, sector: number) => boolean {
  const way = random.integer(3);
  if (way === 0 || pages.length === 0) return () => false;
  if (way === 1) {
    const cutPage = pages[random.integer(pages.length)]!;
    const cutSector = random.integer(PAGE_BYTES / SECTOR_BYTES) * SECTOR_BYTES;
    return (page, sector) => page < cutPage || (page === cutPage && sector < cutSector);
  }
  const share = random.float();
  return () => random.chance(share);
}
