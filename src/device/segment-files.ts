/**
 * The segment files of a log: which there are, and open handles to read them.
 *
 * A handle is opened when first needed, and closed when many others were needed since and nobody reads
 * from it. A segment that is being read is retained: it is not unlinked until the last reader is done.
 */
import type { Disk, DiskFile } from '#env/env.ts';
import { segmentName, segmentNumber } from './format.ts';

const MAX_OPEN_SEGMENTS = 256;

interface OpenSegment {
  file: DiskFile;
  readers: number;
}

export class SegmentFiles {
  readonly folder: string;
  readonly #disk: Disk;
  /** Bytes by segment number, ascending. */
  readonly #sizes = new Map<number, number>();
  readonly #open = new Map<number, OpenSegment>();
  readonly #opening = new Map<number, Promise<OpenSegment>>();

  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.folder = folder;
  }

  /** Lists the folder. Names that are not segments are left alone. */
  async load(): Promise<void> {
    const numbers: number[] = [];
    for (const name of await this.#disk.list(this.folder)) {
      const number = segmentNumber(name);
      if (number !== undefined) numbers.push(number);
    }
    for (const number of numbers.sort((a, b) => a - b)) {
      const stat = await this.#disk.stat(this.path(number));
      this.#sizes.set(number, stat?.size ?? 0);
    }
  }

  path(segment: number): string {
    return `${this.folder}/${segmentName(segment)}`;
  }

  numbers(): number[] {
    return [...this.#sizes.keys()];
  }

  has(segment: number): boolean {
    return this.#sizes.has(segment);
  }

  /** Whether any segment in [from, to) is still there. */
  hasAny(from: number, to: number): boolean {
    for (const number of this.#sizes.keys()) {
      if (number >= to) return false;
      if (number >= from) return true;
    }
    return false;
  }

  /** The segments before and after this number that are there; 0 and infinity where there is none. */
  neighbours(segment: number): readonly [before: number, after: number] {
    let before = 0;
    for (const number of this.#sizes.keys()) {
      if (number > segment) return [before, number];
      if (number < segment) before = number;
    }
    return [before, Number.POSITIVE_INFINITY];
  }

  /** Whether of those from this number on none is missing between others. 0: who knows none yet misses none. */
  isWholeFrom(segment: number): boolean {
    if (segment === 0) return true;
    const later = this.numbers().filter((number) => number >= segment);
    return later.every((number, i) => number === segment + i);
  }

  /** Between which segments there is none; each as `neighbours` gives them. */
  *gaps(): Generator<readonly [before: number, after: number]> {
    let last = 0;
    for (const number of this.#sizes.keys()) {
      if (number > last + 1) yield [last, number];
      last = number;
    }
  }

  size(segment: number): number {
    return this.#sizes.get(segment) ?? 0;
  }

  setSize(segment: number, size: number): void {
    this.#sizes.set(segment, size);
  }

  totalBytes(): number {
    let total = 0;
    for (const size of this.#sizes.values()) total += size;
    return total;
  }

  /** The handle, if it is open: for reads that must not wait. Asks for it otherwise. */
  opened(segment: number): DiskFile | undefined {
    const open = this.#open.get(segment);
    if (open === undefined && this.has(segment)) this.#openOnce(segment).catch(() => undefined);
    return open?.file;
  }

  /** Uses the handle of a segment, which stays open and linked meanwhile. */
  async retain(segment: number): Promise<{ file: DiskFile; release: () => void }> {
    const open = this.#open.get(segment) ?? (await this.#openOnce(segment));
    open.readers++;
    let released = false;
    const release = (): void => {
      if (!released) open.readers--;
      released = true;
    };
    return { file: open.file, release };
  }

  busy(segment: number): boolean {
    return this.#opening.has(segment) || (this.#open.get(segment)?.readers ?? 0) > 0;
  }

  /** Takes over a handle that somebody else opened (the writer's: one descriptor serves both). */
  adopt(segment: number, file: DiskFile): void {
    this.#open.set(segment, { file, readers: 1 });
  }

  /** The writer is done with the segment that it adopted out. */
  disown(segment: number): void {
    const open = this.#open.get(segment);
    if (open !== undefined) open.readers--;
  }

  async unlink(segment: number): Promise<void> {
    const open = this.#open.get(segment);
    this.#open.delete(segment);
    this.#sizes.delete(segment);
    await open?.file.close();
    await this.#disk.unlink(this.path(segment));
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#opening.values());
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const { file } of files) await file.close();
  }

  #openOnce(segment: number): Promise<OpenSegment> {
    const under = this.#opening.get(segment);
    if (under !== undefined) return under;
    const opening = this.#openNow(segment).finally(() => this.#opening.delete(segment));
    this.#opening.set(segment, opening);
    return opening;
  }

  async #openNow(segment: number): Promise<OpenSegment> {
    const open = { file: await this.#disk.open(this.path(segment), 'read'), readers: 0 };
    this.#open.set(segment, open);
    if (this.#open.size > MAX_OPEN_SEGMENTS) this.#closeIdle(segment);
    return open;
  }

  #closeIdle(except: number): void {
    for (const [segment, open] of this.#open) {
      if (open.readers > 0 || segment === except) continue;
      this.#open.delete(segment);
      open.file.close().catch(() => undefined); // only read from: nothing can be lost
      return;
    }
  }
}
