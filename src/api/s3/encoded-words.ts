/**
 * Text in the headers of user metadata (RFC 2047): what is not ASCII goes out as one encoded word, as S3
 * sends it, because SDKs take the bytes of a header for Latin-1; on the way in encoded words become
 * the text they stand for, which is what Swift's API then shows.
 */
import { utf8FromBytes } from '../http/utf8.ts';

const WORD = /=\?(utf-8|us-ascii|iso-8859-1)\?([bq])\?([!->@-~]*)\?=/gi;
/** Blanks between two encoded words belong to neither. */
const BETWEEN = /(\?=)[ \t]+(?==\?[\w-]+\?[bq]\?)/gi;
const NOT_ASCII = /[\u0080-\uffff]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they would break a header in two
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;

export function mailSafe(text: string): string {
  return NOT_ASCII.test(text) ? `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=` : text;
}

/** What can't be decoded stands for itself. */
export function plainText(text: string): string {
  if (!text.includes('=?')) return text;
  return text
    .replace(BETWEEN, '$1')
    .replace(WORD, (word, charset: string, encoding: string, content: string) => {
      const bytes = encoding.toLowerCase() === 'b' ? ofBase64(content) : ofQuoted(content);
      const decoded = bytes && decodedAs(charset.toLowerCase(), bytes);
      return decoded === undefined || CONTROL.test(decoded) ? word : decoded;
    });
}

function ofBase64(content: string): Buffer | undefined {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(content) ? Buffer.from(content, 'base64') : undefined;
}

function ofQuoted(content: string): Buffer {
  const bytes = content
    .replaceAll('_', ' ')
    .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return Buffer.from(bytes, 'latin1');
}

function decodedAs(charset: string, bytes: Buffer): string | undefined {
  return charset === 'iso-8859-1' ? bytes.toString('latin1') : utf8FromBytes(bytes);
}
