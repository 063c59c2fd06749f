/** Text in XML. What XML 1.0 can't hold at all (most control characters) becomes U+FFFD. */
const SPECIAL = /[&<>"'\r\n\t]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const IMPOSSIBLE = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\r': '&#13;',
  '\n': '&#10;',
  '\t': '&#9;',
};

export function escapeXml(text: string): string {
  return text.replace(IMPOSSIBLE, '\ufffd').replace(SPECIAL, (found) => ENTITIES[found]!);
}
