import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mailSafe, plainText } from './encoded-words.ts';

describe('text of a metadata header', () => {
  it.each([
    ['=?UTF-8?B?w6Q=?=', 'ä'],
    ['=?utf-8?q?=C3=A4_b?= c', 'ä b c'],
    ['=?ISO-8859-1?Q?=E4?=', 'ä'],
    ['=?UTF-8?B?w6Q=?= =?UTF-8?B?w7Y=?=', 'äö'],
    // Stands for itself: no base64, no UTF-8, an unknown charset, a line feed, no word at all.
    ['=?UTF-8?B?w6Q?x?=', '=?UTF-8?B?w6Q?x?='],
    ['=?UTF-8?B?!!?=', '=?UTF-8?B?!!?='],
    ['=?UTF-8?Q?=E4?=', '=?UTF-8?Q?=E4?='],
    ['=?KOI8-R?Q?=E4?=', '=?KOI8-R?Q?=E4?='],
    ['=?UTF-8?Q?a=0Ab?=', '=?UTF-8?Q?a=0Ab?='],
    ['a=?b', 'a=?b'],
  ])('%j stands for %j', (header, text) => {
    expect(plainText(header)).toBe(text);
  });

  it('comes back as it was, in ASCII', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        fc.pre(!text.includes('=?'));
        expect(mailSafe(text)).not.toMatch(/\P{ASCII}/u);
        expect(plainText(mailSafe(text))).toBe(text);
      }),
    );
  });
});
