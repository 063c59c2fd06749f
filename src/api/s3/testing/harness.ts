/**
 * A real HTTP server on loopback over a MemoryStore, and requests to it, raw or signed: SDKs normalise
 * paths and headers and hide what a server answers, which is just what these tests are about.
 */
import { createHmac, hash } from 'node:crypto';
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { UserCaller } from '#auth/caller.ts';
import { canonicalRequest, sign, stringToSign, UNSIGNED_PAYLOAD } from '#auth/sigv4.ts';
import { basicTime } from '#auth/sigv4-claim.ts';
import type { Log } from '#env/env.ts';
import { NodeClock } from '#env/node/clock.ts';
import { NodeRandom } from '#env/node/random.ts';
import { canonicalIdOf } from '#identity/credentials.ts';
import { deriveSigningKey, sameText } from '#identity/s3-keys.ts';
import { BucketNames } from '#proxy/bucket-names.ts';
import { withVersions } from '#proxy/versions/versions.ts';
import { MemoryStore } from '../../swift/testing/memory-store.ts';
import { createS3Handler, type S3Options } from '../handler.ts';
import { memoryState } from './memory-state.ts';

export const REGION = 'here';
export const DOMAIN = 's3.test';
export const WEBSITE_DOMAIN = 's3-website.test';

function user(
  id: string,
  projectId: string,
  roles: readonly string[],
  more: Partial<UserCaller> = {},
): UserCaller {
  return {
    kind: 'user',
    userId: id,
    userName: id,
    domainId: 'default',
    projectId,
    projectName: projectId,
    projectDomainId: 'default',
    roles,
    expires: Number.MAX_SAFE_INTEGER,
    ...more,
  };
}

const PROJECTS = ['p1', 'p2'];

/** Access keys; the secret is the key's name twice. */
const CALLERS: Record<string, UserCaller> = {
  owner: user('u1', 'p1', ['admin']),
  member: user('u2', 'p1', ['member']),
  stranger: user('u4', 'p2', ['admin']),
};

/** Somebody made for policies, in a project: `access` signs for them from now on. */
export function governed(access: string, projectId: string, more: Partial<UserCaller>): void {
  CALLERS[access] = user(access, projectId, [], { governed: true, ...more });
}

export function secretOf(access: string): string {
  return access + access;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
  /** S3's code of an error. */
  readonly code: string | undefined;
}

export interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** An access key; '' for anonymous. Default: the owner's. */
  readonly as?: string;
  /** x-amz-content-sha256; default: of the body. */
  readonly payload?: string;
  /** A host to name; default: the server's. */
  readonly host?: string;
  /** The region to sign for; default: REGION. */
  readonly region?: string;
}

export interface TestServer {
  readonly store: MemoryStore;
  readonly names: BucketNames;
  readonly port: number;
  ask(method: string, target: string, ask?: Ask): Promise<Answer>;
  /** The headers that sign this request. */
  signed(method: string, target: string, ask?: Ask): Record<string, string>;
  /** A presigned target. */
  presigned(method: string, target: string, seconds: number, signedAtMs?: number): string;
  close(): Promise<void>;
}

export async function startServer(options: Partial<S3Options> = {}): Promise<TestServer> {
  const clock = new NodeClock();
  const random = new NodeRandom();
  const store = new MemoryStore({ nowMicros: () => clock.wallMicros() });
  const names = new BucketNames({ clock, log: SILENT }, memoryState());
  const keys = new Map<string, Buffer>();
  const handler = await createS3Handler({
    store: withVersions(store, { clock, random }),
    names,
    env: { clock, random, log: SILENT },
    region: REGION,
    domains: () => [DOMAIN],
    websiteDomains: () => [WEBSITE_DOMAIN],
    signers: {
      findS3Key: async ({ access, ...scope }) => {
        const caller = CALLERS[access];
        // Kept, as proxies keep it: what it costs is no request's.
        const label = `${access} ${scope.day} ${scope.region} ${scope.service}`;
        const signingKey = keys.get(label) ?? deriveSigningKey(secretOf(access), scope);
        keys.set(label, signingKey);
        return caller && { caller, signingKey };
      },
      checkSigV2: async (access, texts, signature) => {
        const caller = CALLERS[access];
        if (caller === undefined) return 'no-such-key';
        const made = (text: string): string =>
          createHmac('sha1', secretOf(access)).update(text, 'latin1').digest('base64');
        return texts.some((text) => sameText(made(text), signature)) ? caller : undefined;
      },
      accountDomain: () => 'default',
      nameOfCanonical: (id) => PROJECTS.find((project) => canonicalIdOf(project) === id),
    },
    ...options,
    limits: { bucketSettleMs: 0, ...options.limits },
  });
  const server = createServer({ maxHeaderSize: 64 * 1024 });
  server.maxHeadersCount = 0;
  server.on('request', handler.handle);
  server.on('checkContinue', handler.handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const signed: TestServer['signed'] = (method, target, ask = {}) =>
    signature(port, method, target, ask);
  return {
    store,
    names,
    port,
    signed,
    presigned: (method, target, seconds, signedAtMs = Date.now()) =>
      presign(port, method, target, seconds, signedAtMs),
    ask: (method, target, ask = {}) =>
      send(port, method, target, ask, ask.as === '' ? {} : signed(method, target, ask)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => void handler.close().then(resolve));
        server.closeAllConnections();
      }),
  };
}

const SILENT: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  with: () => SILENT,
};

function signature(
  port: number,
  method: string,
  target: string,
  { headers = {}, body = '', as: access = 'owner', payload, host, region = REGION }: Ask,
): Record<string, string> {
  const date = basicTime(Date.now());
  const all: Record<string, string> = {
    host: host ?? `127.0.0.1:${port}`,
    ...Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
    ),
    'x-amz-date': date,
    'x-amz-content-sha256': payload ?? hash('sha256', body),
  };
  const scope = { date, day: date.slice(0, 8), region, service: 's3' };
  const signedHeaders = Object.keys(all).sort();
  const claim = { ...scope, form: 'header' as const, signedHeaders };
  const request = { method, target, headers: all };
  const canonical = canonicalRequest(request, claim, all['x-amz-content-sha256']!);
  const key = deriveSigningKey(secretOf(access), scope);
  const made = sign(key, stringToSign(scope, canonical));
  const credential = `${access}/${scope.day}/${region}/s3/aws4_request`;
  return {
    ...all,
    authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${made}`,
  };
}

function presign(
  port: number,
  method: string,
  target: string,
  seconds: number,
  signedAtMs: number,
): string {
  const date = basicTime(signedAtMs);
  const scope = { date, day: date.slice(0, 8), region: REGION, service: 's3' };
  const query = new URLSearchParams({
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `owner/${scope.day}/${REGION}/s3/aws4_request`,
    'X-Amz-Date': date,
    'X-Amz-Expires': String(seconds),
    'X-Amz-SignedHeaders': 'host',
  });
  const bare = `${target}${target.includes('?') ? '&' : '?'}${query}`;
  const claim = { ...scope, form: 'query' as const, signedHeaders: ['host'] };
  const request = { method, target: bare, headers: { host: `127.0.0.1:${port}` } };
  const canonical = canonicalRequest(request, claim, UNSIGNED_PAYLOAD);
  const key = deriveSigningKey(secretOf('owner'), scope);
  return `${bare}&X-Amz-Signature=${sign(key, stringToSign(scope, canonical))}`;
}

function send(
  port: number,
  method: string,
  target: string,
  ask: Ask,
  signedHeaders: Readonly<Record<string, string>>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { body } = ask;
    const headers: Record<string, string> = {
      ...ask.headers,
      ...(ask.host !== undefined && { host: ask.host }),
      ...signedHeaders,
    };
    if (body !== undefined) headers['Content-Length'] = String(Buffer.byteLength(body));
    const outgoing = httpRequest({
      ...{ host: '127.0.0.1', port, method, path: target, agent: false, headers },
    });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const text = bytes.toString('utf8');
        const code = /<Error><Code>(\w+)</.exec(text)?.[1];
        const { headers: got, statusCode = 0 } = incoming;
        resolve({ status: statusCode, headers: got, body: bytes, text, code });
      });
    });
    outgoing.end(body === undefined ? undefined : Buffer.from(body));
  });
}
