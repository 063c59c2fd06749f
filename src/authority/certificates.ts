/**
 * X.509 of the cluster's own authority: its certificate, requests, and the certificates that nodes
 * show each other on the wire and to the authority.
 *
 * The subject of a node's certificate says who it is, so that nobody has to ask:
 *
 *   O = cluster id    CN = node name    L = site    OU = role, once for each
 *
 * What a request says about its subject is ignored: the authority knows what it wants to certify.
 * Keys are RSA, which is what node-forge signs; making them is node's, which is far faster.
 */
import { generateKeyPairSync } from 'node:crypto';
import forge from 'node-forge';
import { OperatingError } from '#base/errors.ts';
import type { Random } from '#env/env.ts';

const { pki, md } = forge;

const CA_BITS = 3072;
const NODE_BITS = 2048;
const MIN_BITS = 2048;
const MAX_BITS = 8192;
const SERIAL_BYTES = 16;
const MAX_REQUEST_CHARS = 16 * 1024;
const DAY_MS = 86_400_000;
const CA_DAYS = 20 * 365;
/** Clocks of new machines are often behind. */
const BACKDATED_MS = DAY_MS / 2;

/** A private key and its certificate, both PEM. */
export interface KeyPair {
  readonly key: string;
  readonly certificate: string;
}

export interface Subject {
  readonly clusterId: string;
  readonly name: string;
  readonly site: string;
  readonly roles: readonly string[];
  /** Addresses and names under which others reach it, for clients that compare them. */
  readonly hosts: readonly string[];
}

export interface Issuance {
  readonly random: Random;
  readonly nowMs: number;
  readonly days: number;
}

export function newPrivateKey(bits = NODE_BITS): string {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: bits,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return privateKey;
}

/** A new cluster's authority, certified by itself. */
export function createCertificateAuthority(
  clusterId: string,
  { random, nowMs }: Omit<Issuance, 'days'>,
): KeyPair {
  const key = newPrivateKey(CA_BITS);
  const privateKey = pki.privateKeyFromPem(key);
  const certificate = pki.createCertificate();
  certificate.publicKey = pki.setRsaPublicKey(privateKey.n, privateKey.e);
  const subject = [
    { name: 'organizationName', value: clusterId },
    { name: 'commonName', value: 'Anello cluster authority' },
  ];
  certificate.setSubject(subject);
  certificate.setIssuer(subject);
  stamp(certificate, { random, nowMs, days: CA_DAYS });
  certificate.setExtensions([
    { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ]);
  certificate.sign(privateKey, md.sha256.create());
  return { key, certificate: pki.certificateToPem(certificate) };
}

/** What a machine sends to be certified: its public key, proven to be its own. */
export function createRequest(privateKeyPem: string, name: string): string {
  const key = pki.privateKeyFromPem(privateKeyPem);
  const request = pki.createCertificationRequest();
  request.publicKey = pki.setRsaPublicKey(key.n, key.e);
  request.setSubject([{ name: 'commonName', value: name }]);
  request.sign(key, md.sha256.create());
  return pki.certificationRequestToPem(request);
}

/** A node's certificate. @throws OperatingError `bad-request` */
export function certifyNode(
  authority: KeyPair,
  requestPem: string,
  subject: Subject,
  issuance: Issuance,
): string {
  const certificate = pki.createCertificate();
  certificate.publicKey = provenKey(requestPem);
  certificate.setSubject([
    { name: 'organizationName', value: subject.clusterId },
    ...subject.roles.map((value) => ({ name: 'organizationalUnitName', value })),
    { name: 'localityName', value: subject.site },
    { name: 'commonName', value: subject.name },
  ]);
  const usage = { serverAuth: true, clientAuth: true };
  return signed(authority, certificate, [subject.name, ...subject.hosts], usage, issuance);
}

/** For a public HTTPS port: no role, so no node takes it for one of its own. */
export function certifyServer(
  authority: KeyPair,
  requestPem: string,
  hosts: readonly string[],
  issuance: Issuance,
): string {
  const certificate = pki.createCertificate();
  certificate.publicKey = provenKey(requestPem);
  certificate.setSubject([{ name: 'commonName', value: hosts[0] ?? 'anello' }]);
  return signed(authority, certificate, hosts, { serverAuth: true }, issuance);
}

/** For somebody who logs in with it. */
export function certifyPerson(
  authority: KeyPair,
  requestPem: string,
  person: { readonly organization: string; readonly name: string },
  issuance: Issuance,
): string {
  const certificate = pki.createCertificate();
  certificate.publicKey = provenKey(requestPem);
  certificate.setSubject([
    { name: 'organizationName', value: person.organization },
    { name: 'commonName', value: person.name },
  ]);
  return signed(authority, certificate, [], { clientAuth: true }, issuance);
}

function signed(
  authority: KeyPair,
  certificate: forge.pki.Certificate,
  hosts: readonly string[],
  usage: Record<string, boolean>,
  issuance: Issuance,
): string {
  const issuer = pki.certificateFromPem(authority.certificate);
  certificate.setIssuer(issuer.subject.attributes);
  stamp(certificate, issuance);
  certificate.setExtensions([
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
    { name: 'extKeyUsage', ...usage },
    ...(hosts.length > 0
      ? [{ name: 'subjectAltName', altNames: [...new Set(hosts)].map(alternativeName) }]
      : []),
    { name: 'subjectKeyIdentifier' },
    {
      name: 'authorityKeyIdentifier',
      keyIdentifier: issuer.generateSubjectKeyIdentifier().getBytes(),
    },
  ]);
  certificate.sign(pki.privateKeyFromPem(authority.key), md.sha256.create());
  return pki.certificateToPem(certificate);
}

function stamp(certificate: forge.pki.Certificate, { random, nowMs, days }: Issuance): void {
  const serial = random.bytes(SERIAL_BYTES);
  // Positive, and never shortened: some programs compare the text.
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  certificate.serialNumber = serial.toString('hex');
  certificate.validity.notBefore = new Date(nowMs - BACKDATED_MS);
  certificate.validity.notAfter = new Date(nowMs + days * DAY_MS);
}

function provenKey(requestPem: string): forge.pki.rsa.PublicKey {
  const refused = (why: string, cause?: unknown): OperatingError =>
    new OperatingError('bad-request', `the certificate request is refused: ${why}`, {}, { cause });
  if (requestPem.length > MAX_REQUEST_CHARS) throw refused('too long');
  let request: forge.pki.CertificateSigningRequest;
  try {
    request = pki.certificationRequestFromPem(requestPem, true);
    if (!request.verify()) throw refused('its signature is wrong');
  } catch (cause) {
    throw cause instanceof OperatingError ? cause : refused('it cannot be read', cause);
  }
  const key = request.publicKey as forge.pki.rsa.PublicKey;
  const bits = key.n.bitLength();
  if (bits < MIN_BITS || bits > MAX_BITS) throw refused(`a key of ${bits} bits`);
  return key;
}

const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;

function alternativeName(host: string): { type: number; value?: string; ip?: string } {
  if (IPV4.test(host) || host.includes(':')) return { type: 7, ip: host };
  return { type: 2, value: host };
}
