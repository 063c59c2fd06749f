/**
 * CRC-32 per block of 64 KiB: the unit in which bodies are verified. A range read checks the blocks
 * that it touches and no others; a flipped byte costs one block, not one object.
 */
import { crc32 } from 'node:zlib';

export const BLOCK_BYTES = 64 * 1024;

export function blockCount(length: number): number {
  return Math.ceil(length / BLOCK_BYTES);
}

/** Checksums of all blocks of a whole body. */
export function blockChecksums(body: Uint8Array): number[] {
  if (body.length === 0) return [];
  if (body.length <= BLOCK_BYTES) return [crc32(body)];
  const sums: number[] = [];
  for (let at = 0; at < body.length; at += BLOCK_BYTES) {
    sums.push(crc32(body.subarray(at, at + BLOCK_BYTES)));
  }
  return sums;
}

/**
 * The first bad block of `bytes`, which begin at block `first` of the body; undefined: all good.
 * `bytes` must end at a block boundary or at the end of the body.
 */
export function firstBadBlock(
  bytes: Uint8Array,
  first: number,
  checksumOf: (block: number) => number | undefined,
): number | undefined {
  for (let at = 0, block = first; at < bytes.length; at += BLOCK_BYTES, block++) {
    const part = bytes.length <= BLOCK_BYTES ? bytes : bytes.subarray(at, at + BLOCK_BYTES);
    if (crc32(part) !== checksumOf(block)) return block;
  }
  return undefined;
}

/** Checksums of a body that arrives in pieces of any size. */
export class BlockSummer {
  readonly #sums: number[] = [];
  #open = 0;
  #openBytes = 0;

  add(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      const take = Math.min(BLOCK_BYTES - this.#openBytes, chunk.length - at);
      this.#open = crc32(chunk.subarray(at, at + take), this.#open);
      this.#openBytes += take;
      at += take;
      if (this.#openBytes === BLOCK_BYTES) this.#seal();
    }
  }

  /** All checksums; the last block may be short. Nothing can be added after it. */
  finish(): number[] {
    if (this.#openBytes > 0) this.#seal();
    return this.#sums;
  }

  #seal(): void {
    this.#sums.push(this.#open);
    this.#open = 0;
    this.#openBytes = 0;
  }
}
