/**
 * Reads the XML that S3's clients send: elements, attributes, text, CDATA; the five named entities and
 * numeric ones. Strict and bounded: no document type, no processing instruction but the declaration,
 * at most MAX_DEPTH levels and MAX_ELEMENTS elements. A general parser drops characters that keys may
 * hold and takes ten times as long for 10,000 parts.
 *
 * Names are taken without their namespace prefix.
 */
import { refuse, type S3Error } from './errors.ts';

export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Text of an element without children; blanks are kept. */
  readonly text: string;
}

interface Open {
  readonly name: string;
  readonly rawName: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlElement[];
  text: string;
}

const MAX_DEPTH = 16;
const MAX_ELEMENTS = 60_000;
const TAG =
  /<(\/?)([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)((?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/y;
const ATTRIBUTE = /([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const DECLARATION = /^\s*<\?xml\s[^?>]*\?>/;
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g;
const NAMED: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

/** The root element, which must have this name. @throws S3Error MalformedXML */
export function readXml(bytes: Uint8Array, root: string): XmlElement {
  const found = parse(decodeText(bytes));
  if (found.name !== root) throw malformed();
  return found;
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw malformed(); // The only thing decode() throws for is that it is not UTF-8.
  }
}

function parse(source: string): XmlElement {
  const stack: Open[] = [{ name: '', rawName: '', attributes: {}, children: [], text: '' }];
  let at = DECLARATION.exec(source)?.[0].length ?? 0;
  let elements = 0;
  while (at < source.length) {
    const open = stack.at(-1)!;
    const next = source.indexOf('<', at);
    const end = next < 0 ? source.length : next;
    if (end > at) open.text += unescaped(source.slice(at, end));
    if (next < 0) break;
    const skipped = skipSpecial(source, next, open);
    if (skipped !== undefined) {
      at = skipped;
      continue;
    }
    TAG.lastIndex = next;
    const tag = TAG.exec(source);
    if (tag === null) throw malformed();
    at = TAG.lastIndex;
    const [, closes, rawName = '', attributes = '', empty] = tag;
    if (closes === '/') {
      if (attributes !== '' || empty === '/' || stack.length === 1) throw malformed();
      close(stack, rawName);
      continue;
    }
    elements += 1;
    if (stack.length > MAX_DEPTH || elements > MAX_ELEMENTS) throw malformed();
    const name = rawName.slice(rawName.indexOf(':') + 1);
    stack.push({ name, rawName, attributes: attributesOf(attributes), children: [], text: '' });
    if (empty === '/') close(stack, rawName);
  }
  const [outermost] = stack;
  const [root] = outermost!.children;
  if (stack.length !== 1 || outermost!.children.length !== 1 || outermost!.text.trim() !== '') {
    throw malformed();
  }
  return root!;
}

/** Where to go on behind a comment or a CDATA section; undefined: neither begins here. */
function skipSpecial(source: string, at: number, open: Open): number | undefined {
  if (source.startsWith('<!--', at)) {
    const end = source.indexOf('-->', at + 4);
    if (end < 0) throw malformed();
    return end + 3;
  }
  if (!source.startsWith('<![CDATA[', at)) return undefined;
  const end = source.indexOf(']]>', at + 9);
  if (end < 0) throw malformed();
  open.text += source.slice(at + 9, end);
  return end + 3;
}

function close(stack: Open[], rawName: string): void {
  const done = stack.pop()!;
  if (done.rawName !== rawName) throw malformed();
  const { name, attributes, children, text } = done;
  if (children.length > 0 && text.trim() !== '') throw malformed();
  stack
    .at(-1)!
    .children.push({ name, attributes, children, text: children.length > 0 ? '' : text });
}

function attributesOf(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [, name, double, single] of text.matchAll(ATTRIBUTE)) {
    found[name!] = unescaped(double ?? single ?? '');
  }
  return found;
}

function unescaped(text: string): string {
  if (!text.includes('&')) return text;
  const plain = text.replace(ENTITY, (_, decimal: string, hex: string, name: string) => {
    if (name !== undefined) return NAMED[name]!;
    const point = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    if (point === 0 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) throw malformed();
    return String.fromCodePoint(point);
  });
  // What is left of an ampersand was no entity, unless an entity stood for it.
  if (text.replace(ENTITY, '').includes('&')) throw malformed();
  return plain;
}

function malformed(): S3Error {
  return refuse('MalformedXML');
}

/** The only child of this name; undefined when there is none. @throws S3Error MalformedXML for two */
export function child(parent: XmlElement, name: string): XmlElement | undefined {
  const found = parent.children.filter((candidate) => candidate.name === name);
  if (found.length > 1) throw malformed();
  return found[0];
}

export function children(parent: XmlElement, name: string): XmlElement[] {
  return parent.children.filter((candidate) => candidate.name === name);
}

/** Text of the only child of this name. */
export function textOf(parent: XmlElement, name: string): string | undefined {
  return child(parent, name)?.text;
}

/** The same, which must be there. @throws S3Error MalformedXML */
export function requiredText(parent: XmlElement, name: string): string {
  const text = textOf(parent, name);
  if (text === undefined) throw malformed();
  return text;
}

/** @throws S3Error MalformedXML when there is a child of another name */
export function onlyChildren(parent: XmlElement, names: readonly string[]): void {
  if (parent.children.some(({ name }) => !names.includes(name))) throw malformed();
}
