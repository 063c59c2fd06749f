/**
 * Buffers that a direct write accepts: O_DIRECT wants memory that begins at a multiple of the disk's
 * block, which node's own buffers do not. A WebAssembly memory is made of whole pages, so pieces of one
 * at multiples of 4 KiB are aligned; it takes real memory only for pieces that were used.
 *
 * Whoever finds none free waits, so the memory is bounded whatever the number of files.
 */

/** A multiple of every disk's block size. */
export const BLOCK_BYTES = 4096;
/** One large write, the chunk that made it large enough, and what the write before left over. */
export const SLAB_BYTES = (1024 + 64 + 8) * 1024;
const SLABS = 8;
const PAGE_BYTES = 64 * 1024;

/** Not in the types of node alone. */
type MemoryClass = new (pages: {
  readonly initial: number;
  readonly maximum: number;
}) => { readonly buffer: ArrayBuffer };

export class AlignedBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((slab: Buffer) => void)[] = [];
  #made = false;

  /** Give it back with `release`. Its bytes are whatever was there. */
  take(): Promise<Buffer> {
    if (!this.#made) this.#make();
    const slab = this.#free.pop();
    if (slab !== undefined) return Promise.resolve(slab);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  release(slab: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(slab);
    else next(slab);
  }

  /** On the first use: many processes (and tests) never write a large body. */
  #make(): void {
    this.#made = true;
    const pages = Math.ceil((SLABS * SLAB_BYTES) / PAGE_BYTES);
    const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: MemoryClass } })
      .WebAssembly;
    const { buffer } = new Memory({ initial: pages, maximum: pages });
    for (let i = 0; i < SLABS; i++)
      this.#free.push(Buffer.from(buffer, i * SLAB_BYTES, SLAB_BYTES));
  }
}
