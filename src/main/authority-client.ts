/**
 * How a process reaches the authorities: over mutual TLS where its node has a certificate, else (on one
 * machine) over plain HTTP with what follows from the shared key.
 */
import { MAX_BUNDLE_BYTES } from '#authority/bundle.ts';
import { nodeSecretOf } from '#authority/principal.ts';
import { OperatingError } from '#base/errors.ts';
import type { TlsOptions } from '#env/env.ts';
import { httpsRequest } from '#env/node/https-client.ts';

const TIMEOUT_MS = 5000;

export interface AuthorityReply {
  readonly status: number;
  readonly body: Buffer;
}

export type AskAuthority = (
  url: string,
  method: 'GET' | 'POST',
  body?: unknown,
) => Promise<AuthorityReply>;

/** `tls` is asked on every call: certificates are renewed. */
export function authorityClient(
  tls: () => TlsOptions | undefined,
  sharedKey: Uint8Array,
): AskAuthority {
  const authorization = `Bearer ${nodeSecretOf(sharedKey)}`;
  return async (url, method, body) => {
    const certificates = tls();
    const text = body === undefined ? undefined : JSON.stringify(body);
    if (certificates === undefined) return askPlain(url, method, authorization, text);
    return httpsRequest(url, {
      method,
      ...(text !== undefined && { body: text }),
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_BUNDLE_BYTES,
      tls: certificates,
      role: 'authority',
    });
  };
}

async function askPlain(
  url: string,
  method: string,
  authorization: string,
  body: string | undefined,
): Promise<AuthorityReply> {
  const response = await fetch(url, {
    method,
    headers: { authorization, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (Number(response.headers.get('content-length') ?? 0) > MAX_BUNDLE_BYTES)
    throw new OperatingError('too-large', `${url} answers too much`);
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
}

/**
 * The newest bundle, or directory of identity, that one authority has, if it is above `have`.
 * @throws OperatingError `authority-error`
 */
export async function fetchNewer(
  ask: AskAuthority,
  authority: string,
  what: 'bundle' | 'directory',
  have: number,
): Promise<Buffer | undefined> {
  const { status, body } = await ask(`${authority}/v1/${what}?have=${have}`, 'GET');
  if (status === 204) return undefined;
  if (status === 200) return body;
  throw new OperatingError('authority-error', `the authority answers ${status}`, { authority });
}
