/**
 * Who asks the authority: an operator by the operators' token, a node by its certificate (over TLS) or,
 * on one machine without TLS, by the key that all its processes share.
 */
import { createHash, createHmac } from 'node:crypto';
import type { PeerCertificate } from '#env/env.ts';
import { sameText } from './membership.ts';

export type Principal =
  | { readonly kind: 'operator' }
  /** `name` is undefined for a process that only knows the shared key. */
  | { readonly kind: 'node'; readonly name: string | undefined };

export interface Credentials {
  readonly authorization: string | undefined;
  readonly certificate: PeerCertificate | undefined;
}

export interface Known {
  readonly clusterId: string;
  /** SHA-256 of the operators' token, hexadecimal. */
  readonly operatorHash: string;
  /** Undefined where every node has a certificate. */
  readonly nodeSecret: string | undefined;
  readonly isRevoked: (node: string, serial: string) => boolean;
}

/** Undefined: nobody we know. */
export function principalOf(known: Known, credentials: Credentials): Principal | undefined {
  const { authorization = '', certificate } = credentials;
  const bearer = /^Bearer ([\w.~+/=-]{16,256})$/.exec(authorization)?.[1];
  if (bearer !== undefined) {
    if (sameText(hashOfToken(bearer), known.operatorHash)) return { kind: 'operator' };
    const isNode = known.nodeSecret !== undefined && sameText(bearer, known.nodeSecret);
    return isNode ? { kind: 'node', name: undefined } : undefined;
  }
  if (certificate === undefined || certificate.organization !== known.clusterId) return undefined;
  if (certificate.units.length === 0) return undefined;
  if (known.isRevoked(certificate.commonName, certificate.serial)) return undefined;
  return { kind: 'node', name: certificate.commonName };
}

export function hashOfToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** What processes without certificates show: derived, so that the shared key itself never travels. */
export function nodeSecretOf(sharedKey: Uint8Array): string {
  return createHmac('sha256', sharedKey).update('anello authority').digest('base64url');
}
