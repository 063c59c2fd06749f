/**
 * A body as sealed segments, so that a range costs only the segments it touches:
 *
 *   segment   64 KiB of the body (the last one: what is left, also nothing), then a 16-byte tag
 *   nonce     12 bytes: 0 last ? 1 : 0 | 1-3 zero | 4-11 number of the segment, big-endian
 *
 * AES-256-GCM under the object's own data key, which seals nothing else: no nonce is used twice. Number
 * and end are in the nonce, so segments that were exchanged, dropped or cut off do not open. No byte
 * leaves before the tag of its segment was checked.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { assert } from '#base/assert.ts';
import { OperatingError } from '#base/errors.ts';

export const SEGMENT_BYTES = 64 * 1024;
export const TAG_BYTES = 16;
const SEALED_BYTES = SEGMENT_BYTES + TAG_BYTES;
const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;

/** How many bytes `size` bytes are when sealed. */
export function sealedLength(size: number): number {
  return size + segmentCount(size) * TAG_BYTES;
}

function segmentCount(size: number): number {
  return Math.max(1, Math.ceil(size / SEGMENT_BYTES));
}

function nonceOf(segment: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce[0] = last ? 1 : 0;
  nonce.writeBigUInt64BE(BigInt(segment), 4);
  return nonce;
}

/** Seals a body that comes in pieces. A full segment waits until it is known not to be the last. */
export class SegmentSealer {
  readonly #key: Uint8Array;
  readonly #waiting = Buffer.allocUnsafeSlow(SEGMENT_BYTES);
  #filled = 0;
  #segment = 0;
  #ended = false;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  update(chunk: Uint8Array): Buffer[] {
    assert(!this.#ended, 'nothing comes after the end');
    const sealed: Buffer[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#filled === SEGMENT_BYTES) {
        sealed.push(this.#seal(this.#waiting, false));
        this.#filled = 0;
      }
      if (this.#filled === 0 && chunk.length - at > SEGMENT_BYTES) {
        sealed.push(this.#seal(chunk.subarray(at, at + SEGMENT_BYTES), false));
        at += SEGMENT_BYTES;
        continue;
      }
      const taken = Math.min(SEGMENT_BYTES - this.#filled, chunk.length - at);
      this.#waiting.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
    }
    return sealed;
  }

  /** The last segment. */
  final(): Buffer {
    assert(!this.#ended, 'a body ends once');
    this.#ended = true;
    return this.#seal(this.#waiting.subarray(0, this.#filled), true);
  }

  #seal(plain: Uint8Array, last: boolean): Buffer {
    const cipher = createCipheriv(ALGORITHM, this.#key, nonceOf(this.#segment, last));
    this.#segment += 1;
    const body = cipher.update(plain);
    cipher.final();
    return Buffer.concat([body, cipher.getAuthTag()], plain.length + TAG_BYTES);
  }
}

export interface SealedBody {
  readonly key: Uint8Array;
  /** Of the plain body. */
  readonly size: number;
  /** Bytes [start, end) as they are stored. */
  readonly read: (start: number, end: number) => AsyncIterable<Uint8Array>;
}

/** Bytes [start, end) of the plain body. @throws OperatingError `sealed-damaged` */
export async function* openRange(
  { key, size, read }: SealedBody,
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  if (start >= end) return;
  const first = Math.floor(start / SEGMENT_BYTES);
  const afterLast = Math.ceil(end / SEGMENT_BYTES);
  const stored = Math.min(afterLast * SEALED_BYTES, sealedLength(size));
  let segment = first;
  for await (const sealed of inSegments(read(first * SEALED_BYTES, stored))) {
    const plain = openSegment(key, segment, segmentCount(size), sealed);
    const from = Math.max(0, start - segment * SEGMENT_BYTES);
    yield plain.subarray(from, end - segment * SEGMENT_BYTES);
    segment += 1;
  }
  if (segment < afterLast) throw damaged(segment);
}

/** A whole body that is in memory. @throws OperatingError `sealed-damaged` */
export function openWhole(key: Uint8Array, size: number, stored: Buffer): Buffer {
  if (stored.length !== sealedLength(size)) throw damaged(0);
  const plain: Buffer[] = [];
  for (let segment = 0, at = 0; at < stored.length; segment += 1, at += SEALED_BYTES) {
    const sealed = stored.subarray(at, at + SEALED_BYTES);
    plain.push(openSegment(key, segment, segmentCount(size), sealed));
  }
  return plain.length === 1 ? plain[0]! : Buffer.concat(plain);
}

function openSegment(key: Uint8Array, segment: number, count: number, sealed: Buffer): Buffer {
  if (sealed.length < TAG_BYTES || segment >= count) throw damaged(segment);
  const nonce = nonceOf(segment, segment === count - 1);
  const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const plain = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
  } catch (cause) {
    throw damaged(segment, cause);
  }
  return plain;
}

/** Stored bytes regrouped by segment; what comes last may be shorter. */
async function* inSegments(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of source) {
    let rest = chunk;
    while (length + rest.length >= SEALED_BYTES) {
      const taken = SEALED_BYTES - length;
      yield joined(parts, rest.subarray(0, taken));
      rest = rest.subarray(taken);
      parts = [];
      length = 0;
    }
    if (rest.length > 0) parts.push(rest);
    length += rest.length;
  }
  if (length > 0) yield joined(parts, new Uint8Array(0));
}

function joined(parts: readonly Uint8Array[], last: Uint8Array): Buffer {
  if (parts.length > 0) return Buffer.concat([...parts, last]);
  return Buffer.from(last.buffer, last.byteOffset, last.byteLength);
}

function damaged(segment: number, cause?: unknown): OperatingError {
  const text = 'an encrypted body does not open: it was changed, or its record is of another one';
  return new OperatingError('sealed-damaged', text, { segment }, { cause });
}
