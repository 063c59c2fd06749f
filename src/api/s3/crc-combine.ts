/**
 * The CRC of two runs of bytes, one after the other, from their CRCs and the second one's length: what
 * a full-object checksum of an upload in parts is made of, without reading a byte again.
 *
 * CRCs are residues modulo the polynomial P. Appending n bytes multiplies the first by x^(8n) mod P;
 * then the second is added. Bits stand reflected, as in all three algorithms; their initial and final
 * complements cancel out. Powers of x come by squaring, and parts of one length share theirs.
 */
import { type Algorithm, WIDTHS } from './checksums.ts';

const POLYNOMIALS: Partial<Record<Algorithm, bigint>> = {
  crc32: 0xedb88320n,
  crc32c: 0x82f63b78n,
  crc64nvme: 0x9a6c9329ac4bc9b5n,
};

/** Whether whole-object checksums of this kind can be made of those of parts. */
export function isCombinable(algorithm: Algorithm): boolean {
  return POLYNOMIALS[algorithm] !== undefined;
}

export interface PartChecksum {
  /** Base64. */
  readonly value: string;
  readonly length: number;
}

/** Base64, of the parts' bytes one after another. The algorithm must be combinable. */
export function combine(algorithm: Algorithm, parts: readonly PartChecksum[]): string {
  const polynomial = POLYNOMIALS[algorithm];
  if (polynomial === undefined) throw new Error(`${algorithm} can't be combined`);
  const field = new Field(polynomial, BigInt(8 * WIDTHS[algorithm]));
  let sum = 0n;
  for (const { value, length } of parts) {
    const crc = BigInt(`0x${Buffer.from(value, 'base64').toString('hex')}`);
    sum = field.multiply(field.power(length), sum) ^ crc;
  }
  const digits = sum.toString(16).padStart(2 * WIDTHS[algorithm], '0');
  return Buffer.from(digits, 'hex').toString('base64');
}

/** Polynomials over GF(2) modulo P; the highest bit is the coefficient of x^0. */
class Field {
  readonly #polynomial: bigint;
  readonly #one: bigint;
  /** x^(2^k) */
  readonly #squares: bigint[];
  readonly #powers = new Map<number, bigint>();

  constructor(polynomial: bigint, bits: bigint) {
    this.#polynomial = polynomial;
    this.#one = 1n << (bits - 1n);
    this.#squares = [1n << (bits - 2n)];
  }

  multiply(a: bigint, b: bigint): bigint {
    let product = 0n;
    let factor = b;
    for (let bit = this.#one; bit > 0n; bit >>= 1n) {
      if ((a & bit) !== 0n) product ^= factor;
      factor = (factor & 1n) === 0n ? factor >> 1n : (factor >> 1n) ^ this.#polynomial;
    }
    return product;
  }

  /** x^(8 * bytes) */
  power(bytes: number): bigint {
    const known = this.#powers.get(bytes);
    if (known !== undefined) return known;
    let power = this.#one;
    let left = bytes;
    for (let k = 3; left > 0; k++) {
      if (left % 2 === 1) power = this.multiply(this.#square(k), power);
      left = Math.floor(left / 2);
    }
    this.#powers.set(bytes, power);
    return power;
  }

  #square(k: number): bigint {
    while (this.#squares.length <= k) {
      const last = this.#squares.at(-1)!;
      this.#squares.push(this.multiply(last, last));
    }
    return this.#squares[k]!;
  }
}
