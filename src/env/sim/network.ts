/** A process's view of the simulated network. */
import type {
  Address,
  ConnectOptions,
  Listener,
  ListenOptions,
  Network,
  PeerCertificate,
  Socket,
  Timer,
  TlsOptions,
} from '../env.ts';
import type { Fabric, Listening } from './fabric.ts';
import { type Host, machineDown } from './host.ts';
import type { Machine } from './machine.ts';

const DEFAULT_CONNECT_TIMEOUT_MS = 5000;
const LISTEN_MS = 0.05;
/** The kernel's wait before it asks again where nobody answers. */
const RETRY_MS = 1000;

export class SimNetwork implements Network {
  readonly #host: Host;
  readonly #fabric: Fabric;

  constructor(host: Host, fabric: Fabric) {
    this.#host = host;
    this.#fabric = fabric;
  }

  listen(
    address: Address,
    accept: (socket: Socket) => void,
    options: ListenOptions = {},
  ): Promise<Listener> {
    if (!this.#host.alive) return Promise.reject(machineDown(this.#host.machine.name));
    return new Promise((resolve, reject) => {
      this.#host.schedule(LISTEN_MS, 'listen', () => {
        const { machine } = this.#host;
        const port = address.port === 0 ? this.#fabric.freePort(machine) : address.port;
        if (this.#fabric.listening(machine, port) !== undefined) {
          reject(networkError('EADDRINUSE', address));
          return;
        }
        const listening = { host: this.#host, accept, tls: options.tls };
        this.#fabric.startListening(port, listening);
        resolve({
          address: { host: address.host, port },
          renew: (tls) => this.#fabric.startListening(port, { ...listening, tls }),
          close: () => this.#stop(port),
        });
      });
    });
  }

  connect(address: Address, options: ConnectOptions = {}): Promise<Socket> {
    if (!this.#host.alive) return Promise.reject(machineDown(this.#host.machine.name));
    const attempt = new Attempt(this.#host, this.#fabric, address, options);
    return attempt.start();
  }

  async #stop(port: number): Promise<void> {
    const { machine } = this.#host;
    if (this.#fabric.listening(machine, port)?.host === this.#host) {
      this.#fabric.endListening(machine, port);
    }
  }
}

/** One connect: the packets that open a connection, with retries until the time is over. */
class Attempt {
  readonly #host: Host;
  readonly #fabric: Fabric;
  readonly #address: Address;
  readonly #options: ConnectOptions;
  readonly #done = Promise.withResolvers<Socket>();
  #timeout: Timer | undefined;
  #over = false;

  constructor(host: Host, fabric: Fabric, address: Address, options: ConnectOptions) {
    this.#host = host;
    this.#fabric = fabric;
    this.#address = address;
    this.#options = options;
  }

  start(): Promise<Socket> {
    const { timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS } = this.#options;
    this.#timeout = this.#host.schedule(timeoutMs, 'connect timeout', () =>
      this.#fail('ETIMEDOUT'),
    );
    const target = this.#fabric.resolve(this.#address.host, this.#host.machine);
    if (target === undefined)
      this.#host.schedule(LISTEN_MS, 'resolve', () => this.#fail('ENOTFOUND'));
    else this.#knock(target);
    return this.#done.promise;
  }

  #knock(target: Machine): void {
    if (this.#over) return;
    this.#travel(this.#host.machine, target, () => {
      if (this.#over) return;
      if (!this.#canPass(target)) {
        this.#host.schedule(RETRY_MS, 'connect again', () => this.#knock(target));
        return;
      }
      const listening = this.#fabric.listening(target, this.#address.port);
      if (listening === undefined) this.#refuse(target, 'ECONNREFUSED');
      else if (!tlsMatches(this.#options.tls, listening.tls)) this.#refuse(target, 'ECONNRESET');
      else this.#open(target, listening);
    });
  }

  #canPass(target: Machine): boolean {
    const from = this.#host.machine.name;
    if (!target.hasPower) return false;
    return !this.#fabric.isCut(from, target.name) && !this.#fabric.isCut(target.name, from);
  }

  #refuse(target: Machine, code: string): void {
    this.#travel(target, this.#host.machine, () => this.#fail(code));
  }

  #open(target: Machine, listening: Listening): void {
    const { delayMs = 0, tls } = this.#options;
    const [near, far] = this.#fabric.join(this.#host, listening.host, this.#address, delayMs);
    if (tls !== undefined) {
      near.peerCertificate = certificateOf(target.name);
      far.peerCertificate = certificateOf(this.#host.machine.name);
    }
    this.#travel(target, this.#host.machine, () => {
      if (this.#over || !this.#host.alive) near.destroy();
      else if (near.isClosed) this.#fail('ECONNRESET');
      else this.#succeed(near);
    });
    target.whenAwake(`${target.name} accept`, () => {
      if (listening.host.alive) listening.accept(far);
    });
  }

  /** One way across the link; it happens even if the process that sent it has ended. */
  #travel(from: Machine, to: Machine, task: () => void): void {
    const delayMs = this.#fabric.delayMs(from.name, to.name) + (this.#options.delayMs ?? 0);
    this.#fabric.world.schedule(delayMs, `${from.name}>${to.name} connect`, task);
  }

  #succeed(socket: Socket): void {
    this.#end();
    this.#done.resolve(socket);
  }

  #fail(code: string): void {
    if (this.#over) return;
    this.#end();
    this.#done.reject(networkError(code, this.#address));
  }

  #end(): void {
    this.#over = true;
    this.#timeout?.cancel();
  }
}

/** A simulated machine's certificate carries its name and nothing else. */
function certificateOf(commonName: string): PeerCertificate {
  return { commonName, organization: undefined, locality: undefined, units: [], serial: '01' };
}

/** Both sides or none, and of one authority. */
function tlsMatches(a: TlsOptions | undefined, b: TlsOptions | undefined): boolean {
  return a?.authority === b?.authority;
}

function networkError(code: string, address: Address): Error {
  return Object.assign(new Error(`${code} ${address.host}:${address.port}`), { code, ...address });
}
