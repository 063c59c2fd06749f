/**
 * DIR/grid: what a demo cluster knows of client certificates, in the form that grids keep it, for people
 * to change. What is there stays; what is missing is made.
 *
 *   certificates/      trusted authorities; the demo's own is demo-ca.pem, its key ../demo-ca.key
 *   vomsdir/VO/*.lsc   servers of virtual organisations
 *   mapping.yaml       whom certificates lead to
 *   issuers.yaml       issuers of web identity tokens; there is none unless somebody writes it
 *   host.pem host.key  identity's TLS ports
 *   user.pem user.key  somebody to try it with
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  certifyPerson,
  certifyServer,
  createCertificateAuthority,
  createRequest,
  type KeyPair,
  newPrivateKey,
} from '#authority/certificates.ts';
import type { Env } from '#env/env.ts';

const SECRET_MODE = 0o600;
const DAYS = 365;
const ORGANIZATION = 'Anello demo';
/** The project of whom the demo's own authority certifies. */
export const GRID_PROJECT = 'grid';

const MAPPING = `# Whom client certificates lead to: the first rule whose every condition holds.
# "anello identity map --test CERT" shows what a certificate would get.
version: 1
rules:
  - name: the demo's own authority
    when: { subject: ["/O=${ORGANIZATION}/*"] }
    user: "{subject}"
    project: ${GRID_PROJECT}
    roles: [swiftoperator]
`;

export interface GridFiles {
  readonly caFolder: string;
  readonly vomsFolder: string;
  readonly rulesFile: string;
  readonly issuersFile: string;
  readonly hostCertificate: string;
  readonly hostKey: string;
  readonly userCertificate: string;
  readonly userKey: string;
  readonly authority: string;
}

export function gridFiles(folder: string): GridFiles {
  const at = (...names: string[]): string => path.join(folder, 'grid', ...names);
  return {
    caFolder: at('certificates'),
    vomsFolder: at('vomsdir'),
    rulesFile: at('mapping.yaml'),
    issuersFile: at('issuers.yaml'),
    hostCertificate: at('host.pem'),
    hostKey: at('host.key'),
    userCertificate: at('user.pem'),
    userKey: at('user.key'),
    authority: at('certificates', 'demo-ca.pem'),
  };
}

export function ensureGrid(env: Pick<Env, 'clock' | 'random'>, folder: string): GridFiles {
  const files = gridFiles(folder);
  for (const each of [files.caFolder, files.vomsFolder]) mkdirSync(each, { recursive: true });
  if (!existsSync(files.rulesFile)) writeFileSync(files.rulesFile, MAPPING);
  if (existsSync(files.hostCertificate) && existsSync(files.userCertificate)) return files;
  const nowMs = env.clock.wallMicros() / 1000;
  const issuance = { random: env.random, nowMs, days: DAYS };
  const authority = ensureAuthority(env, path.join(folder, 'grid', 'demo-ca.key'), files, nowMs);
  const [host, user] = [newPrivateKey(), newPrivateKey()];
  const person = { organization: ORGANIZATION, name: 'Demo User' };
  const hosts = ['localhost', '127.0.0.1'];
  const own = createRequest(host, 'localhost');
  writeFileSync(files.hostKey, host, { mode: SECRET_MODE });
  writeFileSync(files.userKey, user, { mode: SECRET_MODE });
  const request = createRequest(user, person.name);
  writeFileSync(files.userCertificate, certifyPerson(authority, request, person, issuance));
  writeFileSync(files.hostCertificate, certifyServer(authority, own, hosts, issuance));
  return files;
}

function ensureAuthority(
  env: Pick<Env, 'random'>,
  keyFile: string,
  files: GridFiles,
  nowMs: number,
): KeyPair {
  if (existsSync(keyFile) && existsSync(files.authority)) {
    const read = (file: string): string => readFileSync(file, 'utf8');
    return { key: read(keyFile), certificate: read(files.authority) };
  }
  const authority = createCertificateAuthority(ORGANIZATION, { random: env.random, nowMs });
  writeFileSync(keyFile, authority.key, { mode: SECRET_MODE });
  writeFileSync(files.authority, authority.certificate);
  return authority;
}
