/**
 * Distinguished names. Compared by their bytes; shown, and written in rules, as grids do:
 * `/DC=ch/DC=cern/CN=Anna`. A value that would make that text ambiguous (`x/CN=y`) is refused, because
 * rules match the text.
 */
import { type DerNode, inside, malformed, oidOf, TAG } from './der.ts';

export interface Name {
  readonly der: Buffer;
  /** One element per relative name, in order. */
  readonly parts: readonly NamePart[];
  readonly text: string;
}

export interface NamePart {
  readonly der: Buffer;
  readonly attribute: string;
  readonly value: string;
}

const ATTRIBUTES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'street',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.4': 'SN',
  '2.5.4.42': 'GN',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
};

const MAX_PARTS = 64;
const BMP_STRING = 0x1e;
const AMBIGUOUS = /\/[A-Za-z0-9.]+=/;

/** @throws OperatingError `bad-certificate` */
export function parseName(node: DerNode | undefined): Name {
  const relative = inside(node);
  if (relative.length > MAX_PARTS) throw malformed('name');
  const parts = relative.map(parsePart);
  const text = parts.map(({ attribute, value }) => `/${attribute}=${value}`).join('');
  return { der: node!.raw, parts, text };
}

function parsePart(set: DerNode): NamePart {
  const pairs = inside(set, TAG.set);
  if (pairs.length !== 1) throw malformed('a relative name of several attributes');
  const [type, value] = inside(pairs[0]);
  if (value === undefined) throw malformed('name');
  const oid = oidOf(type);
  const text = value.tag === BMP_STRING ? bigEndianText(value.content) : textOf(value);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (AMBIGUOUS.test(text) || /[\x00-\x1f\x7f]/.test(text)) throw malformed('ambiguous name');
  return { der: set.raw, attribute: ATTRIBUTES[oid] ?? oid, value: text };
}

function textOf(value: DerNode): string {
  return value.content.toString(value.tag === TAG.utf8String ? 'utf8' : 'latin1');
}

function bigEndianText(content: Buffer): string {
  if (content.length % 2 !== 0) throw malformed('name');
  return Buffer.from(content).swap16().toString('utf16le');
}

export function sameName(a: Name, b: Name): boolean {
  return a.der.equals(b.der);
}

/** Whether `name` is `issuer` with one CN more: the rule for proxies' names. */
export function extendsByCn(issuer: Name, name: Name): boolean {
  const last = name.parts.at(-1);
  if (name.parts.length !== issuer.parts.length + 1 || last?.attribute !== 'CN') return false;
  return issuer.parts.every((part, i) => part.der.equals(name.parts[i]!.der));
}
