/**
 * A file with this name in the device's folder: the log has, or had, a hole that the index or the rows were brought
 * past. What it had forgotten may be there again: the device is not to be served from before its peers were asked
 * (repair/recall.ts).
 *
 * It also says whether what the hole has lost is on record. Until then a later start must not believe in anything:
 * the part of the log that it reads has no hole any more, and may say that the device is complete.
 */
import type { Disk } from '#env/env.ts';

export const HOLE_MARK = 'log.hole';

const LOSS = 'loss-not-recorded\n';
const HOLE = 'log-hole\n';

export class HoleMark {
  readonly #disk: Disk;
  readonly #path: string;
  #text: string | undefined;

  private constructor(disk: Disk, path: string, text: string | undefined) {
    this.#disk = disk;
    this.#path = path;
    this.#text = text;
  }

  static async load(disk: Disk, folder: string): Promise<HoleMark> {
    const path = `${folder}/${HOLE_MARK}`;
    const isThere = (await disk.stat(path)) !== undefined;
    return new HoleMark(disk, path, isThere ? (await disk.read(path)).toString() : undefined);
  }

  get isThere(): boolean {
    return this.#text !== undefined;
  }

  /** An earlier start has met a hole, and ended before what it lost was on record. */
  get hasLoss(): boolean {
    return this.#text === LOSS;
  }

  /** Durable when it returns. `loss`: records that the device may have acknowledged are lost. */
  note(what: 'loss' | 'forgotten'): void {
    if (what === 'loss') this.#write(LOSS);
    else if (!this.isThere) this.#write(HOLE);
  }

  /** What was lost is on record. */
  settle(): void {
    if (this.hasLoss) this.#write(HOLE);
  }

  #write(text: string): void {
    if (this.#text === text) return;
    this.#disk.replaceSync(this.#path, Buffer.from(text));
    this.#text = text;
  }
}
