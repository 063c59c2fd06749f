import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hashPath } from './hash.ts';

function naive(prefix: string, path: string, suffix: string): string {
  const parts = [prefix, path, suffix].map((part) => Buffer.from(part, 'utf8'));
  return createHash('md5').update(Buffer.concat(parts)).digest('hex');
}

describe('hashPath', () => {
  it("gives RFC 1321's values", () => {
    expect(hashPath('', '', '').toString('hex')).toBe('d41d8cd98f00b204e9800998ecf8427e');
    expect(hashPath('m', 'essage dige', 'st').toString('hex')).toBe(
      'f96b697d7cb7938d525a2f31aaf161d0',
    );
  });

  it('equals MD5 at every length around the ends of blocks', () => {
    for (let length = 0; length < 600; length++) {
      const path = 'x'.repeat(length);
      expect(hashPath('pre', path, 'suf').toString('hex')).toBe(naive('pre', path, 'suf'));
    }
  });

  it('equals MD5 of the UTF-8 bytes for any text, lone surrogates too', () => {
    const text = fc.oneof(
      fc.array(fc.nat(0xffff), { maxLength: 300 }).map((units) => String.fromCharCode(...units)),
      fc.string({ maxLength: 120 }),
      fc.constantFrom('\ud800', 'a\udc00b', '\u{1f40b}'),
    );
    fc.assert(
      fc.property(text, text, text, (prefix, path, suffix) => {
        expect(hashPath(prefix, path, suffix).toString('hex')).toBe(naive(prefix, path, suffix));
      }),
      { numRuns: 500 },
    );
  });

  it('returns bytes that a later call does not change', () => {
    const first = hashPath('', '/a/c/o', '');
    const hex = first.toString('hex');
    hashPath('', '/a/c/other', '');
    expect(first.toString('hex')).toBe(hex);
  });
});
