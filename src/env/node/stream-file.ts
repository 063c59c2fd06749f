/**
 * A file that is written once, in order, past the page cache (O_DIRECT) where the file system can.
 *
 * A large body is rarely read in the seconds after it came, and copying it into the page cache costs
 * more than everything else that a storage node does with it: 1 GiB took 2.4 s of CPU and 3.0 s that
 * way, and 0.13 s and 0.5 s directly, on the machine that the README's figures are from.
 *
 * Direct writes begin and end at multiples of 4 KiB: what does not fill a block waits for the next
 * append, and the last block is padded and the padding cut off again before the sync.
 */
import { constants } from 'node:fs';
import { codeOf } from '#base/errors.ts';
import type { StreamFile } from '../env.ts';
import { type AlignedBuffers, BLOCK_BYTES } from './aligned-buffers.ts';
import type { NodeFile } from './file.ts';

const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;

export type OpenFile = (flags: number) => Promise<NodeFile>;

export class NodeStreamFile implements StreamFile {
  readonly #open: OpenFile;
  readonly #buffers: AlignedBuffers;
  #file: NodeFile;
  /** Written so far: a multiple of BLOCK_BYTES. */
  #position = 0;
  /** Appended, but no whole block yet. */
  readonly #tail = Buffer.alloc(BLOCK_BYTES);
  #tailBytes = 0;

  private constructor(open: OpenFile, buffers: AlignedBuffers, file: NodeFile) {
    this.#open = open;
    this.#buffers = buffers;
    this.#file = file;
  }

  static async create(open: OpenFile, buffers: AlignedBuffers): Promise<NodeStreamFile> {
    const file = await open(CREATE | constants.O_DIRECT).catch((error: unknown) => {
      if (codeOf(error) !== 'EINVAL') throw error;
      return open(CREATE); // tmpfs, for one
    });
    return new NodeStreamFile(open, buffers, file);
  }

  async append(parts: readonly Uint8Array[]): Promise<void> {
    for (let rest = parts; rest.length > 0; ) {
      const slab = await this.#buffers.take();
      try {
        const filled = fill(slab, this.#takeTail(slab), rest);
        await this.#writeBlocks(slab, filled.end);
        rest = filled.rest;
      } finally {
        this.#buffers.release(slab);
      }
    }
  }

  async flush(): Promise<void> {
    if (this.#tailBytes === 0) return;
    const slab = await this.#buffers.take();
    try {
      slab.fill(0, this.#takeTail(slab), BLOCK_BYTES);
      await this.#write(slab.subarray(0, BLOCK_BYTES));
      await this.#file.truncate(this.#position + this.#tailBytes);
    } finally {
      this.#buffers.release(slab);
    }
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #takeTail(slab: Buffer): number {
    slab.set(this.#tail.subarray(0, this.#tailBytes));
    return this.#tailBytes;
  }

  /** Writes the whole blocks among the first `filled` bytes, and keeps the rest. */
  async #writeBlocks(slab: Buffer, filled: number): Promise<void> {
    const whole = filled - (filled % BLOCK_BYTES);
    this.#tailBytes = filled - whole;
    this.#tail.set(slab.subarray(whole, filled));
    if (whole === 0) return;
    await this.#write(slab.subarray(0, whole));
    this.#position += whole;
  }

  async #write(bytes: Buffer): Promise<void> {
    try {
      await this.#file.write(this.#position, [bytes]);
    } catch (error) {
      // A file system that opens files for direct writes and then refuses them.
      if (codeOf(error) !== 'EINVAL') throw error;
      await this.#file.close();
      this.#file = await this.#open(constants.O_RDWR);
      await this.#file.write(this.#position, [bytes]);
    }
  }
}

/** Copies what fits of the parts to `start` of the slab. */
function fill(
  slab: Buffer,
  start: number,
  parts: readonly Uint8Array[],
): { readonly end: number; readonly rest: readonly Uint8Array[] } {
  let end = start;
  for (const [i, part] of parts.entries()) {
    const room = slab.length - end;
    if (part.length > room) {
      slab.set(part.subarray(0, room), end);
      return { end: slab.length, rest: [part.subarray(room), ...parts.slice(i + 1)] };
    }
    slab.set(part, end);
    end += part.length;
  }
  return { end, rest: [] };
}
