/**
 * Ranges of buckets in few bytes: a device is complete for hundreds of partitions, every cycle tells them
 * to every node, and nearly all bounds are multiples of the same power of two.
 *
 *     shift (1 byte), then for each bound its difference to the one before, shifted right: LEB128
 *
 * No version: both ends of a connection agree on theirs, and no bytes are kept.
 */
import { OperatingError } from '#base/errors.ts';
import { BUCKET_BITS } from '#base/hash.ts';

const BUCKETS = 2 ** BUCKET_BITS;
const MORE = 0x80;
/** Bounds that a reader remembers: a few megabytes. */
const MAX_KNOWN = 500_000;

/** Of bounds that ascend, from 0 to BUCKETS. */
export function packBounds(bounds: readonly number[]): Buffer {
  const all = bounds.reduce((bits, bound) => bits | bound, 0);
  const shift = all === 0 ? 0 : 31 - Math.clz32(all & -all);
  const bytes = [shift];
  let before = 0;
  for (const bound of bounds) {
    let rest = (bound - before) >>> shift;
    for (; rest >= MORE; rest >>>= 7) bytes.push((rest & (MORE - 1)) | MORE);
    bytes.push(rest);
    before = bound;
  }
  return Buffer.from(bytes);
}

/** @throws OperatingError `malformed` */
export function unpackBounds(bytes: Uint8Array, limit: number): number[] {
  const [shift = 0] = bytes;
  const bounds: number[] = [];
  let bound = 0;
  let [step, bits] = [0, 0];
  for (const byte of bytes.subarray(1)) {
    step += (byte & (MORE - 1)) * 2 ** bits;
    bits += 7;
    if (bits > 28) throw malformed();
    if (byte & MORE) continue;
    bound += step * 2 ** shift;
    [step, bits] = [0, 0];
    if (bound > BUCKETS || bounds.push(bound) > limit) throw malformed();
  }
  if (shift > BUCKET_BITS || bits !== 0 || bounds.length % 2 !== 0) throw malformed();
  return bounds;
}

/** Remembers what it has read: devices tell the same in every cycle. */
export class BoundsReader {
  readonly #known = new Map<string, readonly number[]>();
  #size = 0;

  /** @throws OperatingError `malformed` */
  read(bytes: Uint8Array, limit: number): readonly number[] {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const bounds = unpackBounds(bytes, limit);
    this.#size += bounds.length;
    if (this.#size > MAX_KNOWN) {
      this.#known.clear();
      this.#size = bounds.length;
    }
    this.#known.set(text, bounds);
    return bounds;
  }
}

function malformed(): OperatingError {
  return new OperatingError('malformed', 'malformed ranges of buckets');
}
