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

export function encodeValue(value: unknown): Encoded {
  return packr.pack(value, REUSE_BUFFER_MODE | RESET_BUFFER_MODE) as Encoded;
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
      at += lengthBytes + fixedBytes;
      if (kind === 'items') items = length * (token >= 0xde ? 2 : 1);
      else at += length;
      if (kind === 'date' && bytes[at - fixedBytes] !== 0xff) throw malformed('an extension type');
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

/** Tokens 0xc0 to 0xdf, as in the msgpack specification. */
const TOKENS: readonly Token[] = [
  fixed(0),
  refused(),
  fixed(0),
  fixed(0), // nil, (never used), false, true
  sized(1),
  sized(2),
  sized(4),
  refused(), // bin 8, 16, 32, ext 8
  refused(),
  refused(),
  fixed(4),
  fixed(8), // ext 16, 32, float 32, 64
  fixed(1),
  fixed(2),
  fixed(4),
  fixed(8), // uint
  fixed(1),
  fixed(2),
  fixed(4),
  fixed(8), // int
  refused(),
  refused(),
  date(5),
  date(9), // fixext 1, 2, 4, 8: the last two may be dates
  refused(),
  sized(1),
  sized(2),
  sized(4), // fixext 16, str 8, 16, 32
  items(2),
  items(4),
  items(2),
  items(4), // array 16, 32, map 16, 32
];

function fixed(fixedBytes: number): Token {
  return { lengthBytes: 0, fixedBytes, kind: 'bytes' };
}
function sized(lengthBytes: number): Token {
  return { lengthBytes, fixedBytes: 0, kind: 'bytes' };
}
function items(lengthBytes: number): Token {
  return { lengthBytes, fixedBytes: 0, kind: 'items' };
}
function date(fixedBytes: number): Token {
  return { lengthBytes: 0, fixedBytes, kind: 'date' };
}
function refused(): Token {
  return { lengthBytes: 0, fixedBytes: 0, kind: 'refused' };
}

function malformed(why: string): ProtocolError {
  return new ProtocolError('malformed-frame', `not a valid msgpack value: ${why}`);
}
