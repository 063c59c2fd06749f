/**
 * HTTPS with certificates of the cluster's own authority: the client shows its own, and takes the server
 * for what it wants to be only when its certificate says so. The platform's `fetch` can do neither.
 *
 * Addresses are not compared with names: the certificate says which cluster and which roles, and that is
 * what matters; an authority may be reached under any address.
 */
import { type RequestOptions, request } from 'node:https';
import type { PeerCertificate as NodeCertificate } from 'node:tls';
import { OperatingError } from '#base/errors.ts';
import type { TlsOptions } from '../env.ts';

export interface HttpsRequest {
  readonly method?: 'GET' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** `key` and `certificate` empty: the client shows none. */
  readonly tls: TlsOptions;
  /** The server's certificate must give this role, an organizational unit. */
  readonly role: string;
}

export interface HttpsReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** @throws OperatingError `too-large`, and what the connection fails with */
export function httpsRequest(url: string, options: HttpsRequest): Promise<HttpsReply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, nodeOptions(options), (incoming) => {
      const pieces: Buffer[] = [];
      let length = 0;
      incoming.on('data', (piece: Buffer) => {
        length += piece.length;
        pieces.push(piece);
        if (length > options.maxBytes)
          incoming.destroy(new OperatingError('too-large', `${url} answers too much`));
      });
      incoming.once('error', reject);
      incoming.once('end', () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: Buffer.concat(pieces),
        }),
      );
    });
    outgoing.once('error', reject);
    outgoing.end(options.body);
  });
}

function nodeOptions({ method = 'GET', headers, body, timeoutMs, tls, role }: HttpsRequest) {
  const own = tls.key === '' ? {} : { key: tls.key, cert: tls.certificate };
  return {
    method,
    headers: {
      ...headers,
      ...(body !== undefined && {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
      }),
    },
    ...own,
    ca: tls.authority,
    signal: AbortSignal.timeout(timeoutMs),
    agent: false,
    checkServerIdentity: (_host, certificate) => roleError(certificate, role),
  } satisfies RequestOptions;
}

function roleError({ subject }: NodeCertificate, role: string): Error | undefined {
  const units: string | readonly string[] | undefined = subject?.OU;
  const known = typeof units === 'string' ? [units] : (units ?? []);
  if (known.includes(role)) return undefined;
  return new OperatingError('wrong-certificate', `the server is no ${role} of this cluster`);
}

/** From whoever answers: what it says must be compared with something that is known. */
function unverifiedGet(url: string, timeoutMs: number, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = {
      rejectUnauthorized: false,
      signal: AbortSignal.timeout(timeoutMs),
      agent: false,
    } as const;
    const outgoing = request(url, options, (incoming) => {
      const pieces: Buffer[] = [];
      let length = 0;
      incoming.on('data', (piece: Buffer) => {
        length += piece.length;
        if (length <= maxBytes) pieces.push(piece);
        else incoming.destroy(new OperatingError('too-large', `${url} answers too much`));
      });
      incoming.once('error', reject);
      incoming.once('end', () => {
        if (incoming.statusCode === 200) resolve(Buffer.concat(pieces));
        else reject(new OperatingError('authority-error', `${url}: ${incoming.statusCode}`));
      });
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}

/** A join that is given up here may have happened there, so that its name is taken: a slow authority is waited for. */
const JOIN_TIMEOUT_MS = 60_000;
const MAX_JOIN_BYTES = 1024 * 1024;

/** What `authority/joining.ts` needs of the network. */
export const joinRequests = {
  get: (url: string): Promise<Buffer> => unverifiedGet(url, JOIN_TIMEOUT_MS, MAX_JOIN_BYTES),
  post: (url: string, body: string, ca: string): Promise<HttpsReply> =>
    httpsRequest(url, {
      method: 'POST',
      body,
      timeoutMs: JOIN_TIMEOUT_MS,
      maxBytes: MAX_JOIN_BYTES,
      tls: { key: '', certificate: '', authority: ca },
      role: 'authority',
    }),
  postAs: (url: string, body: string, tls: TlsOptions): Promise<HttpsReply> =>
    httpsRequest(url, {
      method: 'POST',
      body,
      timeoutMs: JOIN_TIMEOUT_MS,
      maxBytes: MAX_JOIN_BYTES,
      tls,
      role: 'authority',
    }),
} as const;
