/**
 * Checksums of bodies, in native code or WebAssembly. An instance of a WebAssembly hash costs 60 µs to
 * make, so used ones are kept; one that a broken-off body held is dropped with it.
 *
 *   crc32 (zlib)   crc32c, crc64nvme, xxhash* (hash-wasm)   sha1, sha256, sha512, md5 (node:crypto)
 *
 * Values are base64 of the big-endian bytes, as S3 writes them.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  createCRC32,
  createCRC64,
  createXXHash3,
  createXXHash64,
  createXXHash128,
  type IHasher,
} from 'hash-wasm';
import { refuse, type S3Error } from './errors.ts';

export const ALGORITHMS = [
  ...(['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256', 'sha512', 'md5'] as const),
  ...(['xxhash64', 'xxhash3', 'xxhash128'] as const),
] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** What the store computes when the client names none. */
export const DEFAULT_ALGORITHM: Algorithm = 'crc64nvme';

/** Bytes of a value. */
export const WIDTHS: Readonly<Record<Algorithm, number>> = {
  crc32: 4,
  crc32c: 4,
  crc64nvme: 8,
  sha1: 20,
  sha256: 32,
  sha512: 64,
  md5: 16,
  xxhash64: 8,
  xxhash3: 8,
  xxhash128: 16,
};

/** `x-amz-checksum-crc32c`, and in XML `ChecksumCRC32C`. */
export function headerOf(algorithm: Algorithm): string {
  return `x-amz-checksum-${algorithm}`;
}

export function elementOf(algorithm: Algorithm): string {
  return `Checksum${algorithm.toUpperCase()}`;
}

/** By name in any case; undefined: none of ours. */
export function algorithmOf(name: string): Algorithm | undefined {
  const lower = name.toLowerCase();
  return ALGORITHMS.find((known) => known === lower);
}

export function unknownAlgorithm(): S3Error {
  const names = ALGORITHMS.map((name) => name.toUpperCase()).join(', ');
  return refuse(
    'InvalidRequest',
    `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${names}]`,
  );
}

export interface Hasher {
  update(chunk: Uint8Array): void;
  /** Base64. The hasher must not be used any more. */
  digest(): string;
}

const CRC32C_POLYNOMIAL = 0x82f63b78;
const CRC64NVME_POLYNOMIAL = '9a6c9329ac4bc9b5';
const MAX_KEPT = 64;

/** Those that are WebAssembly. */
const MAKERS = {
  crc32c: () => createCRC32(CRC32C_POLYNOMIAL),
  crc64nvme: () => createCRC64(CRC64NVME_POLYNOMIAL),
  xxhash64: () => createXXHash64(),
  xxhash3: () => createXXHash3(),
  xxhash128: () => createXXHash128(),
} satisfies Partial<Record<Algorithm, () => Promise<IHasher>>>;
type WasmAlgorithm = keyof typeof MAKERS;

export class Checksums {
  readonly #pools: Readonly<Record<WasmAlgorithm, WasmPool>>;

  /** WebAssembly is compiled asynchronously: hashers must be at hand before the first request. */
  static async create(): Promise<Checksums> {
    const pools = Object.entries(MAKERS).map(
      async ([name, make]) => [name, await WasmPool.create(make)] as const,
    );
    return new Checksums(
      Object.fromEntries(await Promise.all(pools)) as Record<WasmAlgorithm, WasmPool>,
    );
  }

  private constructor(pools: Readonly<Record<WasmAlgorithm, WasmPool>>) {
    this.#pools = pools;
  }

  async hasher(algorithm: Algorithm): Promise<Hasher> {
    switch (algorithm) {
      case 'crc32':
        return new Crc32();
      case 'sha1':
      case 'sha256':
      case 'sha512':
      case 'md5': {
        const hash = createHash(algorithm);
        return {
          update: (chunk) => void hash.update(chunk),
          digest: () => hash.digest('base64'),
        };
      }
      default:
        return await this.#pools[algorithm].take();
    }
  }

  /** Of bytes at hand. */
  async of(algorithm: Algorithm, bytes: Uint8Array): Promise<string> {
    const hasher = await this.hasher(algorithm);
    hasher.update(bytes);
    return hasher.digest();
  }
}

class Crc32 implements Hasher {
  #value = 0;

  update(chunk: Uint8Array): void {
    this.#value = crc32(chunk, this.#value);
  }

  digest(): string {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(this.#value);
    return bytes.toString('base64');
  }
}

class WasmPool {
  readonly #make: () => Promise<IHasher>;
  readonly #idle: IHasher[];

  static async create(make: () => Promise<IHasher>): Promise<WasmPool> {
    return new WasmPool(make, await make());
  }

  private constructor(make: () => Promise<IHasher>, first: IHasher) {
    this.#make = make;
    this.#idle = [first];
  }

  async take(): Promise<Hasher> {
    const hasher = this.#idle.pop() ?? (await this.#make());
    hasher.init();
    return {
      update: (chunk) => void hasher.update(chunk),
      digest: () => {
        const value = Buffer.from(hasher.digest('hex'), 'hex').toString('base64');
        if (this.#idle.length < MAX_KEPT) this.#idle.push(hasher);
        return value;
      },
    };
  }
}

/** Base64 of exactly so many bytes; the four-letter tail may be spelled only one way. */
export function isChecksum(algorithm: Algorithm, value: string): boolean {
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === WIDTHS[algorithm] && bytes.toString('base64') === value;
}
