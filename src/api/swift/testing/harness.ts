/**
 * A real HTTP server on loopback over a MemoryStore, and raw requests to it: `fetch` and its like
 * normalise paths and headers, which is just what these tests are about.
 */
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Authenticator } from '#auth/authenticator.ts';
import { ANONYMOUS, type Caller, type UserCaller } from '#auth/caller.ts';
import type { Log } from '#env/env.ts';
import { NodeClock } from '#env/node/clock.ts';
import { NodeRandom } from '#env/node/random.ts';
import { withVersions } from '#proxy/versions/versions.ts';
import { createSwiftHandler, type FinishedRequest, type SwiftOptions } from '../handler.ts';
import { MemoryStore } from './memory-store.ts';

export const ACCOUNT = 'AUTH_p1';
export const BASE = `/v1/${ACCOUNT}`;

function user(id: string, projectId: string, roles: readonly string[]): UserCaller {
  return {
    kind: 'user',
    userId: id,
    userName: `${id}-name`,
    domainId: 'default',
    projectId,
    projectName: `${projectId}-name`,
    projectDomainId: 'default',
    roles,
    expires: Number.MAX_SAFE_INTEGER,
  };
}

const CALLERS: Readonly<Record<string, Caller>> = {
  owner: user('u1', 'p1', ['admin']),
  member: user('u2', 'p1', ['member']),
  reader: user('u3', 'p1', ['reader']),
  stranger: user('u4', 'p2', ['admin']),
  reseller: user('u5', 'p3', ['ResellerAdmin']),
};

const AUTHENTICATOR: Authenticator = {
  async authenticate(headers) {
    const token = headers['x-auth-token'];
    if (typeof token !== 'string') return ANONYMOUS;
    return CALLERS[token] ?? { kind: 'anonymous', rejected: 'malformed' };
  },
  accountDomain: () => 'default',
  ready: Promise.resolve(),
  async close() {},
};

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  readonly text: string;
}

export interface Ask {
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  /** A name in CALLERS; '' for none. The default is the account's owner. */
  readonly as?: string;
}

export interface LoggedEvent {
  readonly level: string;
  readonly event: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface TestServer {
  readonly store: MemoryStore;
  readonly port: number;
  readonly finished: FinishedRequest[];
  /** What was logged. */
  readonly events: LoggedEvent[];
  /** What the store and handler take for the time, in microseconds. */
  nowMicros: () => number;
  ask(method: string, target: string, ask?: Ask): Promise<Answer>;
  /** Sends these bytes as they are; resolves with all that came back until the connection closed. */
  raw(bytes: string | Buffer, options?: { readonly end?: boolean }): Promise<string>;
  close(): Promise<void>;
}

export type ServerOptions = Partial<SwiftOptions> & { readonly inlineLimit?: number };

export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const events: LoggedEvent[] = [];
  const clock = new NodeClock();
  const time = { now: (): number => clock.wallMicros() };
  const store = new MemoryStore({ nowMicros: () => time.now(), inlineLimit: options.inlineLimit });
  const finished: FinishedRequest[] = [];
  const random = new NodeRandom();
  const handler = createSwiftHandler({
    store: withVersions(store, { clock, random }),
    authenticator: AUTHENTICATOR,
    env: { clock, random, log: collectingLog(events) },
    finished: (request) => finished.push(request),
    ...options,
    limits: { versioningSettleMs: 0, ...options.limits },
  });
  const server = createServer({ maxHeaderSize: 64 * 1024 });
  server.maxHeadersCount = 0;
  server.requestTimeout = 0;
  server.on('request', handler.handle);
  server.on('checkContinue', handler.handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    store,
    port,
    finished,
    events,
    set nowMicros(now: () => number) {
      time.now = now;
    },
    get nowMicros() {
      return time.now;
    },
    ask: (method, target, ask) => askServer(port, method, target, ask ?? {}),
    raw: (bytes, how) => sendRaw(port, bytes, how?.end ?? false),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function askServer(port: number, method: string, target: string, ask: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const token = ask.as ?? 'owner';
    const outgoing = httpRequest({
      host: '127.0.0.1',
      port,
      method,
      path: target,
      agent: false,
      headers: {
        ...(token !== '' && { 'X-Auth-Token': token }),
        ...(ask.body !== undefined && { 'Content-Length': String(Buffer.byteLength(ask.body)) }),
        ...ask.headers,
      } as Record<string, string | string[]>,
    });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const body = Buffer.concat(chunks);
        const { headers, rawHeaders, statusCode = 0 } = incoming;
        resolve({ status: statusCode, headers, rawHeaders, body, text: body.toString('utf8') });
      });
    });
    // As bytes: a string would carry the headers along into its own encoding.
    outgoing.end(ask.body === undefined ? undefined : Buffer.from(ask.body));
  });
}

function sendRaw(port: number, bytes: string | Buffer, end: boolean): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      received += text;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(received));
    if (end) socket.end(bytes);
    else socket.write(bytes);
  });
}

function collectingLog(events: LoggedEvent[]): Log {
  const at =
    (level: string) =>
    (event: string, facts: Record<string, unknown> = {}): void => {
      events.push({ level, event, facts });
    };
  const log: Log = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: () => log,
  };
  return log;
}
