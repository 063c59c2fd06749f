/**
 * The connection behind a request, as @hono/node-server hands it over, and the certificates that its
 * client sent. The server that asks for them must be made with `requestCert: true,
 * rejectUnauthorized: false`: OpenSSL would refuse proxy certificates, which chain.ts checks itself.
 */
import type { Socket } from 'node:net';
import { type DetailedPeerCertificate, TLSSocket } from 'node:tls';
import type { Context } from 'hono';
import { MAX_CHAIN } from '#identity/x509/chain.ts';

interface NodeBindings {
  readonly incoming?: { readonly socket?: Socket };
}

export function socketOf(c: Context): Socket | undefined {
  return (c.env as NodeBindings | undefined)?.incoming?.socket;
}

export function peerChainOf(c: Context): Uint8Array[] {
  const socket = socketOf(c);
  if (!(socket instanceof TLSSocket)) return [];
  const chain: Uint8Array[] = [];
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  // A self-signed certificate is its own issuer.
  while (next?.raw !== undefined && chain.length <= MAX_CHAIN) {
    chain.push(next.raw);
    const issuer: DetailedPeerCertificate | undefined = next.issuerCertificate;
    next = issuer?.raw !== undefined && !next.raw.equals(issuer.raw) ? issuer : undefined;
  }
  return chain;
}
