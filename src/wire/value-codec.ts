/**
 * msgpack for calls and replies: encoded into one reused buffer, decoded in place.
 *
 * Every value is walked over before it is decoded (`checkValue`, about 4 ns for each item): a
 * decoder believes a length of 2^32 and allocates for it, so a few hostile bytes could end the
 * process. What passes has no length beyond its bytes, bounded depth, and no extension types
 * but dates.
 */
import { Packr, RESET_BUFFER_MODE, REUSE_BUFFER_MODE, Unpackr } from 'msgpackr';
import { ProtocolError } from './protocol-error.ts';

export const MAX_DEPTH = 64;

/** An encoded value is `bytes.start` to `bytes.end` of a buffer that the next encoding reuses. */
export type Encoded = Buffer & { readonly start: number; readonly end: number };

const packr = new Packr({ useRecords: false, moreTypes: false, encodeUndefinedAsNil: true });
const unpackr = new Unpackr({
  useRecords: false,
  moreTypes: false,
  mapsAsObjects: true,
  int64AsType: 'number',
});
/** Scratch of the two functions below, which never call out: for each open container, what is left. */
const open = new Float64Array(MAX_DEPTH + 1);
const range = { start: 0, end: 0 };

/**
 * Checked as the receiver will check it: what it would refuse (nested too deeply, say) must be the
 * failure of one call here, not the end of everybody's connection there.
 * @throws for what can't be sent
 */
export function encodeValue(value: unknown): Encoded {
  const bytes = packr.pack(value, REUSE_BUFFER_MODE | RESET_BUFFER_MODE) as Encoded;
  checkValue(bytes, bytes.start, bytes.end);
  return bytes;
}

/** Binary fields of the result are views into `bytes`. @throws ProtocolError `malformed-frame` */
export function decodeValue(bytes: Buffer, start: number, end: number): unknown {
  checkValue(bytes, start, end);
  range.start = start;
  range.end = end;
  try {
    return unpackr.unpack(bytes, range);
  } catch {
    throw malformed('undecodable');
  }
}

/** Checks that the bytes are exactly one well-formed value. @throws ProtocolError */
export function checkValue(bytes: Buffer, start: number, end: number): void {
  let at = start;
  let depth = 0;
  open[0] = 1;
  for (;;) {
    while (open[depth] === 0) {
      if (depth-- > 0) continue;
      if (at !== end) throw malformed('bytes after the value');
      return;
    }
    open[depth]!--;
    if (at >= end) throw malformed('cut short');
    const token = bytes[at++]!;
    if (token < 0x80 || token >= 0xe0) continue;
    let items = 0;
    if (token < 0x90) items = (token & 15) * 2;
    else if (token < 0xa0) items = token & 15;
    else if (token < 0xc0) at += token & 31;
    else {
      const { lengthBytes, fixedBytes, kind } = TOKENS[token - 0xc0]!;
      if (kind === 'refused' || at + lengthBytes > end) throw malformed('a token');
      const length = lengthBytes === 0 ? 0 : bytes.readUIntBE(at, lengthBytes);
      const typeAt = at + lengthBytes;
      at = typeAt + fixedBytes;
      if (kind === 'items') items = length * (token >= 0xde ? 2 : 1);
      else at += length;
      if (kind === 'date' && bytes[typeAt] !== 0xff) throw malformed('an extension type');
    }
    if (at > end || items > end - at) throw malformed('longer than its bytes');
    if (items === 0) continue;
    if (++depth > MAX_DEPTH) throw malformed('nested too deeply');
    open[depth] = items;
  }
}

interface Token {
  /** How many bytes of length follow, */
  readonly lengthBytes: number;
  /** and how many more in any case. */
  readonly fixedBytes: number;
  readonly kind: 'bytes' | 'items' | 'date' | 'refused';
}

/** Tokens 0xc0 to 0xdf, eight in a line, in the notation of `token`. */
const TOKENS: readonly Token[] = [
  'f0 -- f0 f0 b1 b2 b4 d1', // nil, never used, false, true, bin 8, 16, 32, ext 8 (of a date)
  '-- -- f4 f8 f1 f2 f4 f8', // ext 16, 32, float 32, 64, uint 8, 16, 32, 64
  'f1 f2 f4 f8 e2 -- e5 e9', // int 8, 16, 32, 64, fixext 1 (no date), 2, 4, 8 (dates)
  '-- b1 b2 b4 i2 i4 i2 i4', // fixext 16, str 8, 16, 32, array 16, 32, map 16, 32
].flatMap((line) => line.split(' ').map(token));

/** f: fixed bytes. b, i: a length, then so many bytes, or items. d, e: a date, with or without length. */
function token([letter, digit]: string): Token {
  const bytes = Number(digit);
  if (letter === 'f') return { lengthBytes: 0, fixedBytes: bytes, kind: 'bytes' };
  if (letter === 'b') return { lengthBytes: bytes, fixedBytes: 0, kind: 'bytes' };
  if (letter === 'i') return { lengthBytes: bytes, fixedBytes: 0, kind: 'items' };
  if (letter === 'd') return { lengthBytes: bytes, fixedBytes: 1, kind: 'date' };
  if (letter === 'e') return { lengthBytes: 0, fixedBytes: bytes, kind: 'date' };
  return { lengthBytes: 0, fixedBytes: 0, kind: 'refused' };
}

function malformed(why: string): ProtocolError {
  return new ProtocolError('malformed-frame', `not a valid msgpack value: ${why}`);
}
