/**
 * HTTP listeners of a process. Requests of the object APIs go to their handler on node's own request
 * and response (raw target, node streams, checkContinue); everything else is a hono app.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  createServer as createTlsServer,
  type ServerOptions as TlsServerOptions,
} from 'node:https';
import { Server as NetServer } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { splitTarget } from '#api/http/split-target.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import { connectionLimits } from './descriptors.ts';

export type RawHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Swift allows 90 metadata headers of 4 KiB in all; the rest is for what proxies and SDKs add. */
const MAX_HEADER_BYTES = 64 * 1024;
const HEADERS_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 75_000;
/** Documents of the JSON APIs are small: one that takes longer to come only holds a connection. */
const DOCUMENT_TIMEOUT_MS = 60_000;
const BACKLOG = 1024;
const SWEEP_MS = 20;

export interface HttpListener {
  readonly server: Server;
  /**
   * Stops accepting, lets requests under way end for at most `graceMs`; a next request on a connection
   * that is there already is answered for `lingerMs`.
   */
  close(graceMs: number, lingerMs?: number): Promise<void>;
}

export interface Routes {
  /** Asked in order; what none of them takes is the app's. */
  readonly raw?: readonly {
    readonly matches: (request: IncomingMessage) => boolean;
    readonly handle: RawHandler;
  }[];
  readonly app: { readonly fetch: Hono['fetch'] };
}

export interface Address {
  readonly host: string;
  readonly port: number;
  /** A socket that is bound to it already and stays when this process goes. */
  readonly fd?: number | undefined;
}

export interface HttpLimits {
  /** At once; more are closed. Absent: few enough to leave the devices their files. */
  readonly connections?: number;
  readonly documentTimeoutMs?: number;
}

export async function serveHttp(
  address: Address,
  routes: Routes,
  tls?: TlsServerOptions,
  limits: HttpLimits = {},
): Promise<HttpListener> {
  const { documentTimeoutMs = DOCUMENT_TIMEOUT_MS } = limits;
  // Health checks of balancers are HTTP/1.0, without a Host.
  const app = getRequestListener(routes.app.fetch, { hostname: 'localhost' });
  const handle: RawHandler = (request, response) => {
    const raw = routes.raw?.find((candidate) => candidate.matches(request));
    if (raw !== undefined) return raw.handle(request, response);
    originForm(request);
    endWhenLate(request, response, documentTimeoutMs);
    void app(request, response);
  };
  const options = { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE_MS };
  const server: Server =
    tls === undefined
      ? createServer(options, handle)
      : createTlsServer({ ...options, ...tls }, handle);
  // Node would drop what is above a count without a word; the handlers refuse too many by themselves.
  server.maxHeadersCount = 0;
  server.maxConnections = limits.connections ?? connectionLimits().other;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  // Uploads of terabytes take hours; a body that stops moving is the handler's to end.
  server.requestTimeout = 0;
  // What else clients expect, or write there by mistake, is no reason to refuse them (RFC 9110, 10.1.1).
  for (const event of ['checkContinue', 'checkExpectation']) server.on(event, handle);
  await listen(server, address);
  return { server, close: (graceMs, lingerMs = 0) => closeServer(server, graceMs, lingerMs) };
}

/** What stands before the path of an absolute target may be no URL for hono (`http://user:word@host/`). */
function originForm(request: IncomingMessage): void {
  const { url = '/' } = request;
  if (url.startsWith('/')) return;
  const { path, query } = splitTarget(url);
  if (path === '' || path.startsWith('/'))
    request.url = `${path || '/'}${query === '' ? '' : `?${query}`}`;
}

/** Nobody else ends a body that has stopped: hono waits for it as long as the connection lasts. */
function endWhenLate(request: IncomingMessage, response: ServerResponse, ms: number): void {
  const { headers, socket } = request;
  const isEmpty = headers['transfer-encoding'] === undefined && !Number(headers['content-length']);
  if (isEmpty) return;
  const timer = setTimeout(() => {
    if (request.complete) return;
    if (!response.headersSent) socket.write(TOO_LATE);
    socket.destroy();
  }, ms);
  response.once('close', () => clearTimeout(timer));
}

const TOO_LATE = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

function listen(server: Server, { fd, ...address }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const code = codeOf(cause) === 'EADDRINUSE' ? 'port-taken' : 'listen-failed';
      reject(
        new OperatingError(
          code,
          `cannot listen on ${address.host}:${address.port}`,
          { ...address },
          { cause },
        ),
      );
    });
    server.listen({ ...(fd === undefined ? address : { fd }), backlog: BACKLOG }, () => resolve());
  });
}

/**
 * Connections are kept for a next request; a client that always has one would stay to the end. So each
 * is told `Connection: close` with its next answer, and closed when nothing came for `lingerMs`:
 * closing an idle one at once would meet the request that its client is sending.
 */
function closeServer(server: Server, graceMs: number, lingerMs: number): Promise<void> {
  return new Promise((resolve) => {
    let sweep: NodeJS.Timeout | undefined;
    const linger = setTimeout(() => {
      sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
    }, lingerMs);
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    closeListener(server, () => {
      clearTimeout(linger);
      clearInterval(sweep);
      clearTimeout(cut);
      resolve();
    });
    const last = (_: IncomingMessage, response: ServerResponse): void => {
      response.shouldKeepAlive = false;
    };
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      server.prependListener(event, last);
    }
  });
}

/** As `http.Server.close` without what it does first: it closes idle connections at once. */
function closeListener(server: Server, closed: () => void): void {
  NetServer.prototype.close.call(server, closed);
}
