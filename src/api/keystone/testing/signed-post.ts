/** For tests: a POST to STS or IAM as AWS's clients sign it. */
import { hash } from 'node:crypto';
import type { Hono } from 'hono';
import { canonicalRequest, sign, stringToSign } from '#auth/sigv4.ts';
import { basicTime } from '#auth/sigv4-claim.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';

export interface Keys {
  readonly access: string;
  readonly secret: string;
  readonly sessionToken?: string;
}

export interface QueryAnswer {
  readonly status: number;
  readonly text: string;
  /** The first element of this name. */
  field(name: string): string;
}

export interface Change {
  readonly service?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly aheadMs?: number;
}

const REGION = 'us-east-1';

export async function signedPost(
  app: Hono,
  nowMs: number,
  keys: Keys,
  fields: Readonly<Record<string, string>>,
  change: Change = {},
): Promise<QueryAnswer> {
  const body = new URLSearchParams(fields).toString();
  const date = basicTime(nowMs + (change.aheadMs ?? 0));
  const service = change.service ?? 'sts';
  const scope = { region: REGION, service, day: date.slice(0, 8), date };
  const headers: Record<string, string> = {
    ...{ host: `${service}.example.org`, 'x-amz-date': date },
    'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
    ...(keys.sessionToken !== undefined && { 'x-amz-security-token': keys.sessionToken }),
  };
  const signedHeaders = Object.keys(headers).sort();
  const request = { method: 'POST', target: '/', headers };
  const claim = { form: 'header' as const, service, signedHeaders };
  const canonical = canonicalRequest(request, claim, hash('sha256', body));
  const made = sign(deriveSigningKey(keys.secret, scope), stringToSign(scope, canonical));
  const credential = `${keys.access}/${scope.day}/${REGION}/${service}/aws4_request`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${made}`;
  const response = await app.request('/', {
    method: 'POST',
    body: change.body ?? body,
    headers: { ...headers, authorization, ...change.headers },
  });
  return queryAnswer(response);
}

async function queryAnswer(response: Response): Promise<QueryAnswer> {
  const text = await response.text();
  const field = (name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1] ?? '';
  return { status: response.status, text, field };
}
