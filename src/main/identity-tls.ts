/**
 * TLS of identity's port for client certificates. Every client is asked for one and none is refused in
 * the handshake: OpenSSL would turn down proxy certificates (RFC 3820), so the handshake proves only that
 * the client has the leaf's key, and who that makes them is decided by identity (x509/chain.ts).
 *
 * Sessions are not resumed: a resumed one remembers the client's own certificate, not the chain that
 * came with it, and a proxy certificate proves nothing without its chain.
 */
import { constants } from 'node:crypto';
import type { ServerOptions } from 'node:https';

export function certificateAsking(own: {
  key: Buffer | string;
  cert: Buffer | string;
}): ServerOptions {
  return {
    ...own,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
