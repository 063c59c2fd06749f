/**
 * The one connection to a peer on a lane (`calls`, or one for bulk), and how there comes to be one.
 *
 *     idle ──call──> dialling ──opened──> up ──lost──> dialling (while somebody asks), else idle
 *                        └──failed──> down ──after a backoff──> dials in the background
 *
 * While a peer is down, calls fail at once: a dead node must cost its callers nothing. An
 * incoming connection from it ends that state immediately.
 *
 * Both sides may dial at once. Then both apply one rule, and one connection survives: of two
 * connections of the same two processes, the one that the smaller node name dialled is kept; of two
 * by the same dialler, the newer (it would not have dialled had it still had the older). The other
 * is retired: no new calls on it, those under way go on, so no call is lost. If the one to be kept is
 * the older, it has to prove first that it is still alive at the peer's end.
 */
import { codeOf, messageOf } from '#base/errors.ts';
import type { Socket, Timer } from '#env/env.ts';
import type { Connection } from './connection.ts';
import { type PeerDirectory, type PeerLocation, type WireCode, WireError } from './contract.ts';
import { DeadlineTimer } from './deadline-timer.ts';
import type { CallHolder, OutgoingCall } from './outgoing-call.ts';
import { ProtocolError } from './protocol-error.ts';
import type { WireContext } from './wire-context.ts';

const PROBE_MS = 1000;
const MAX_WAITING = 4096;
const MAX_DOUBLINGS = 16;

export interface LaneOptions {
  readonly context: WireContext;
  readonly peers: PeerDirectory;
  readonly node: string;
  readonly lane: number;
  /** Makes a connection of a socket that was dialled for this lane. */
  readonly connected: (socket: Socket) => void;
}

export interface LaneStatus {
  readonly node: string;
  readonly lane: number;
  readonly state: 'idle' | 'dialling' | 'up' | 'down';
  readonly failures: number;
  readonly lastError: string | undefined;
}

export class Lane implements CallHolder {
  readonly #options: LaneOptions;
  readonly #context: WireContext;
  readonly #waiting = new Set<OutgoingCall>();
  readonly #deadlines: DeadlineTimer;
  #connection: Connection | undefined;
  /** An older duplicate that has to prove that it is alive. */
  #probed: Connection | undefined;
  #isDialling = false;
  #dialledMs = 0;
  #isDown = false;
  /** By another lane, since the dial under way began: its failure says nothing any more. */
  #isFoundUp = false;
  #failures = 0;
  #lastError: unknown;
  #retry: Timer | undefined;
  #demandMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#context = options.context;
    this.#deadlines = new DeadlineTimer(this.#context.env.clock, (now) => this.#sweep(now));
  }

  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** Calls under way or waiting, to choose among lanes. */
  get load(): number {
    return this.#waiting.size + (this.#connection?.session.calls.outgoingCount ?? 0);
  }

  get status(): LaneStatus {
    const { node, lane } = this.#options;
    const lastError = this.#lastError === undefined ? undefined : codeOf(this.#lastError);
    let state: LaneStatus['state'] = this.#isDown ? 'down' : 'idle';
    if (this.#connection !== undefined) state = 'up';
    else if (this.#isDialling && !this.#isDown) state = 'dialling';
    return { node, lane, state, failures: this.#failures, lastError };
  }

  /** Sends the call now, or as soon as there is a connection, or ends it. */
  submit(call: OutgoingCall): void {
    const connection = this.#connection;
    if (connection !== undefined) {
      connection.session.calls.send(call);
      return;
    }
    const now = this.#context.env.clock.monotonicMs();
    this.#demandMs = now;
    if (this.#stopped) call.end(closed());
    else if (this.#isDown) call.end(this.#unreachable());
    else if (this.#waiting.size >= MAX_WAITING) {
      call.end(new WireError('overloaded', 'too many calls wait for a connection'));
    } else {
      this.#waiting.add(call);
      call.waitIn(this);
      this.#deadlines.note(call.deadlineAtMs, now);
      this.#dial();
    }
  }

  forget(call: OutgoingCall): void {
    this.#waiting.delete(call);
  }

  /** A connection of this lane has opened, whoever dialled it. */
  adopt(connection: Connection): void {
    if (connection.role === 'dials') this.#isDialling = false;
    if (this.#stopped) {
      connection.retire('closing');
      return;
    }
    const older = this.#connection;
    this.#connection = connection;
    this.#isDown = false;
    this.#failures = 0;
    this.#retry?.cancel();
    if (older !== undefined) this.#resolve(older, connection);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const call of waiting) this.submit(call);
  }

  /** The peer is up, as another lane has found: calls wait for a dial instead of failing. */
  encourage(): void {
    if (!this.#isDown) return;
    this.#retry?.cancel();
    this.#isDown = false;
    this.#isFoundUp = this.#isDialling;
  }

  /** No new calls on this connection. */
  dismiss(connection: Connection): void {
    if (this.#probed === connection) this.#probed = undefined;
    if (this.#connection !== connection) return;
    this.#connection = this.#probed;
    this.#probed = undefined;
  }

  /** An open connection is gone. */
  lost(connection: Connection, error: ProtocolError): void {
    this.dismiss(connection);
    const idleMs = this.#context.env.clock.monotonicMs() - this.#demandMs;
    const isWanted = idleMs < this.#context.limits.demandMs && error.code !== 'closing';
    if (isWanted) this.#dial();
  }

  /** A dial has come to nothing: no socket, or no handshake. */
  failed(error: unknown): void {
    this.#isDialling = false;
    if (this.#connection !== undefined || this.#stopped) return;
    if (this.#isFoundUp) {
      this.#dial();
      return;
    }
    this.#lastError = error;
    this.#isDown = true;
    this.#failures++;
    this.#retry = this.#context.env.clock.setTimer(this.#backoffMs(), () => this.#dialAgain());
    this.#logFailure(error);
    this.#endWaiting(this.#unreachable());
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
    this.#deadlines.stop();
    this.#endWaiting(closed());
  }

  #resolve(older: Connection, newer: Connection): void {
    const { log } = this.#context.env;
    const facts = { peer: newer.peer.node, lane: newer.lane };
    if (!older.peer.instance.equals(newer.peer.instance)) {
      log.info('wire.peer-restarted', facts);
      older.close(new ProtocolError('replaced', 'the peer has restarted'));
    } else if (older.dialledBy === newer.dialledBy) {
      older.retire('replaced');
    } else if (newer.dialledBy < older.dialledBy) {
      older.retire('duplicate');
    } else this.#probe(older, newer);
  }

  #probe(older: Connection, newer: Connection): void {
    this.#probed?.retire('duplicate');
    this.#probed = older;
    older.session.probe(PROBE_MS, (isAlive) => {
      if (this.#probed !== older) return;
      this.#probed = undefined;
      if (!isAlive) {
        older.close(new ProtocolError('silent', 'a duplicate connection does not answer'));
        return;
      }
      this.#connection = older;
      newer.retire('duplicate');
    });
  }

  #dial(): void {
    if (this.#isDialling || this.#stopped || this.#connection !== undefined) return;
    const location = this.#options.peers.lookup(this.#options.node);
    if (location === undefined) {
      this.#isDown = false;
      this.#endWaiting(new WireError('refused', 'no such node', { node: this.#options.node }));
      return;
    }
    this.#isDialling = true;
    this.#isFoundUp = false;
    this.#dialledMs = this.#context.env.clock.monotonicMs();
    this.#connect(location).then(
      (socket) => {
        if (this.#stopped) socket.destroy();
        else this.#options.connected(socket);
      },
      (error) => this.failed(error),
    );
  }

  #connect({ address, delayMs, tls }: PeerLocation): Promise<Socket> {
    const { env, limits } = this.#context;
    return env.network.connect(address, { timeoutMs: limits.connectTimeoutMs, delayMs, tls });
  }

  /** From dial to dial: one that has waited for an answer until its time was over has been the wait. */
  #backoffMs(): number {
    const { env, limits } = this.#context;
    const doubled = limits.backoffFirstMs * 2 ** Math.min(this.#failures - 1, MAX_DOUBLINGS);
    const intervalMs = Math.min(limits.backoffMaxMs, doubled) * (0.5 + env.random.float());
    const sinceMs = env.clock.monotonicMs() - this.#dialledMs;
    return Math.max(limits.backoffFirstMs, intervalMs - sinceMs);
  }

  #dialAgain(): void {
    const idleMs = this.#context.env.clock.monotonicMs() - this.#demandMs;
    if (idleMs < this.#context.limits.demandMs) this.#dial();
    else this.#isDown = false;
  }

  #endWaiting(error: WireError): void {
    for (const call of [...this.#waiting]) call.end(error);
  }

  /** Once when it goes down; that it stays down is not news. */
  #logFailure(error: unknown): void {
    if (this.#failures > 1) return;
    const { node, lane } = this.#options;
    const facts = { peer: node, lane, code: codeOf(error), message: messageOf(error) };
    this.#context.env.log.warn('wire.peer-down', facts);
  }

  #unreachable(): WireError {
    const { node } = this.#options;
    const error = this.#lastError;
    const reason = codeOf(error);
    const facts = { node, reason, failures: this.#failures };
    return new WireError(callCode(reason), `${node} can't be reached: ${messageOf(error)}`, facts);
  }

  #sweep(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const call of [...this.#waiting]) {
      if (call.deadlineAtMs <= now) call.expire();
      else next = Math.min(next, call.deadlineAtMs);
    }
    return next;
  }
}

/** What a failed dial means for the calls that wanted it. */
function callCode(reason: string): WireCode {
  if (reason === 'clock-drift') return 'clock-drift';
  return REFUSALS.includes(reason) ? 'refused' : 'unreachable';
}

const REFUSALS: readonly string[] = [
  'no-common-version',
  'wrong-cluster',
  'wrong-node',
  'wrong-proof',
  'wrong-certificate',
];

function closed(): WireError {
  return new WireError('refused', 'this endpoint is closed');
}
