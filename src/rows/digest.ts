/**
 * The digest of a set of rows: a keyed 128-bit sum, modulo 2^128, of one term per row. A commit
 * changes it in O(1) (minus the old term, plus the new), and sums over ranges are sums of digests.
 *
 * A term is MD5(key, ring, container hash, length of the name, name and listed columns, state): a
 * function of the canonical joined state alone, so replicas that know the same have the same sum.
 * The key is the cluster's own, so that nobody outside can aim names at equal sums.
 */
import { hash as cryptoHash } from 'node:crypto';
import type { PolicyIndex } from '#base/names.ts';

export const DIGEST_BYTES = 16;
const WORDS = 4;

/** Most significant word first. */
export type Sum = Uint32Array;

export function zeroSum(): Sum {
  return new Uint32Array(WORDS);
}

/** What is the same in every term of one container. */
export function termPrefix(key: string, ring: PolicyIndex, hash: Buffer): Buffer {
  const numbers = Buffer.alloc(2);
  numbers.writeUInt16BE(ring);
  return Buffer.concat([Buffer.from(key), numbers, hash]);
}

export function term(prefix: Buffer, nameBytes: Buffer, listed: string, payload: Buffer): Buffer {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(nameBytes.length);
  return cryptoHash(
    'md5',
    Buffer.concat([prefix, length, nameBytes, Buffer.from(listed), payload]),
    'buffer',
  );
}

export function addTerm(sum: Sum, bytes: Buffer): void {
  let carry = 0;
  for (let i = WORDS - 1; i >= 0; i--) {
    const value = sum[i]! + bytes.readUInt32BE(i * 4) + carry;
    sum[i] = value;
    carry = value > 0xffffffff ? 1 : 0;
  }
}

export function subtractTerm(sum: Sum, bytes: Buffer): void {
  let borrow = 0;
  for (let i = WORDS - 1; i >= 0; i--) {
    const value = sum[i]! - bytes.readUInt32BE(i * 4) - borrow;
    sum[i] = value;
    borrow = value < 0 ? 1 : 0;
  }
}

export function sumToBytes(sum: Sum): Buffer {
  const bytes = Buffer.allocUnsafe(DIGEST_BYTES);
  for (let i = 0; i < WORDS; i++) bytes.writeUInt32BE(sum[i]!, i * 4);
  return bytes;
}

export function sumFromBytes(bytes: Buffer): Sum {
  return Uint32Array.from({ length: WORDS }, (_, i) => bytes.readUInt32BE(i * 4));
}
