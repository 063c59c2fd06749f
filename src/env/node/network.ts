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
  #cut: ReadonlySet<string> = new Set();
  /** Connects that wait for a link to be mended. */
  readonly #knocking = new Set<() => void>();
  /** Those with a delay, by address. */
  readonly #delayed = new Map<string, Set<DelayedSocket>>();

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
    const { delayMs = 0, timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS } = options;
    if (delayMs === 0) {
      const socket = await openSocket(address, options, this.#clock);
      return new NodeSocket(socket, peerOf(socket));
    }
    const key = addressKey(address);
    if (!(await this.#untilMended(key, timeoutMs))) throw networkError('ETIMEDOUT', address);
    const socket = await openSocket(address, options, this.#clock);
    // The handshake of a far peer takes a round trip.
    await this.#clock.sleep(2 * delayMs);
    if (socket.destroyed || this.#cut.has(key)) {
      socket.destroy();
      throw networkError('EHOSTUNREACH', address);
    }
    const delayed = new DelayedSocket(new NodeSocket(socket, peerOf(socket)), this.#clock, delayMs);
    this.#track(key, socket, delayed);
    return delayed;
  }

  /**
   * Fault injection, on links with a delay: from now on only these addresses are cut. Connections to
   * them fall silent, as when a cable is pulled, new ones time out; what was cut before is mended.
   */
  cut(addresses: readonly Address[]): void {
    this.#cut = new Set(addresses.map(addressKey));
    for (const look of [...this.#knocking]) look();
    for (const [key, sockets] of this.#delayed)
      for (const socket of sockets) socket.cut(this.#cut.has(key));
  }

  /** False: the link stayed cut. As a kernel does, a connect goes on asking until its time is over. */
  #untilMended(key: string, timeoutMs: number): Promise<boolean> {
    if (!this.#cut.has(key)) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (isMended: boolean): void => {
        timer.cancel();
        this.#knocking.delete(look);
        resolve(isMended);
      };
      const look = (): void => {
        if (!this.#cut.has(key)) end(true);
      };
      const timer = this.#clock.setTimer(timeoutMs, () => end(false));
      this.#knocking.add(look);
    });
  }

  #track(key: string, socket: NetSocket, delayed: DelayedSocket): void {
    const sockets = this.#delayed.get(key) ?? new Set();
    this.#delayed.set(key, sockets.add(delayed));
    socket.once('close', () => {
      sockets.delete(delayed);
      if (sockets.size === 0 && this.#delayed.get(key) === sockets) this.#delayed.delete(key);
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

function openSocket(address: Address, options: ConnectOptions, clock: Clock): Promise<NetSocket> {
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
    const giveUp = (): void => void socket.destroy(networkError('ETIMEDOUT', address));
    const timer = clock.setTimer(timeoutMs, giveUp);
    const fail = (error: Error): void => {
      timer.cancel();
      reject(error);
    };
    socket.once('error', fail);
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      timer.cancel();
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
