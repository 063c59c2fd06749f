/**
 * Answers in XML. Written as text: a listing of 1,000 keys is one pass of string building. Values are
 * escaped; a character that XML 1.0 can't carry becomes U+FFFD, because a numeric reference to it, as
 * S3 itself writes, makes strict parsers refuse the whole answer (clients that must have such keys ask
 * for encoding-type=url).
 */
const SPECIAL = /[&<>"\r]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g;
const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
};

export function escaped(text: string): string {
  return text.replace(SPECIAL, (found) => ENTITIES[found]!).replace(CONTROL, '\ufffd');
}

/** `<name>text</name>`; nothing for undefined. */
export function leaf(name: string, value: string | number | boolean | undefined): string {
  if (value === undefined) return '';
  return `<${name}>${typeof value === 'string' ? escaped(value) : value}</${name}>`;
}

export function element(name: string, content: string): string {
  return `<${name}>${content}</${name}>`;
}

export function document(root: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${NAMESPACE}">${content}</${root}>`;
}

/** Errors have no namespace. */
export function plainDocument(root: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${content}</${root}>`;
}

/** `2024-05-06T07:08:09.123Z`. Items of one second share their first half. */
export class IsoDates {
  #second = -1;
  #text = '';

  format(micros: number): string {
    const second = Math.floor(micros / 1e6);
    if (second !== this.#second) {
      this.#second = second;
      this.#text = new Date(second * 1000).toISOString().slice(0, 19);
    }
    const ms = Math.floor((micros - second * 1e6) / 1000);
    return `${this.#text}.${String(ms).padStart(3, '0')}Z`;
  }
}

export function isoDate(micros: number): string {
  return new IsoDates().format(micros);
}
