/** A GET of S3's API signed beforehand, in its query: a load of them costs the client no signing. */
import { canonicalRequest, sign, stringToSign, UNSIGNED_PAYLOAD } from '#auth/sigv4.ts';
import { basicTime } from '#auth/sigv4-claim.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';

export interface S3Keys {
  readonly access: string;
  readonly secret: string;
  readonly region: string;
}

const LIFETIME_SECONDS = 6 * 3600;

/** `target`: path and query, encoded as they are sent. */
export function presigned(keys: S3Keys, host: string, target: string): string {
  const date = basicTime(Date.now());
  const scope = { date, day: date.slice(0, 8), region: keys.region, service: 's3' };
  const query = new URLSearchParams({
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${keys.access}/${scope.day}/${keys.region}/s3/aws4_request`,
    'X-Amz-Date': date,
    'X-Amz-Expires': String(LIFETIME_SECONDS),
    'X-Amz-SignedHeaders': 'host',
  });
  // A load puts keys where `%` stands, so none may: slashes go as they are.
  const plain = query.toString().replaceAll('%2F', '/');
  const bare = `${target}${target.includes('?') ? '&' : '?'}${plain}`;
  const claim = { ...scope, form: 'query' as const, signedHeaders: ['host'] };
  const canonical = canonicalRequest(
    { method: 'GET', target: bare, headers: { host } },
    claim,
    UNSIGNED_PAYLOAD,
  );
  const made = sign(deriveSigningKey(keys.secret, scope), stringToSign(scope, canonical));
  return `${bare}&X-Amz-Signature=${made}`;
}
