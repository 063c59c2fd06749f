/**
 * What ends a connection. The code is told to the peer in a GOODBYE frame and shown in logs and
 * metrics; calls under way end with `connection-lost` and this code as a fact.
 */
import { type Facts, OperatingError } from '#base/errors.ts';

const PROTOCOL_CODES = [
  'header-checksum', // a header was damaged, or this is not our protocol at all
  'payload-checksum',
  'unknown-frame', // a type or flag that the agreed version does not have
  'oversized-frame',
  'malformed-frame',
  'unexpected-frame', // well-formed, but not now: wrong order, or a stream that was never opened
  'credit-exceeded',
  'no-common-version',
  'wrong-cluster',
  'wrong-node',
  'wrong-proof', // the peer doesn't know the cluster's key
  'wrong-certificate',
  'not-admitted', // the certificate is revoked, or says something else than the peer
  'handshake-timeout',
  'clock-drift',
  'output-overflow', // the peer doesn't read what it asked for
  'silent', // no answer to pings
  'too-many-handshakes',
  'socket-closed', // without a GOODBYE: the peer was killed, or the path broke
  // Not failures:
  'closing', // the process goes away
  'duplicate', // another connection of the same pair is kept
  'replaced', // the peer has restarted, or lost this connection and made another
] as const;
export type ProtocolCode = (typeof PROTOCOL_CODES)[number];

export class ProtocolError extends OperatingError {
  override readonly name = 'ProtocolError';
  declare readonly code: ProtocolCode;

  constructor(code: ProtocolCode, message: string, facts: Facts = {}) {
    super(code, message, facts);
  }
}

export function isProtocolCode(code: string): code is ProtocolCode {
  return (PROTOCOL_CODES as readonly string[]).includes(code);
}
