/** Requests of S3's API signed beforehand: a load of them costs the client no signing. */
import { hash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { canonicalRequest, sign, stringToSign, UNSIGNED_PAYLOAD } from '#auth/sigv4.ts';
import { basicTime } from '#auth/sigv4-claim.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';

export interface S3Keys {
  readonly access: string;
  readonly secret: string;
  readonly region: string;
}

const LIFETIME_SECONDS = 6 * 3600;

/** A GET, signed in its query. `target`: path and query, encoded as they are sent. */
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

export interface SignedRequest {
  readonly method: 'PUT' | 'GET';
  readonly target: string;
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Writes the heads of these requests, each signed in its headers as SDKs do it, for LoadPlan.heads. */
export function writeSigned(
  file: string,
  keys: S3Keys,
  host: string,
  requests: readonly SignedRequest[],
): void {
  const date = basicTime(Date.now());
  const scope = { date, day: date.slice(0, 8), region: keys.region, service: 's3' };
  const key = deriveSigningKey(keys.secret, scope);
  const hashes = new Map<Uint8Array, string>();
  const heads = requests.map(({ method, target, body, headers }) => {
    const known = hashes.get(body) ?? hash('sha256', body);
    hashes.set(body, known);
    const all = { ...headers, host, 'x-amz-content-sha256': known, 'x-amz-date': date };
    return signedHead({ method, target, headers: all }, keys, scope, key, body.length);
  });
  writeFileSync(file, heads.join(''));
}

function signedHead(
  request: { method: string; target: string; headers: Readonly<Record<string, string>> },
  { access, region }: S3Keys,
  scope: { date: string; day: string; region: string; service: string },
  key: Buffer,
  length: number,
): string {
  const { method, target, headers } = request;
  const signedHeaders = Object.keys(headers).sort();
  const claim = { ...scope, form: 'header' as const, signedHeaders };
  const canonical = canonicalRequest(request, claim, headers['x-amz-content-sha256']!);
  const made = sign(key, stringToSign(scope, canonical));
  const credential = `${access}/${scope.day}/${region}/s3/aws4_request`;
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `authorization: AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${made}`,
    ...(method === 'PUT' ? [`content-length: ${length}`] : []),
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}
