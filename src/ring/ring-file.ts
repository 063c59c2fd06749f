/**
 * A ring as it is published: compressed, checksummed, signed. Integers little-endian.
 *
 *      0   8  magic "ANELRNGZ"
 *      8   2  format version
 *     10   1  compression: 1 = raw deflate
 *     11   1  zero
 *     12   4  U, bytes of the ring when uncompressed
 *     16   4  C, bytes of the compressed ring
 *     20   C  the ring (`format.ts`), compressed
 *          .  signature over everything before it; none: unsigned
 *     end  4  CRC-32 of everything before: tells damage from forgery
 */
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { assert } from '#base/assert.ts';
import { OperatingError } from '#base/errors.ts';
import { MAX_RING_BYTES } from './format.ts';
import { Ring } from './ring.ts';

const RING_FILE_MAGIC = 'ANELRNGZ';
const RING_FILE_FORMAT = 1;
const DEFLATE = 1;
const PREFIX_BYTES = 20;
const CRC_BYTES = 4;
const MAX_SIGNATURE_BYTES = 1024;
/** Level 6 makes the file 3 % smaller and takes five times as long: the low bytes are noise. */
const DEFLATE_LEVEL = 1;

export type Sign = (bytes: Uint8Array) => Uint8Array;
export type Verify = (bytes: Uint8Array, signature: Uint8Array) => boolean;

export function encodeRingFile(ring: Ring, sign?: Sign): Buffer {
  const plain = ring.encode();
  const packed = deflateRawSync(plain, { level: DEFLATE_LEVEL });
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.write(RING_FILE_MAGIC, 0, 'latin1');
  prefix.writeUInt16LE(RING_FILE_FORMAT, 8);
  prefix[10] = DEFLATE;
  prefix.writeUInt32LE(plain.length, 12);
  prefix.writeUInt32LE(packed.length, 16);
  const signed = Buffer.concat([prefix, packed]);
  const signature = sign?.(signed) ?? Buffer.alloc(0);
  assert(signature.length <= MAX_SIGNATURE_BYTES, 'a signature is short');
  const whole = Buffer.concat([signed, signature]);
  const crc = Buffer.alloc(CRC_BYTES);
  crc.writeUInt32LE(crc32(whole));
  return Buffer.concat([whole, crc]);
}

/**
 * With `verify`, only a ring that carries a signature it accepts.
 * @throws OperatingError `malformed`, `newer-format`, `checksum`, `bad-signature`
 */
export function decodeRingFile(input: Uint8Array, verify?: Verify): Ring {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  const { plainBytes, signatureAt } = checkFrame(bytes);
  const signature = bytes.subarray(signatureAt, -CRC_BYTES);
  if (verify !== undefined) {
    const accepted = signature.length > 0 && verify(bytes.subarray(0, signatureAt), signature);
    if (!accepted)
      throw new OperatingError('bad-signature', 'ring file: not signed by this authority');
  }
  return Ring.decode(inflate(bytes.subarray(PREFIX_BYTES, signatureAt), plainBytes));
}

function checkFrame(bytes: Buffer): { plainBytes: number; signatureAt: number } {
  if (bytes.length < PREFIX_BYTES + CRC_BYTES) throw malformed('too short');
  if (bytes.toString('latin1', 0, 8) !== RING_FILE_MAGIC) throw malformed('not a ring file');
  const format = bytes.readUInt16LE(8);
  if (format > RING_FILE_FORMAT) {
    throw new OperatingError('newer-format', 'ring file written by a newer version', { format });
  }
  if (crc32(bytes.subarray(0, -CRC_BYTES)) !== bytes.readUInt32LE(bytes.length - CRC_BYTES)) {
    throw new OperatingError('checksum', 'ring file damaged: its checksum does not match');
  }
  const plainBytes = bytes.readUInt32LE(12);
  const signatureAt = PREFIX_BYTES + bytes.readUInt32LE(16);
  if (format !== RING_FILE_FORMAT || bytes[10] !== DEFLATE) throw malformed('unknown compression');
  if (plainBytes > MAX_RING_BYTES) throw malformed('too large');
  const signatureBytes = bytes.length - CRC_BYTES - signatureAt;
  if (signatureBytes < 0 || signatureBytes > MAX_SIGNATURE_BYTES) throw malformed('lengths');
  return { plainBytes, signatureAt };
}

/** The limit is what the header says: a small file cannot grow without bound. */
function inflate(packed: Buffer, plainBytes: number): Buffer {
  try {
    const plain = inflateRawSync(packed, { maxOutputLength: Math.max(plainBytes, 1) });
    if (plain.length === plainBytes) return plain;
  } catch (cause) {
    throw new OperatingError('malformed', 'malformed ring file: compression', {}, { cause });
  }
  throw malformed('length');
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed ring file: ${what}`);
}
