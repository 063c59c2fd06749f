/** What a certificate says, read by the platform: without node-forge, which only issuing needs. */
import { X509Certificate } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';

export interface CertificateFacts {
  /** Hexadecimal, upper case, as TLS tells it. */
  readonly serial: string;
  readonly notAfterMs: number;
  readonly notBeforeMs: number;
  /** SHA-256 of the DER form, lower-case hexadecimal. */
  readonly fingerprint: string;
}

/** @throws OperatingError `bad-certificate` */
export function certificateFacts(pem: string): CertificateFacts {
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(pem);
  } catch (cause) {
    throw new OperatingError('bad-certificate', 'not a certificate', {}, { cause });
  }
  return {
    serial: parsed.serialNumber.toUpperCase(),
    notAfterMs: Date.parse(parsed.validTo),
    notBeforeMs: Date.parse(parsed.validFrom),
    fingerprint: parsed.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}
