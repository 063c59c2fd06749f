/**
 * Reads a file past the page cache (O_DIRECT) where the file system can. Filling the cache with a body
 * that is read once costs ten times the CPU of reading it, and throws out what is read often.
 *
 * Direct reads begin and end at multiples of 4 KiB, in aligned memory; what was asked for is copied out.
 */
import { constants } from 'node:fs';
import { codeOf } from '#base/errors.ts';
import type { ScanFile } from '../env.ts';
import { type AlignedBuffers, BLOCK_BYTES, SLAB_BYTES } from './aligned-buffers.ts';
import type { NodeFile } from './file.ts';
import type { OpenFile } from './stream-file.ts';

export class NodeScanFile implements ScanFile {
  readonly #buffers: AlignedBuffers;
  readonly #file: NodeFile;

  private constructor(buffers: AlignedBuffers, file: NodeFile) {
    this.#buffers = buffers;
    this.#file = file;
  }

  static async open(open: OpenFile, buffers: AlignedBuffers): Promise<NodeScanFile> {
    const file = await open(constants.O_RDONLY | constants.O_DIRECT).catch((error: unknown) => {
      if (codeOf(error) !== 'EINVAL') throw error;
      return open(constants.O_RDONLY); // tmpfs, for one
    });
    return new NodeScanFile(buffers, file);
  }

  async read(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const count = await this.#readSome(position + filled, bytes.subarray(filled));
      if (count === 0) return bytes.subarray(0, filled);
      filled += count;
    }
    return bytes;
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /** At most what one slab holds; 0 at the end of the file. */
  async #readSome(position: number, target: Buffer): Promise<number> {
    const slab = await this.#buffers.take();
    try {
      const skip = position % BLOCK_BYTES;
      const wanted = Math.ceil((skip + target.length) / BLOCK_BYTES) * BLOCK_BYTES;
      const room = slab.subarray(0, Math.min(wanted, SLAB_BYTES));
      const count = await this.#file.readInto(room, position - skip);
      const useful = Math.max(0, Math.min(count - skip, target.length));
      slab.copy(target, 0, skip, skip + useful);
      return useful;
    } finally {
      this.#buffers.release(slab);
    }
  }
}
