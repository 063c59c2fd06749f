/**
 * A folder of trusted authorities as IGTF distributes it (/etc/grid-security/certificates):
 * `*.pem` and `HASH.0` certificates, `HASH.r0` and `*.crl.pem` revocation lists, `*.signing_policy`.
 * A file that cannot be read as what it says is reported and left out: the others still count. A
 * revocation list counts only when it was signed by the authority it names.
 */
import { join } from 'node:path';
import { messageOf } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { type Certificate, parseCertificate, pemBlocks } from './certificate.ts';
import type { TrustAnchor, TrustStore } from './chain.ts';
import { parseRevocationList, type RevocationList } from './crl.ts';
import { sameName } from './name.ts';
import { parseSigningPolicy, type SigningPolicy } from './signing-policy.ts';

const MAX_FILES = 5000;
const CERTIFICATE_FILE = /\.(pem|crt|\d)$/;
const LIST_FILE = /\.(r\d|crl|crl\.pem)$/;
const POLICY_FILE = /\.signing_policy$/;

/** @throws what the disk says when the folder itself cannot be read */
export async function loadCaFolder(
  env: Pick<Env, 'disk' | 'log'>,
  folder: string,
): Promise<TrustStore> {
  const names = (await env.disk.list(folder)).slice(0, MAX_FILES);
  const certificates = new Map<string, Certificate>();
  const lists: RevocationList[] = [];
  const policies: SigningPolicy[] = [];
  for (const name of names) {
    try {
      if (LIST_FILE.test(name)) {
        const bytes = await env.disk.read(join(folder, name));
        lists.push(...derOf(bytes, 'X509 CRL').map(parseRevocationList));
      } else if (POLICY_FILE.test(name)) {
        policies.push(...parseSigningPolicy((await env.disk.read(join(folder, name))).toString()));
      } else if (CERTIFICATE_FILE.test(name)) {
        for (const der of derOf(await env.disk.read(join(folder, name)), 'CERTIFICATE')) {
          // The same authority is there as NAME.pem and HASH.0.
          certificates.set(der.toString('base64'), parseCertificate(der));
        }
      }
    } catch (error) {
      env.log.warn('identity.ca-file-ignored', {
        file: join(folder, name),
        error: messageOf(error),
      });
    }
  }
  const anchors = [...certificates.values()]
    .filter(({ isCa }) => isCa)
    .map((certificate) => anchorOf(certificate, policies));
  return { anchors, revocationLists: trusted(env, lists, anchors) };
}

function derOf(bytes: Buffer, label: string): Buffer[] {
  return bytes[0] === 0x30 ? [bytes] : pemBlocks(bytes.toString('latin1'), label);
}

function anchorOf(certificate: Certificate, policies: readonly SigningPolicy[]): TrustAnchor {
  const own = policies.filter(({ authority }) => authority === certificate.subject.text);
  if (own.length === 0) return { certificate };
  return { certificate, mayName: (subject) => own.some((policy) => policy.allows(subject)) };
}

function trusted(
  env: Pick<Env, 'log'>,
  lists: readonly RevocationList[],
  anchors: readonly TrustAnchor[],
): RevocationList[] {
  const newestFirst = [...lists].sort((a, b) => b.thisUpdateMs - a.thisUpdateMs);
  return newestFirst.filter((list) => {
    const signed = anchors.some(
      ({ certificate }) =>
        sameName(certificate.subject, list.issuer) &&
        certificate.keyUsage?.crlSign !== false &&
        list.isSignedBy(certificate.x509.publicKey),
    );
    if (!signed) env.log.warn('identity.crl-ignored', { issuer: list.issuer.text });
    return signed;
  });
}
