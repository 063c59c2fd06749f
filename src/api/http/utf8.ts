/**
 * Bytes and text at the HTTP edge. Node hands out targets and headers as Latin-1 strings, one
 * character per byte; Swift's names and metadata are UTF-8, on the way in and out.
 */
const NOT_ASCII = /[\u0080-\uffff]/;
const ENCODED = /[%\x80-\xff]/;

/** `ignoreBOM`: a name may begin with one, and it is part of the name. */
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Undefined: not UTF-8. */
export function utf8FromLatin1(text: string): string | undefined {
  return NOT_ASCII.test(text) ? utf8FromBytes(Buffer.from(text, 'latin1')) : text;
}

export function utf8FromBytes(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined; // The only thing decode() throws for is what the caller asks about.
  }
}

/** For response headers: the UTF-8 bytes, one character each. */
export function latin1FromUtf8(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}

/**
 * Percent-decoding of a raw target. `%` without two hex digits stands for itself, as in Swift.
 * Undefined: the bytes are not UTF-8, or one of them is zero.
 */
export function percentDecode(raw: string): string | undefined {
  if (!ENCODED.test(raw)) return raw;
  const bytes = Buffer.allocUnsafe(raw.length);
  let length = 0;
  for (let i = 0; i < raw.length; i++) {
    let byte = raw.charCodeAt(i);
    if (byte === 0x25 && i + 2 < raw.length) {
      const high = hexDigit(raw.charCodeAt(i + 1));
      const low = hexDigit(raw.charCodeAt(i + 2));
      if (high >= 0 && low >= 0) {
        byte = high * 16 + low;
        i += 2;
      }
    }
    if (byte === 0) return undefined;
    bytes[length++] = byte;
  }
  return utf8FromBytes(bytes.subarray(0, length));
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** Percent-encoding for headers that carry a path; slashes stay. */
export function percentEncodePath(path: string): string {
  return encodeURIComponent(path).replaceAll('%2F', '/');
}

export function byteLength(text: string): number {
  return Buffer.byteLength(text, 'utf8');
}

/** `x-object-meta-color` as Swift prints it: `X-Object-Meta-Color`. */
export function titleCase(name: string): string {
  let result = '';
  let start = true;
  for (let i = 0; i < name.length; i++) {
    const character = name[i]!;
    result += start ? character.toUpperCase() : character;
    start = character === '-';
  }
  return result;
}
