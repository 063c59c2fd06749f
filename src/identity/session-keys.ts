/**
 * Short-lived S3 credentials without a record: the session token *is* a signed token, the access key is
 * its audit id, and the secret is derived from it with a key that only identity services have. Any of
 * them can give a proxy the signing key for it, nothing is written to state, and whatever ends the
 * token ends the credentials.
 */
import type { IssuedToken } from './log-ins.ts';
import { decodeToken } from './token.ts';
import type { Vault } from './vault.ts';

export interface SessionKeyPair {
  readonly access: string;
  readonly secret: string;
  readonly sessionToken: string;
  readonly expiresMs: number;
}

/** No access key of a stored pair begins like this (credentials.ts makes and takes none). */
const SESSION_ACCESS_PREFIX = 'ANLOSTS';
const PURPOSE = 'session-keys-1';

export function sessionKeysFor(vault: Vault, { text, fields }: IssuedToken): SessionKeyPair {
  return {
    access: accessOf(fields.auditId),
    secret: secretOf(vault, text),
    sessionToken: text,
    expiresMs: fields.expiresMs,
  };
}

/** The secret that belongs to a session token; undefined when the access key is another's. */
export function sessionSecret(
  vault: Vault,
  access: string,
  sessionToken: string,
): string | undefined {
  const auditId = decodeToken(sessionToken)?.fields.auditId;
  if (auditId === undefined || accessOf(auditId) !== access) return undefined;
  return secretOf(vault, sessionToken);
}

function accessOf(auditId: string): string {
  return SESSION_ACCESS_PREFIX + auditId.toUpperCase();
}

function secretOf(vault: Vault, sessionToken: string): string {
  return vault.derive(PURPOSE, sessionToken).toString('hex').slice(0, 40);
}
