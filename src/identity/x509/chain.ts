/**
 * Whether a chain of certificates proves who somebody is: RFC 5280 from the end entity up to a trust
 * anchor, RFC 3820 for the proxy certificates below it.
 *
 *     anchor (in the CA folder) -> ... authorities ... -> end entity -> proxy -> proxy ...
 *
 * Every rule answers an attack: an end entity that signs certificates (basic constraints, key usage),
 * a proxy that renames itself (one CN more than its issuer), a limited proxy that sheds its limit, an
 * authority that signs outside its name space (signing policy), a taken-back certificate (CRL; an
 * expired list is worth nothing, so it refuses too).
 */
import { OperatingError } from '#base/errors.ts';
import type { Certificate } from './certificate.ts';
import { type RevocationList, STRONG_ALGORITHMS } from './crl.ts';
import { extendsByCn, sameName } from './name.ts';

export const MAX_CHAIN = 16;
const CLOCK_SKEW_MS = 300_000;
const MIN_RSA_BITS = 2048;
/** Proxies live for hours; tools still made them with short keys long after authorities stopped. */
const MIN_PROXY_RSA_BITS = 1024;

const POLICY = {
  inheritAll: '1.3.6.1.5.5.7.21.1',
  /** Globus: may not start jobs. For storage it reads and writes, but it gets nothing that lasts. */
  limited: '1.3.6.1.4.1.3536.1.1.1.9',
} as const;

export interface TrustAnchor {
  readonly certificate: Certificate;
  /** Subjects that this authority may sign, as in `.signing_policy`; absent: any. */
  readonly mayName?: (subject: string) => boolean;
}

export interface TrustStore {
  readonly anchors: readonly TrustAnchor[];
  /** Lists whose signature was checked, newest per authority. */
  readonly revocationLists: readonly RevocationList[];
}

export interface ProvenIdentity {
  /** The end entity's, without the proxies' CNs. */
  readonly subject: string;
  readonly issuer: string;
  readonly limited: boolean;
  readonly proxies: number;
  /** When the first certificate of the chain ends. */
  readonly expiresMs: number;
  /** Leaf first: VOMS attributes are in the proxies. */
  readonly chain: readonly Certificate[];
  readonly endEntity: Certificate;
}

/**
 * @param presented leaf first, as TLS sends them; the anchor may be missing or among them
 * @throws OperatingError `bad-certificate` with the reason
 */
export function validateChain(
  presented: readonly Certificate[],
  trust: TrustStore,
  nowMs: number,
): ProvenIdentity {
  if (presented.length === 0 || presented.length > MAX_CHAIN) throw refused('1 to 16 certificates');
  const proxies = leadingProxies(presented);
  const endEntity = presented[proxies.length];
  if (endEntity === undefined) throw refused('no end-entity certificate below the proxies');
  checkAuthorities(endEntity, presented.slice(proxies.length + 1), trust, nowMs);
  checkProxies(proxies, endEntity, nowMs);
  const chain = [...proxies, endEntity];
  return {
    subject: endEntity.subject.text,
    issuer: endEntity.issuer.text,
    limited: proxies.some(({ proxy }) => proxy?.policy === POLICY.limited),
    proxies: proxies.length,
    expiresMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
    ...{ chain, endEntity },
  };
}

function leadingProxies(presented: readonly Certificate[]): Certificate[] {
  const end = presented.findIndex(({ proxy }) => proxy === undefined);
  const proxies = presented.slice(0, end < 0 ? presented.length : end);
  if (presented.slice(proxies.length).some(({ proxy }) => proxy !== undefined)) {
    throw refused('a proxy certificate above an end entity');
  }
  return proxies;
}

/** From the end entity up: each signed by the next, the last by an anchor or an anchor itself. */
function checkAuthorities(
  endEntity: Certificate,
  intermediates: readonly Certificate[],
  trust: TrustStore,
  nowMs: number,
): void {
  if (endEntity.isCa) throw refused('an authority is not an end entity');
  let current = endEntity;
  const unused = new Set(intermediates);
  for (let depth = 0; depth < MAX_CHAIN; depth++) {
    checkOne(current, nowMs, MIN_RSA_BITS);
    const anchor = trust.anchors.find(({ certificate }) =>
      sameName(certificate.subject, current.issuer),
    );
    const issuer =
      anchor?.certificate ??
      [...unused].find((candidate) => sameName(candidate.subject, current.issuer));
    if (issuer === undefined) throw refused(`no trusted authority ${current.issuer.text}`);
    unused.delete(issuer);
    checkIssued(issuer, current, depth);
    checkRevocation(current, trust, nowMs);
    if (anchor !== undefined) {
      checkAnchor(anchor, current, endEntity, nowMs);
      checkRevocation(anchor.certificate, trust, nowMs);
      return;
    }
    current = issuer;
  }
  throw refused('the chain is too long');
}

function checkAnchor(
  anchor: TrustAnchor,
  signed: Certificate,
  endEntity: Certificate,
  nowMs: number,
): void {
  // Its own signature proves nothing and may be old; its dates and name space count.
  checkDates(anchor.certificate, nowMs);
  for (const { subject } of [signed, endEntity]) {
    if (anchor.mayName?.(subject.text) === false) {
      throw refused(`${anchor.certificate.subject.text} may not sign ${subject.text}`);
    }
  }
}

function checkOne(certificate: Certificate, nowMs: number, minRsaBits: number): void {
  checkDates(certificate, nowMs);
  if (certificate.unknownCritical.length > 0) {
    throw refused(`an unknown critical extension ${certificate.unknownCritical[0]}`);
  }
  if (!STRONG_ALGORITHMS.has(certificate.signatureAlgorithm)) {
    throw refused(`a weak signature algorithm ${certificate.signatureAlgorithm}`);
  }
  const { publicKey } = certificate.x509;
  const bits = publicKey.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < minRsaBits) throw refused(`a key of ${bits} bits`);
}

function checkDates({ subject, notBeforeMs, notAfterMs }: Certificate, nowMs: number): void {
  if (nowMs + CLOCK_SKEW_MS < notBeforeMs) throw refused(`${subject.text} is not valid yet`);
  if (nowMs >= notAfterMs) throw refused(`${subject.text} has expired`);
}

function checkIssued(issuer: Certificate, certificate: Certificate, below: number): void {
  if (!issuer.isCa) throw refused(`${issuer.subject.text} is not an authority`);
  if (issuer.keyUsage?.keyCertSign === false) throw refused(`${issuer.subject.text} may not sign`);
  if (issuer.pathLength !== undefined && below > issuer.pathLength) {
    throw refused(`more authorities below ${issuer.subject.text} than it allows`);
  }
  checkSignature(issuer, certificate);
}

function checkSignature(issuer: Certificate, certificate: Certificate): void {
  let matches = false;
  try {
    matches = certificate.x509.verify(issuer.x509.publicKey);
  } catch {
    matches = false; // a key that does not fit the algorithm
  }
  if (!matches)
    throw refused(`${certificate.subject.text} was not signed by ${issuer.subject.text}`);
}

function checkRevocation(certificate: Certificate, trust: TrustStore, nowMs: number): void {
  const list = trust.revocationLists.find(({ issuer }) => sameName(issuer, certificate.issuer));
  if (list === undefined) return;
  if (list.revoked.has(certificate.serial))
    throw refused(`${certificate.subject.text} was revoked`);
  if (list.nextUpdateMs !== undefined && list.nextUpdateMs + CLOCK_SKEW_MS < nowMs) {
    throw refused(`the revocation list of ${certificate.issuer.text} has expired`);
  }
}

/** `proxies`: leaf first. */
function checkProxies(
  proxies: readonly Certificate[],
  endEntity: Certificate,
  nowMs: number,
): void {
  let limited = false;
  for (let i = proxies.length - 1; i >= 0; i--) {
    const certificate = proxies[i]!;
    const issuer = proxies[i + 1] ?? endEntity;
    const { policy = '', pathLength } = certificate.proxy ?? {};
    checkOne(certificate, nowMs, MIN_PROXY_RSA_BITS);
    if (certificate.isCa || certificate.keyUsage?.keyCertSign)
      throw refused('a proxy that is an authority');
    if (
      !sameName(certificate.issuer, issuer.subject) ||
      !extendsByCn(issuer.subject, certificate.subject)
    ) {
      throw refused('a proxy whose name is not its issuer with one CN more');
    }
    if (issuer.keyUsage?.digitalSignature === false)
      throw refused('an issuer that may not sign proxies');
    if (pathLength !== undefined && i > pathLength)
      throw refused('more proxies than one of them allows');
    if (policy !== POLICY.inheritAll && policy !== POLICY.limited) {
      throw refused(`a proxy with another policy ${policy}`);
    }
    if (limited && policy !== POLICY.limited) throw refused('a full proxy made from a limited one');
    limited ||= policy === POLICY.limited;
    checkSignature(issuer, certificate);
  }
}

function refused(why: string): OperatingError {
  return new OperatingError('bad-certificate', `certificate refused: ${why}`);
}
