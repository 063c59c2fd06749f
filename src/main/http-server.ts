/**
 * HTTP listeners of a process. Requests of the object APIs go to their handler on node's own request
 * and response (raw target, node streams, checkContinue); everything else is a hono app.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  createServer as createTlsServer,
  type ServerOptions as TlsServerOptions,
} from 'node:https';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { codeOf, OperatingError } from '#base/errors.ts';

export type RawHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Swift allows 90 metadata headers of 4 KiB in all; the rest is for what proxies and SDKs add. */
const MAX_HEADER_BYTES = 64 * 1024;
const HEADERS_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 75_000;
const SWEEP_MS = 20;

export interface HttpListener {
  readonly server: Server;
  /** Stops accepting, lets requests under way end for at most `graceMs`. */
  close(graceMs: number): Promise<void>;
}

export interface Routes {
  /** Asked in order; what none of them takes is the app's. */
  readonly raw?: readonly {
    readonly matches: (request: IncomingMessage) => boolean;
    readonly handle: RawHandler;
  }[];
  readonly app: { readonly fetch: Hono['fetch'] };
}

export async function serveHttp(
  address: { host: string; port: number },
  routes: Routes,
  tls?: TlsServerOptions,
): Promise<HttpListener> {
  // Health checks of balancers are HTTP/1.0, without a Host.
  const app = getRequestListener(routes.app.fetch, { hostname: 'localhost' });
  const handle: RawHandler = (request, response) => {
    const raw = routes.raw?.find((candidate) => candidate.matches(request));
    if (raw !== undefined) raw.handle(request, response);
    else void app(request, response);
  };
  const options = { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE_MS };
  const server: Server =
    tls === undefined
      ? createServer(options, handle)
      : createTlsServer({ ...options, ...tls }, handle);
  // Node would drop what is above a count without a word; the handlers refuse too many by themselves.
  server.maxHeadersCount = 0;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  // Uploads of terabytes take hours; a body that stops moving is the handler's to end.
  server.requestTimeout = 0;
  server.on('checkContinue', handle);
  await listen(server, address);
  return { server, close: (graceMs) => closeServer(server, graceMs) };
}

function listen(server: Server, address: { host: string; port: number }): Promise<void> {
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
    server.listen({ ...address, backlog: 1024 }, () => resolve());
  });
}

/** Connections are kept for a next request; a client that always has one would stay to the end. */
function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearInterval(sweep);
      clearTimeout(cut);
      resolve();
    });
    const last = (_: IncomingMessage, response: ServerResponse): void => {
      response.shouldKeepAlive = false;
    };
    server.prependListener('request', last).prependListener('checkContinue', last);
  });
}
