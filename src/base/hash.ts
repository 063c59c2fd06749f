/**
 * Where a name lives: MD5(prefix + path + suffix) over UTF-8, 16 bytes. Every request of every
 * process computes it, for short inputs, so it is written here in plain integers: a call into
 * node:crypto costs more than the whole of a two-block MD5. Long inputs go to node:crypto, whose
 * assembler wins from about three blocks on (README of `ring`, "Speed").
 *
 * MD5 is no protection here: prefix and suffix are the cluster's own, secret, so that nobody can aim
 * names at one partition; names themselves are never trusted to be unique by their hash alone.
 */
import { hash as cryptoHash } from 'node:crypto';

export const HASH_BYTES = 16;

/** Fixed depth of hash buckets, by which digests and what is complete are kept: >= any part power in use. */
export const BUCKET_BITS = 20;

const BLOCK_BYTES = 64;
const MAX_OWN_BLOCKS = 4;
const MAX_OWN_BYTES = MAX_OWN_BLOCKS * BLOCK_BYTES - 9;

/** RFC 1321: the 64 constants are the first 32 bits of |sin(i)|. */
const K = Int32Array.from({ length: 64 }, (_, i) =>
  Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32),
);

/** Working memory of one call; nothing in it outlives the call. */
const scratch = Buffer.alloc(MAX_OWN_BLOCKS * BLOCK_BYTES);
const words = new Int32Array(scratch.buffer, scratch.byteOffset, scratch.length / 4);
const state = new Int32Array(4);
const stateBytes = new Uint8Array(state.buffer);
const LITTLE_ENDIAN = new Uint8Array(Int32Array.of(1).buffer)[0] === 1;

/** MD5 of the UTF-8 bytes of the three parts, one after another. The caller owns the 16 bytes. */
export function hashPath(prefix: string, path: string, suffix: string): Buffer {
  let length = LITTLE_ENDIAN ? append(prefix, 0) : -1;
  if (length >= 0) length = append(path, length);
  if (length >= 0) length = append(suffix, length);
  if (length < 0) {
    const parts = [Buffer.from(prefix), Buffer.from(path), Buffer.from(suffix)];
    return cryptoHash('md5', Buffer.concat(parts), 'buffer');
  }
  md5OfScratch(length);
  const hash = Buffer.allocUnsafe(HASH_BYTES);
  for (let i = 0; i < HASH_BYTES; i++) hash[i] = stateBytes[i]!;
  return hash;
}

/** Appends `text` to the scratch at `at`; the new length, or -1 when it does not fit. */
function append(text: string, at: number): number {
  const { length } = text;
  if (at + length > MAX_OWN_BYTES) return -1;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return appendUnicode(text, at);
    scratch[at + i] = unit;
  }
  return at + length;
}

function appendUnicode(text: string, at: number): number {
  if (at + Buffer.byteLength(text, 'utf8') > MAX_OWN_BYTES) return -1;
  return at + scratch.write(text, at, 'utf8');
}

function md5OfScratch(length: number): void {
  const blocks = (length + 8 + BLOCK_BYTES) >>> 6;
  scratch[length] = 0x80;
  scratch.fill(0, length + 1, blocks * BLOCK_BYTES);
  words[blocks * 16 - 2] = length << 3;
  state[0] = 0x67452301;
  state[1] = 0xefcdab89;
  state[2] = 0x98badcfe;
  state[3] = 0x10325476;
  for (let block = 0; block < blocks; block++) compress(block * 16);
}

/** One step of MD5: `mixed` is the round's function of b, c, d with the message word and constant. */
function step(mixed: number, b: number, shift: number): number {
  return (((mixed << shift) | (mixed >>> (32 - shift))) + b) | 0;
}

/** The four rounds over one block of 16 words; four steps a turn, so that no register is shuffled. */
function compress(base: number): void {
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  const x = (i: number): number => words[base + (i & 15)]!;
  for (let i = 0; i < 16; i += 4) {
    a = step((a + (d ^ (b & (c ^ d))) + x(i) + K[i]!) | 0, b, 7);
    d = step((d + (c ^ (a & (b ^ c))) + x(i + 1) + K[i + 1]!) | 0, a, 12);
    c = step((c + (b ^ (d & (a ^ b))) + x(i + 2) + K[i + 2]!) | 0, d, 17);
    b = step((b + (a ^ (c & (d ^ a))) + x(i + 3) + K[i + 3]!) | 0, c, 22);
  }
  for (let i = 16; i < 32; i += 4) {
    a = step((a + (c ^ (d & (b ^ c))) + x(5 * i + 1) + K[i]!) | 0, b, 5);
    d = step((d + (b ^ (c & (a ^ b))) + x(5 * i + 6) + K[i + 1]!) | 0, a, 9);
    c = step((c + (a ^ (b & (d ^ a))) + x(5 * i + 11) + K[i + 2]!) | 0, d, 14);
    b = step((b + (d ^ (a & (c ^ d))) + x(5 * i + 16) + K[i + 3]!) | 0, c, 20);
  }
  for (let i = 32; i < 48; i += 4) {
    a = step((a + (b ^ c ^ d) + x(3 * i + 5) + K[i]!) | 0, b, 4);
    d = step((d + (a ^ b ^ c) + x(3 * i + 8) + K[i + 1]!) | 0, a, 11);
    c = step((c + (d ^ a ^ b) + x(3 * i + 11) + K[i + 2]!) | 0, d, 16);
    b = step((b + (c ^ d ^ a) + x(3 * i + 14) + K[i + 3]!) | 0, c, 23);
  }
  for (let i = 48; i < 64; i += 4) {
    a = step((a + (c ^ (b | ~d)) + x(7 * i) + K[i]!) | 0, b, 6);
    d = step((d + (b ^ (a | ~c)) + x(7 * i + 7) + K[i + 1]!) | 0, a, 10);
    c = step((c + (a ^ (d | ~b)) + x(7 * i + 14) + K[i + 2]!) | 0, d, 15);
    b = step((b + (d ^ (c | ~a)) + x(7 * i + 21) + K[i + 3]!) | 0, c, 21);
  }
  state[0] = state[0]! + a;
  state[1] = state[1]! + b;
  state[2] = state[2]! + c;
  state[3] = state[3]! + d;
}
