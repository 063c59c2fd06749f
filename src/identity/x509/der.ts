/**
 * Reading DER (X.690): strictly, with limits, in place. Certificates come from whoever connects, so
 * every length is checked, nesting is bounded, and indefinite or overlong forms are refused.
 *
 * node-forge's certificate reader knows RSA keys only; grids and new CAs use elliptic curves. So the
 * structure is read here and node:crypto checks the signatures.
 */
import { OperatingError } from '#base/errors.ts';

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

export interface DerNode {
  readonly tag: number;
  /** Header and content, as it stands. */
  readonly raw: Buffer;
  readonly content: Buffer;
}

/** A node that must be the whole of `bytes`. @throws OperatingError `bad-certificate` */
export function readDer(bytes: Buffer): DerNode {
  const { node, end } = readNode(bytes, 0);
  if (end !== bytes.length) throw malformed('bytes after the end');
  return node;
}

/** The nodes inside a constructed one. */
export function children(node: DerNode): DerNode[] {
  const found: DerNode[] = [];
  for (let offset = 0; offset < node.content.length; ) {
    const { node: child, end } = readNode(node.content, offset);
    found.push(child);
    offset = end;
  }
  return found;
}

/** Children of a node that must have this tag. */
export function inside(node: DerNode | undefined, tag: number = TAG.sequence): DerNode[] {
  if (node?.tag !== tag) throw malformed('another type than expected');
  return children(node);
}

function readNode(bytes: Buffer, start: number): { node: DerNode; end: number } {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw malformed('tag');
  let length = first;
  let header = 2;
  if (first & 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4 || start + 2 + count > bytes.length) throw malformed('length');
    length = bytes.readUIntBE(start + 2, count);
    header += count;
    const shortest =
      length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
    if (count !== shortest) throw malformed('overlong length');
  }
  const end = start + header + length;
  if (end > bytes.length) throw malformed('cut off');
  const content = bytes.subarray(start + header, end);
  return { node: { tag, raw: bytes.subarray(start, end), content }, end };
}

export function oidOf(node: DerNode | undefined): string {
  if (node?.tag !== TAG.oid || node.content.length === 0) throw malformed('object identifier');
  const parts: number[] = [];
  let value = 0;
  for (const byte of node.content) {
    if (value > 2 ** 40) throw malformed('object identifier');
    value = value * 128 + (byte & 0x7f);
    if (byte & 0x80) continue;
    if (parts.length === 0)
      parts.push(
        Math.min(2, Math.floor(value / 40)),
        value - 40 * Math.min(2, Math.floor(value / 40)),
      );
    else parts.push(value);
    value = 0;
  }
  return parts.join('.');
}

export function integerOf(node: DerNode | undefined): number {
  if (node?.tag !== TAG.integer || node.content.length === 0 || node.content.length > 6) {
    throw malformed('integer');
  }
  return node.content.readIntBE(0, node.content.length);
}

export function booleanOf(node: DerNode): boolean {
  if (node.tag !== TAG.boolean || node.content.length !== 1) throw malformed('boolean');
  return node.content[0] !== 0;
}

export function bitsOf(node: DerNode | undefined): Buffer {
  if (node?.tag !== TAG.bitString || node.content.length === 0) throw malformed('bit string');
  return node.content.subarray(1);
}

/** Unix milliseconds of a UTCTime or GeneralizedTime in the form that RFC 5280 demands. */
export function timeOf(node: DerNode | undefined): number {
  const text = node?.content.toString('latin1') ?? '';
  const form =
    node?.tag === TAG.utcTime
      ? /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
      : /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/;
  const known = node?.tag === TAG.utcTime || node?.tag === TAG.generalizedTime;
  const parts = known ? form.exec(text)?.slice(1).map(Number) : undefined;
  if (parts === undefined) throw malformed('time');
  const [year, month, day, hour, minute, second] = parts as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const century = node?.tag === TAG.utcTime ? (year < 50 ? 2000 : 1900) : 0;
  return Date.UTC(century + year, month - 1, day, hour, minute, second);
}

export function malformed(what: string): OperatingError {
  return new OperatingError('bad-certificate', `malformed certificate: ${what}`);
}
