/**
 * VOMS attributes: what a virtual organisation's server says of a user, as attribute certificates (RFC
 * 5755) in an extension of the proxy. Believed when
 *
 * - the holder it names is the end entity of the chain (issuer and serial number),
 * - now is between its dates,
 * - the server certificate that comes with it has the names that `VOMSDIR/VO/HOST.lsc` lists for the
 *   organisation, is valid below a trusted authority, and its key signed the attributes,
 * - every attribute (FQAN) begins with the organisation's own name: `/atlas/...`.
 */
import { verify } from 'node:crypto';
import { join } from 'node:path';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { type TrustStore, validateChain } from './chain.ts';
import { STRONG_ALGORITHMS } from './crl.ts';
import {
  bitsOf,
  children,
  type DerNode,
  inside,
  malformed,
  oidOf,
  readDer,
  TAG,
  timeOf,
} from './der.ts';
import { parseName } from './name.ts';

/** By organisation: the lists of subjects, server first, then its issuers. */
export type VomsServers = ReadonlyMap<string, readonly (readonly string[])[]>;

export interface VomsAttributes {
  readonly vos: readonly string[];
  readonly fqans: readonly string[];
  readonly expiresMs: number;
}

const FQAN_ATTRIBUTE = '1.3.6.1.4.1.8005.100.100.4';
const CERTIFICATES_EXTENSION = '1.3.6.1.4.1.8005.100.100.10';
const CLOCK_SKEW_MS = 300_000;
const MAX_ATTRIBUTE_CERTIFICATES = 8;
const MAX_FQANS = 256;
const CONTEXT_0 = 0xa0;
const DIRECTORY_NAME = 0xa4;
const URI = 0x86;

export async function loadVomsServers(
  env: Pick<Env, 'disk' | 'log'>,
  folder: string,
): Promise<VomsServers> {
  const servers = new Map<string, string[][]>();
  for (const vo of await env.disk.list(folder)) {
    if ((await env.disk.stat(join(folder, vo)))?.kind !== 'directory') continue;
    for (const file of await env.disk.list(join(folder, vo))) {
      if (!file.endsWith('.lsc')) continue;
      try {
        const text = (await env.disk.read(join(folder, vo, file))).toString();
        const names = text
          .split('\n')
          .map((line) => line.trim())
          .filter((line) => line.startsWith('/'));
        if (names.length > 0) servers.set(vo, [...(servers.get(vo) ?? []), names]);
      } catch (error) {
        env.log.warn('identity.lsc-ignored', {
          file: join(folder, vo, file),
          error: messageOf(error),
        });
      }
    }
  }
  return servers;
}

/** @throws OperatingError `bad-certificate` */
export function verifyVoms(
  extension: Buffer,
  endEntity: Certificate,
  servers: VomsServers,
  trust: TrustStore,
  nowMs: number,
): VomsAttributes {
  const certificates = inside(readDer(extension)).flatMap((list) => inside(list));
  if (certificates.length > MAX_ATTRIBUTE_CERTIFICATES)
    throw malformed('too many attribute certificates');
  const found = certificates.map((node) => verifyOne(node, endEntity, servers, trust, nowMs));
  return {
    vos: found.map(({ vo }) => vo),
    fqans: found.flatMap(({ fqans }) => fqans),
    expiresMs: Math.min(Infinity, ...found.map(({ expiresMs }) => expiresMs)),
  };
}

interface AttributeCertificate {
  readonly vo: string;
  readonly fqans: readonly string[];
  readonly expiresMs: number;
}

function verifyOne(
  node: DerNode,
  endEntity: Certificate,
  servers: VomsServers,
  trust: TrustStore,
  nowMs: number,
): AttributeCertificate {
  const [info, algorithm, signature] = inside(node);
  if (info === undefined) throw malformed('attribute certificate');
  const [, holder, , inner, , validity, attributes, ...rest] = inside(info);
  checkHolder(holder, endEntity);
  const [notBefore, notAfter] = inside(validity);
  const expiresMs = timeOf(notAfter);
  if (nowMs + CLOCK_SKEW_MS < timeOf(notBefore) || nowMs >= expiresMs) {
    throw refused('the attributes are not valid now');
  }
  const server = checkServer(rest, trust, nowMs);
  const oid = oidOf(inside(algorithm)[0]);
  const digest = STRONG_ALGORITHMS.get(oid);
  if (digest === undefined || oid !== oidOf(inside(inner)[0]))
    throw refused('a weak signature algorithm');
  if (!verify(digest, info.raw, server[0]!.x509.publicKey, bitsOf(signature))) {
    throw refused('the attributes were not signed by their server');
  }
  const { vo, fqans } = attributesOf(attributes);
  if (!(servers.get(vo) ?? []).some((names) => fitsList(names, server))) {
    throw refused(`${server[0]!.subject.text} is no server of ${vo}`);
  }
  return { vo, fqans, expiresMs };
}

/** Holder ::= SEQUENCE { [0] SEQUENCE { issuer GeneralNames, serial INTEGER } ... } */
function checkHolder(holder: DerNode | undefined, endEntity: Certificate): void {
  const base = inside(holder).find(({ tag }) => tag === CONTEXT_0);
  const [issuer, serial] = base === undefined ? [] : children(base);
  const directory = issuer && children(issuer).find(({ tag }) => tag === DIRECTORY_NAME);
  const named = directory && parseName(children(directory)[0]);
  const hex = serial?.content.toString('hex').replace(/^(00)+(?=..)/, '');
  if (!named?.der.equals(endEntity.issuer.der) || hex !== endEntity.serial) {
    throw refused('the attributes are of another holder');
  }
}

/** The server's chain travels in an extension of the attribute certificate. */
function checkServer(rest: readonly DerNode[], trust: TrustStore, nowMs: number): Certificate[] {
  const extensions = rest.find(({ tag }) => tag === TAG.sequence);
  const own = (extensions ? children(extensions) : []).find(
    (extension) => oidOf(inside(extension)[0]) === CERTIFICATES_EXTENSION,
  );
  const value = own && inside(own).at(-1);
  if (value?.tag !== TAG.octetString) throw refused('the server certificate is missing');
  const chain = inside(inside(readDer(value.content))[0]).map(({ raw }) => parseCertificate(raw));
  const { proxies } = validateChain(chain, trust, nowMs);
  if (proxies > 0) throw refused('a server with a proxy certificate');
  return chain;
}

function fitsList(names: readonly string[], [server]: readonly Certificate[]): boolean {
  const [subject, issuer] = names;
  return (
    server?.subject.text === subject && (issuer === undefined || server?.issuer.text === issuer)
  );
}

/** IetfAttrSyntax ::= SEQUENCE { [0] policyAuthority, SEQUENCE OF OCTET STRING } */
function attributesOf(attributes: DerNode | undefined): { vo: string; fqans: string[] } {
  const attribute = inside(attributes).find((node) => oidOf(inside(node)[0]) === FQAN_ATTRIBUTE);
  const [syntax] = attribute === undefined ? [] : inside(inside(attribute)[1], TAG.set);
  const [authority, values] = inside(syntax);
  if (authority?.tag !== CONTEXT_0 || values === undefined) throw malformed('attributes');
  const uri =
    children(authority)
      .find(({ tag }) => tag === URI)
      ?.content.toString('latin1') ?? '';
  const [, vo] = /^([\w.-]{1,128}):\/\//.exec(uri) ?? [];
  if (vo === undefined) throw malformed('the name of the organisation');
  const fqans = inside(values)
    .slice(0, MAX_FQANS)
    .map(({ content }) => fqanText(content));
  if (fqans.some((fqan) => fqan !== `/${vo}` && !fqan.startsWith(`/${vo}/`))) {
    throw refused(`attributes outside of ${vo}`);
  }
  return { vo, fqans };
}

/** `/vo/Role=NULL/Capability=NULL` says no more than `/vo`. */
function fqanText(content: Buffer): string {
  return content
    .toString('latin1')
    .replace(/\/Capability=NULL$/, '')
    .replace(/\/Role=NULL$/, '');
}

function refused(why: string): OperatingError {
  return new OperatingError('bad-certificate', `VOMS attributes refused: ${why}`);
}
