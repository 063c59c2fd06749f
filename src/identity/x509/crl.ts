/** Certificate revocation lists, RFC 5280: which serial numbers an authority has taken back. */
import { type KeyObject, verify } from 'node:crypto';
import { bitsOf, children, inside, malformed, oidOf, readDer, TAG, timeOf } from './der.ts';
import { type Name, parseName } from './name.ts';

export interface RevocationList {
  readonly issuer: Name;
  readonly thisUpdateMs: number;
  /** From then on the list says nothing any more. */
  readonly nextUpdateMs?: number;
  /** Serial numbers, hex. */
  readonly revoked: ReadonlySet<string>;
  isSignedBy(key: KeyObject): boolean;
}

const MAX_CRL_BYTES = 64 * 1024 * 1024;

/** Digest by signature algorithm; null: the algorithm has its own. MD5 and SHA-1 are not here. */
export const STRONG_ALGORITHMS: ReadonlyMap<string, string | null> = new Map([
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.3.101.112', null],
  ['1.3.101.113', null],
]);

/** @throws OperatingError `bad-certificate` */
export function parseRevocationList(der: Buffer): RevocationList {
  if (der.length > MAX_CRL_BYTES) throw malformed('revocation list too large');
  const [tbs, algorithm, signature] = inside(readDer(der));
  if (tbs === undefined) throw malformed('revocation list');
  const fields = inside(tbs);
  const rest = fields[0]?.tag === TAG.integer ? fields.slice(1) : fields;
  const [, issuer, thisUpdate, ...optional] = rest;
  const isTime = (tag: number): boolean => tag === TAG.utcTime || tag === TAG.generalizedTime;
  const nextUpdate = optional.find(({ tag }) => isTime(tag));
  const entries = optional.find(({ tag }) => tag === TAG.sequence);
  const digest = STRONG_ALGORITHMS.get(oidOf(inside(algorithm)[0]));
  const bits = bitsOf(signature);
  return {
    issuer: parseName(issuer),
    thisUpdateMs: timeOf(thisUpdate),
    ...(nextUpdate !== undefined && { nextUpdateMs: timeOf(nextUpdate) }),
    revoked: new Set(
      (entries ? children(entries) : []).map((entry) => serialOf(inside(entry)[0]?.content)),
    ),
    isSignedBy: (key) => digest !== undefined && verify(digest, tbs.raw, key, bits),
  };
}

function serialOf(content: Buffer | undefined): string {
  if (content === undefined) throw malformed('revocation list entry');
  return content.toString('hex').replace(/^(00)+(?=..)/, '');
}
