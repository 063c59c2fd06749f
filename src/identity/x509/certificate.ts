/** One X.509 certificate, as much of it as decisions need; RFC 5280, and RFC 3820 for proxies. */
import { X509Certificate } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';
import {
  bitsOf,
  booleanOf,
  children,
  type DerNode,
  inside,
  integerOf,
  malformed,
  oidOf,
  readDer,
  TAG,
  timeOf,
} from './der.ts';
import { type Name, parseName } from './name.ts';

const MAX_CERTIFICATE_BYTES = 64 * 1024;

export interface Certificate {
  readonly der: Buffer;
  readonly subject: Name;
  readonly issuer: Name;
  /** Hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly signatureAlgorithm: string;
  readonly isCa: boolean;
  readonly pathLength?: number;
  /** Absent: the certificate does not limit its key's use. */
  readonly keyUsage?: KeyUsage;
  readonly proxy?: ProxyInfo;
  /** The content of VOMS's extension: attribute certificates. */
  readonly voms?: Buffer;
  /** Critical extensions that we do not understand: the certificate cannot be accepted. */
  readonly unknownCritical: readonly string[];
  readonly x509: X509Certificate;
}

export interface KeyUsage {
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly crlSign: boolean;
}

export interface ProxyInfo {
  /** How many proxies may follow; absent: any number. */
  readonly pathLength?: number;
  readonly policy: string;
}

const OID = {
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  proxyCertInfo: '1.3.6.1.5.5.7.1.14',
  voms: '1.3.6.1.4.1.8005.100.100.5',
} as const;

/** Critical extensions that need no decision of ours: usage by TLS servers, policies, key ids. */
const HARMLESS = new Set(['2.5.29.37', '2.5.29.32', '2.5.29.17', '2.5.29.35', '2.5.29.14']);

/** @throws OperatingError `bad-certificate` */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw malformed('too large');
  const bytes = Buffer.from(der);
  const [tbs, algorithm, signature] = inside(readDer(bytes));
  if (signature === undefined) throw malformed('three parts');
  const fields = inside(tbs);
  const [version, ...rest] = fields;
  if (version?.tag !== 0xa0) throw malformed('version');
  const [serial, inner, issuer, validity, subject, , ...optional] = rest;
  const signatureAlgorithm = oidOf(inside(algorithm)[0]);
  if (signatureAlgorithm !== oidOf(inside(inner)[0])) throw malformed('two signature algorithms');
  const [notBefore, notAfter] = inside(validity);
  if (serial?.tag !== TAG.integer || serial.content.length > 64) throw malformed('serial number');
  return {
    der: bytes,
    ...{ subject: parseName(subject), issuer: parseName(issuer), signatureAlgorithm },
    serial: serial.content.toString('hex').replace(/^(00)+(?=..)/, ''),
    notBeforeMs: timeOf(notBefore),
    notAfterMs: timeOf(notAfter),
    ...parseExtensions(optional.find(({ tag }) => tag === 0xa3)),
    x509: openX509(bytes),
  };
}

function openX509(bytes: Buffer): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (cause) {
    throw new OperatingError('bad-certificate', 'malformed certificate', {}, { cause });
  }
}

type Extensions = Pick<
  Certificate,
  'isCa' | 'pathLength' | 'keyUsage' | 'proxy' | 'voms' | 'unknownCritical'
>;

function parseExtensions(wrapper: DerNode | undefined): Extensions {
  const result: { -readonly [K in keyof Extensions]: Extensions[K] } = {
    isCa: false,
    unknownCritical: [],
  };
  if (wrapper === undefined) return result;
  const unknown: string[] = [];
  const seen = new Set<string>();
  for (const extension of inside(children(wrapper)[0])) {
    const parts = inside(extension);
    const oid = oidOf(parts[0]);
    const critical = parts.length === 3 && booleanOf(parts[1]!);
    const value = parts.at(-1);
    if (value?.tag !== TAG.octetString || parts.length > 3) throw malformed('extension');
    if (seen.has(oid)) throw malformed('an extension twice');
    seen.add(oid);
    if (oid === OID.basicConstraints) Object.assign(result, parseBasicConstraints(value.content));
    else if (oid === OID.keyUsage) result.keyUsage = parseKeyUsage(value.content);
    else if (oid === OID.proxyCertInfo) {
      if (!critical) throw malformed('proxy information that is not critical');
      result.proxy = parseProxyInfo(value.content);
    } else if (oid === OID.voms) result.voms = value.content;
    else if (critical && !HARMLESS.has(oid)) unknown.push(oid);
  }
  return { ...result, unknownCritical: unknown };
}

function parseBasicConstraints(content: Buffer): Pick<Certificate, 'isCa' | 'pathLength'> {
  const parts = inside(readDer(content));
  const isCa = parts[0]?.tag === TAG.boolean && booleanOf(parts[0]);
  const limit = parts.find(({ tag }) => tag === TAG.integer);
  return { isCa, ...(limit !== undefined && { pathLength: integerOf(limit) }) };
}

function parseKeyUsage(content: Buffer): KeyUsage {
  const [bits = 0] = bitsOf(readDer(content));
  return {
    digitalSignature: (bits & 0x80) !== 0,
    keyCertSign: (bits & 0x04) !== 0,
    crlSign: (bits & 0x02) !== 0,
  };
}

function parseProxyInfo(content: Buffer): ProxyInfo {
  const parts = inside(readDer(content));
  const limit = parts.find(({ tag }) => tag === TAG.integer);
  const policy = parts.find(({ tag }) => tag === TAG.sequence);
  const pathLength = limit === undefined ? undefined : integerOf(limit);
  if (pathLength !== undefined && pathLength < 0) throw malformed('proxy path length');
  return { pathLength, policy: oidOf(inside(policy)[0]) };
}

const PEM = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g;

/** The DER of every block of this kind; text between them is skipped, as CA files have it. */
export function pemBlocks(text: string, label: string): Buffer[] {
  return Array.from(text.matchAll(PEM))
    .filter((match) => match[1] === label)
    .map((match) => Buffer.from(match[2]!, 'base64'));
}
