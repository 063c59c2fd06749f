/** TCP through node:net, mutual TLS through node:tls. */
import {
  createServer,
  type Socket as NetSocket,
  connect as netConnect,
  type Server,
} from 'node:net';
import {
  createServer as createTlsServer,
  TLSSocket,
  Server as TlsServer,
  connect as tlsConnect,
} from 'node:tls';
import type {
  Address,
  Clock,
  ConnectOptions,
  Listener,
  ListenOptions,
  Network,
  PeerCertificate,
  Socket,
  TlsOptions,
} from '../env.ts';
import { DelayedSocket } from './delayed-socket.ts';
import { NodeSocket, peerCertificate } from './socket.ts';

const DEFAULT_CONNECT_TIMEOUT_MS = 5000;
/** Bytes that a socket takes before write() says false. */
const HIGH_WATER_MARK = 256 * 1024;
const BACKLOG = 1024;
const TLS_VERSION = 'TLSv1.3';

export class NodeNetwork implements Network {
  readonly #clock: Clock;
  readonly #cut = new Set<string>();
  /** Connections of `connect` by address, for `cut`. */
  readonly #connected = new Map<string, Set<NodeSocket>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async listen(
    address: Address,
    accept: (socket: Socket) => void,
    options: ListenOptions = {},
  ): Promise<Listener> {
    const { tls } = options;
    const server = tls === undefined ? plainServer(accept) : tlsServer(accept, tls);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // Exclusive: cluster workers must not share a port of the wire.
      server.listen({ ...address, backlog: BACKLOG, exclusive: true }, () => {
        server.off('error', reject);
        // A failed accept (no descriptors left) is not the listener's end.
        server.on('error', () => undefined);
        resolve();
      });
    });
    return new NodeListener(server, address.host);
  }

  async connect(address: Address, options: ConnectOptions = {}): Promise<Socket> {
    const key = addressKey(address);
    if (this.#cut.has(key)) throw networkError('EHOSTUNREACH', address);
    const socket = await openSocket(address, options);
    const { delayMs = 0 } = options;
    // The handshake of a far peer takes a round trip.
    if (delayMs > 0) await this.#clock.sleep(2 * delayMs);
    if (socket.destroyed || this.#cut.has(key)) {
      socket.destroy();
      throw networkError('EHOSTUNREACH', address);
    }
    const opened = new NodeSocket(socket, peerOf(socket));
    this.#track(key, socket, opened);
    return delayMs > 0 ? new DelayedSocket(opened, this.#clock, delayMs) : opened;
  }

  /**
   * Fault injection: while cut, connections to this address break at once and new ones fail with
   * EHOSTUNREACH.
   */
  cut(address: Address, on: boolean): void {
    const key = addressKey(address);
    if (!on) {
      this.#cut.delete(key);
      return;
    }
    this.#cut.add(key);
    for (const socket of this.#connected.get(key) ?? []) {
      socket.destroy(networkError('ECONNRESET', address));
    }
  }

  #track(key: string, socket: NetSocket, opened: NodeSocket): void {
    const sockets = this.#connected.get(key) ?? new Set();
    this.#connected.set(key, sockets.add(opened));
    socket.once('close', () => {
      sockets.delete(opened);
      if (sockets.size === 0 && this.#connected.get(key) === sockets) this.#connected.delete(key);
    });
  }
}

class NodeListener implements Listener {
  readonly address: Address;
  readonly #server: Server;

  constructor(server: Server, host: string) {
    const bound = server.address();
    this.address = { host, port: typeof bound === 'object' && bound !== null ? bound.port : 0 };
    this.#server = server;
  }

  renew(tls: TlsOptions): void {
    if (this.#server instanceof TlsServer) this.#server.setSecureContext(credentials(tls));
  }

  /** The port is free at once; the server's own callback would wait for every connection to end. */
  close(): Promise<void> {
    this.#server.close();
    return new Promise((resolve) => setImmediate(resolve));
  }
}

function plainServer(accept: (socket: Socket) => void): Server {
  return createServer({ highWaterMark: HIGH_WATER_MARK }, (socket) =>
    accept(new NodeSocket(socket)),
  );
}

function tlsServer(accept: (socket: Socket) => void, tls: TlsOptions): Server {
  return createTlsServer(
    { ...credentials(tls), requestCert: true, rejectUnauthorized: true },
    (socket) => accept(new NodeSocket(socket, peerCertificate(socket))),
  );
}

function openSocket(address: Address, options: ConnectOptions): Promise<NetSocket> {
  return new Promise((resolve, reject) => {
    const { tls, timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS } = options;
    const target = { host: address.host, port: address.port, highWaterMark: HIGH_WATER_MARK };
    const socket = tls
      ? tlsConnect({
          ...target,
          ...credentials(tls),
          ...(tls.serverName && verified(tls.serverName)),
        })
      : netConnect(target);
    const timer = setTimeout(() => socket.destroy(networkError('ETIMEDOUT', address)), timeoutMs);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    socket.once('error', fail);
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      // Until the NodeSocket listens (a delayed connect waits first); 'close' follows anyway.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

function credentials(tls: TlsOptions) {
  return {
    key: tls.key,
    cert: tls.certificate,
    ca: tls.authority,
    minVersion: TLS_VERSION,
  } as const;
}

function verified(serverName: string) {
  return { servername: serverName };
}

function peerOf(socket: NetSocket): PeerCertificate | undefined {
  return socket instanceof TLSSocket ? peerCertificate(socket) : undefined;
}

function addressKey(address: Address): string {
  return `${address.host}:${address.port}`;
}

function networkError(code: string, address: Address): Error {
  return Object.assign(new Error(`${code} ${addressKey(address)}`), {
    code,
    address: address.host,
    port: address.port,
  });
}
