/**
 * A process's end of the wire: it calls other nodes by name and answers their calls. It owns the
 * table of methods, the listening socket, all connections, and a lane for each peer and purpose.
 */
import { assert } from '#base/assert.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { Address, Env, Listener, ListenOptions, Socket, TlsOptions } from '#env/env.ts';
import { Connection, type ConnectionOwner, isPeaceful } from './connection.ts';
import {
  type Caller,
  type CallOptions,
  type CallResult,
  type ClusterIdentity,
  type Handler,
  type Links,
  type PeerDirectory,
  type PeerGuard,
  type SelfIdentity,
  WireError,
} from './contract.ts';
import { CALLS_LANE, INSTANCE_BYTES, MAX_LANES, VERSIONS } from './hello.ts';
import { ReceiveBudget } from './incoming-body.ts';
import { Lane } from './lane.ts';
import { DEFAULT_LIMITS, type WireLimits } from './limits.ts';
import { LocalCalls } from './local-calls.ts';
import { OutgoingCall } from './outgoing-call.ts';
import { ProtocolError } from './protocol-error.ts';
import { describeConnection, type WireStatus } from './status.ts';
import type { WireContext } from './wire-context.ts';

export type { ClusterIdentity, PeerDirectory, SelfIdentity } from './contract.ts';

export interface EndpointOptions {
  readonly env: Env;
  readonly clock: HybridClock;
  readonly cluster: ClusterIdentity;
  readonly self: SelfIdentity;
  readonly peers: PeerDirectory;
  readonly limits?: Partial<WireLimits>;
  readonly guard?: PeerGuard;
  /** For tests of other versions. */
  readonly versions?: { readonly min: number; readonly max: number };
}

export class Endpoint implements Caller, Links, ConnectionOwner {
  readonly #context: WireContext;
  readonly #peers: PeerDirectory;
  readonly #handlers = new Map<string, Handler>();
  readonly #lanes = new Map<string, Lane[]>();
  readonly #connections = new Set<Connection>();
  readonly #local: LocalCalls;
  readonly #errors = new Map<string, number>();
  #listeners: Listener[] = [];
  #pendingHandshakes = 0;
  #closed = false;
  #emptied: (() => void) | undefined;

  constructor(options: EndpointOptions) {
    const { env, clock, cluster, self, peers } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    assert(limits.bulkLanes >= 1 && limits.bulkLanes < MAX_LANES, 'the number of bulk lanes');
    this.#peers = peers;
    this.#context = {
      env,
      clock,
      cluster,
      self,
      limits,
      guard: options.guard,
      versions: options.versions ?? VERSIONS,
      instance: env.random.bytes(INSTANCE_BYTES),
      budget: new ReceiveBudget(limits.receiveBudgetBytes),
      handler: (method) => this.#handlers.get(method),
    };
    this.#local = new LocalCalls(this.#context);
  }

  /** Answers `method` from now on. */
  handle(method: string, handler: Handler): void {
    assert(!this.#handlers.has(method), `the method ${method} has a handler already`);
    this.#handlers.set(method, handler);
  }

  /** The address it listens on, with the port that was chosen. */
  async listen(address: Address, options?: ListenOptions): Promise<Address> {
    const { network } = this.#context.env;
    const listener = await network.listen(address, (socket) => this.#accept(socket), options);
    this.#listeners.push(listener);
    return listener.address;
  }

  /** New certificates of this process, for what connects from now on. */
  renew(tls: TlsOptions): void {
    for (const listener of this.#listeners) listener.renew(tls);
  }

  /** The guard's rules have changed: whoever it refuses now is cut off. */
  enforce(): void {
    for (const connection of [...this.#connections]) {
      const refusal = connection.refusal();
      if (refusal !== undefined) connection.close(new ProtocolError('not-admitted', refusal));
    }
  }

  call(node: string, method: string, args: unknown, options: CallOptions): Promise<CallResult> {
    // A call that the other side can't read would cost everybody the connection.
    assert(typeof method === 'string' && typeof options.txn === 'string', 'a method and a txn');
    return new Promise((resolve, reject) => {
      const now = this.#context.env.clock.monotonicMs();
      const call = new OutgoingCall(method, args, options, now, resolve, reject);
      if (!call.open()) return;
      if (this.#closed) call.end(new WireError('refused', 'this endpoint is closed'));
      else if (node === this.#context.self.node) this.#local.submit(call);
      else this.#choose(node, options).submit(call);
    });
  }

  rttMs(node: string): number | undefined {
    if (node === this.#context.self.node) return 0;
    return this.#lanes.get(node)?.[CALLS_LANE]?.connection?.session.heartbeat.rttMs;
  }

  /**
   * Stops listening and calling. With `graceMs`, calls under way may finish for so long; then every
   * connection is cut.
   */
  async close(graceMs = 0): Promise<void> {
    this.#closed = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const lanes of this.#lanes.values()) for (const lane of lanes) lane?.stop();
    const closing = listeners.map((listener) => listener.close());
    if (graceMs > 0) await this.#retireAll(graceMs);
    for (const connection of [...this.#connections]) {
      connection.close(new ProtocolError('closing', 'the process goes away'));
    }
    await Promise.all(closing);
  }

  status(): WireStatus {
    const now = this.#context.env.clock.monotonicMs();
    const open = [...this.#connections].filter((connection) => connection.wasOpen);
    return {
      ...this.#context.self,
      connections: open.map((connection) => describeConnection(connection, now)),
      lanes: [...this.#lanes.values()].flatMap((lanes) => lanes.map((lane) => lane.status)),
      pendingHandshakes: this.#pendingHandshakes,
      localCalls: this.#local.count,
      receiveWindowBytes: this.#context.budget.usedBytes,
      errors: Object.fromEntries(this.#errors),
    };
  }

  opened(connection: Connection): void {
    if (connection.role === 'accepts') this.#pendingHandshakes--;
    const { peer, lane, version } = connection;
    const facts = { peer: peer.node, site: peer.site, lane, version, role: connection.role };
    this.#context.env.log.info('wire.connection-opened', facts);
    this.#lane(peer.node, lane).adopt(connection);
    for (const other of this.#lanes.get(peer.node) ?? []) other.encourage();
    if (this.#closed) connection.retire('closing');
  }

  leaving(connection: Connection): void {
    this.#lane(connection.peer.node, connection.lane).dismiss(connection);
  }

  closed(connection: Connection, error: ProtocolError): void {
    this.#connections.delete(connection);
    this.#count(connection, error);
    if (connection.wasOpen) {
      this.#lane(connection.peer.node, connection.lane).lost(connection, error);
    } else if (connection.expectedNode !== undefined) {
      this.#lane(connection.expectedNode, connection.lane).failed(error);
    } else this.#pendingHandshakes--;
    if (this.#connections.size === 0) this.#emptied?.();
  }

  #accept(socket: Socket): void {
    const isFull = this.#pendingHandshakes >= this.#context.limits.pendingHandshakes;
    if (isFull || this.#closed) {
      this.#context.env.log.warn('wire.accept-refused', { from: socket.remote.host });
      socket.destroy();
      return;
    }
    this.#pendingHandshakes++;
    this.#track(new Connection({ ...this.#basics(socket), role: 'accepts', lane: CALLS_LANE }));
  }

  #dialled(socket: Socket, node: string, lane: number): void {
    const basics = this.#basics(socket);
    this.#track(new Connection({ ...basics, role: 'dials', lane, expectedNode: node }));
  }

  #basics(socket: Socket): { context: WireContext; socket: Socket; owner: ConnectionOwner } {
    return { context: this.#context, socket, owner: this };
  }

  #track(connection: Connection): void {
    this.#connections.add(connection);
  }

  /** Within a site everything shares one connection; between sites, bulk goes apart from calls. */
  #choose(node: string, { lane, body }: CallOptions): Lane {
    const isBulk = lane === 'bulk' || (lane === undefined && body !== undefined);
    if (!isBulk || !this.#isFar(node)) return this.#lane(node, CALLS_LANE);
    let best = this.#lane(node, CALLS_LANE + 1);
    for (let number = 2; number <= this.#context.limits.bulkLanes; number++) {
      const other = this.#lane(node, CALLS_LANE + number);
      if (other.load < best.load) best = other;
    }
    return best;
  }

  #isFar(node: string): boolean {
    const location = this.#peers.lookup(node);
    return location !== undefined && location.site !== this.#context.self.site;
  }

  #lane(node: string, number: number): Lane {
    let lanes = this.#lanes.get(node);
    if (lanes === undefined) {
      lanes = [];
      this.#lanes.set(node, lanes);
    }
    while (lanes.length <= number) lanes.push(this.#makeLane(node, lanes.length));
    return lanes[number]!;
  }

  #makeLane(node: string, lane: number): Lane {
    return new Lane({
      context: this.#context,
      peers: this.#peers,
      node,
      lane,
      connected: (socket) => this.#dialled(socket, node, lane),
    });
  }

  async #retireAll(graceMs: number): Promise<void> {
    if (this.#connections.size === 0) return;
    const { clock } = this.#context.env;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(graceMs, resolve);
      this.#emptied = () => {
        timer.cancel();
        resolve();
      };
      for (const connection of [...this.#connections]) connection.retire('closing');
    });
  }

  #count(connection: Connection, error: ProtocolError): void {
    const peer = connection.wasOpen ? connection.peer.node : connection.expectedNode;
    const facts = { peer, lane: connection.lane, code: error.code, message: error.message };
    const { log } = this.#context.env;
    if (isPeaceful(error.code)) {
      log.info('wire.connection-closed', facts);
      return;
    }
    this.#errors.set(error.code, (this.#errors.get(error.code) ?? 0) + 1);
    log.warn('wire.connection-failed', { ...error.facts, ...facts });
  }
}
