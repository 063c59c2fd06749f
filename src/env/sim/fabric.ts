/**
 * The network between the simulated machines: links with delay, bandwidth and cuts, who listens where,
 * and the connections. Tests reach it as `world.network`.
 */
import type { Address, ListenOptions, Socket } from '../env.ts';
import type { Host } from './host.ts';
import type { Machine } from './machine.ts';
import { Pipe } from './pipe.ts';
import type { Prng } from './prng.ts';
import { SimSocket } from './socket.ts';
import type { SimWorld } from './world.ts';

export interface LinkOptions {
  /** One way. */
  readonly delayMs?: number;
  /** Mean of what is added, drawn for every segment. */
  readonly jitterMs?: number;
  readonly bytesPerMs?: number;
  /** How often a segment arrives with a flipped bit that TCP's checksum missed. */
  readonly corruptProbability?: number;
}

export type Link = Required<LinkOptions>;

const LOOPBACK: Link = {
  delayMs: 0.02,
  jitterMs: 0.01,
  bytesPerMs: 2_000_000,
  corruptProbability: 0,
};
const DEFAULT_LINK: Link = {
  delayMs: 0.1,
  jitterMs: 0.05,
  bytesPerMs: 1_000_000,
  corruptProbability: 0,
};

export interface Listening {
  readonly host: Host;
  readonly accept: (socket: Socket) => void;
  readonly tls: ListenOptions['tls'];
}

const LOCAL_NAMES = new Set(['127.0.0.1', '::1', 'localhost', '0.0.0.0', '::']);
const FIRST_EPHEMERAL_PORT = 32_768;

export class Fabric {
  readonly world: SimWorld;
  readonly random: Prng;
  /** For pairs that have no link of their own. */
  defaultLink: Link = DEFAULT_LINK;
  readonly #links = new Map<string, Link>();
  readonly #cuts = new Set<string>();
  readonly #aliases = new Map<string, string>();
  readonly #listening = new Map<string, Listening>();
  readonly #sockets = new Set<SimSocket>();
  #nextPort = FIRST_EPHEMERAL_PORT;

  constructor(world: SimWorld) {
    this.world = world;
    this.random = world.random('network');
  }

  // --- what tests use

  setLink(from: string, to: string, options: LinkOptions): void {
    this.#links.set(`${from}>${to}`, { ...this.link(from, to), ...options });
  }

  setLinkBothWays(a: string, b: string, options: LinkOptions): void {
    this.setLink(a, b, options);
    this.setLink(b, a, options);
  }

  /** The same delays between all machines of different groups: sites. */
  setDistance(groups: readonly (readonly string[])[], options: LinkOptions): void {
    for (const near of groups) {
      for (const far of groups) {
        if (near !== far) for (const a of near) for (const b of far) this.setLink(a, b, options);
      }
    }
  }

  /** Nothing passes from `from` to `to` until `heal`; what is sent waits, as TCP has it. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  /** Both ways between the groups. */
  partition(groupA: readonly string[], groupB: readonly string[]): void {
    for (const a of groupA) {
      for (const b of groupB) {
        this.cut(a, b);
        this.cut(b, a);
      }
    }
  }

  /** All cuts, or one direction of one pair. */
  heal(from?: string, to?: string): void {
    if (from === undefined || to === undefined) this.#cuts.clear();
    else this.#cuts.delete(`${from}>${to}`);
    this.retransmit();
  }

  /** Breaks the connections between two machines, or all of one. */
  dropConnections(a: string, b?: string): void {
    for (const socket of [...this.#sockets]) {
      const ends = [socket.host.machine.name, socket.peer.host.machine.name];
      if (ends.includes(a) && (b === undefined || ends.includes(b))) socket.fail('ECONNRESET');
    }
  }

  /** Another name for a machine in addresses. */
  alias(host: string, machine: string): void {
    this.#aliases.set(host, machine);
  }

  get connectionCount(): number {
    return this.#sockets.size / 2;
  }

  // --- what machines and sockets use

  link(from: string, to: string): Link {
    return this.#links.get(`${from}>${to}`) ?? (from === to ? LOOPBACK : this.defaultLink);
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from}>${to}`);
  }

  delayMs(from: string, to: string): number {
    const link = this.link(from, to);
    return link.delayMs + (link.jitterMs > 0 ? this.random.delay(link.jitterMs) : 0);
  }

  resolve(host: string, from: Machine): Machine | undefined {
    if (LOCAL_NAMES.has(host)) return from;
    return this.world.find(this.#aliases.get(host) ?? host);
  }

  freePort(machine: Machine): number {
    let port = this.#nextPort++;
    while (this.listening(machine, port) !== undefined) port = this.#nextPort++;
    if (this.#nextPort > 65_000) this.#nextPort = FIRST_EPHEMERAL_PORT;
    return port;
  }

  listening(machine: Machine, port: number): Listening | undefined {
    return this.#listening.get(`${machine.name}:${port}`);
  }

  startListening(port: number, listening: Listening): void {
    this.#listening.set(`${listening.host.machine.name}:${port}`, listening);
  }

  endListening(machine: Machine, port: number): void {
    this.#listening.delete(`${machine.name}:${port}`);
  }

  stopListening(machine: Machine): void {
    for (const [key, { host }] of this.#listening) {
      if (host.machine === machine) this.#listening.delete(key);
    }
  }

  /** Two connected sockets: the client's and the server's. */
  join(client: Host, server: Host, address: Address, extraDelayMs: number): [SimSocket, SimSocket] {
    const clientPort = this.freePort(client.machine);
    const near = new SimSocket(this, client, address);
    const far = new SimSocket(this, server, { host: client.machine.name, port: clientPort });
    near.connect(far, new Pipe(this, near, far, extraDelayMs));
    far.connect(near, new Pipe(this, far, near, extraDelayMs));
    this.#sockets.add(near).add(far);
    return [near, far];
  }

  forget(socket: SimSocket): void {
    this.#sockets.delete(socket);
  }

  /** The process was killed: its system tells the peers. */
  resetAll(machine: Machine): void {
    for (const socket of [...this.#sockets]) {
      if (socket.host.machine !== machine || socket.host.alive) continue;
      socket.outgoing.send({ kind: this.random.chance(0.5) ? 'end' : 'reset' });
      this.forget(socket);
    }
  }

  /** A cut has healed or a machine is back: what waited is sent again. */
  retransmit(): void {
    for (const socket of [...this.#sockets]) socket.outgoing.retransmit();
  }
}
