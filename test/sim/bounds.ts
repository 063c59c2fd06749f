/**
 * Memory and queues stay bounded: what is under way between the nodes, looked at again and again while
 * things go wrong, and once more when all is at rest.
 */
import { DEFAULT_LIMITS } from '#wire/limits.ts';
import type { Process, SimCluster, SimNode } from './cluster.ts';
import { Violation } from './model.ts';

/** A few clients and the background jobs of a few devices never need more. */
const MAX_CALLS = 500;
const MAX_IN_FLIGHT_BYTES = 16 * 2 ** 20;
/** What a process has allowed others to send; each call may, however little it then sends (seed 906624: four of 4 MiB). */
const MAX_WINDOW_BYTES = DEFAULT_LIMITS.receiveBudgetBytes;
const MAX_EVENTS = 50_000;
/** At rest only background jobs talk, one call each at a time. */
const MAX_CALLS_AT_REST = 40;
/** `calls` and `bulk`; both sides may have dialled at the same moment, so one more for a while. */
const MAX_CONNECTIONS = 3;

export class Bounds {
  readonly #cluster: SimCluster;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  /** @throws Violation */
  check(atRest: boolean): void {
    const { world, nodes } = this.#cluster;
    this.#limit('events ahead', world.eventsAhead, MAX_EVENTS);
    for (const node of nodes) {
      if (node.process !== undefined) this.#checkProcess(node, node.process, atRest);
    }
  }

  #checkProcess({ name }: SimNode, { wire }: Process, atRest: boolean): void {
    const { connections, receiveWindowBytes, pendingHandshakes } = wire.status();
    const maxCalls = atRest ? MAX_CALLS_AT_REST : MAX_CALLS;
    let inFlight = 0;
    const perPeer = new Map<string, number>();
    let calls = pendingHandshakes;
    for (const { peer, callsOutActive, callsInActive, dataInFlightBytes } of connections) {
      calls += callsOutActive + callsInActive;
      inFlight += dataInFlightBytes;
      perPeer.set(peer, (perPeer.get(peer) ?? 0) + 1);
    }
    this.#limit(`calls of ${name}`, calls, maxCalls);
    this.#limit(`bytes under way at ${name}`, inFlight, MAX_IN_FLIGHT_BYTES);
    this.#limit(`bytes that may come to ${name}`, receiveWindowBytes, MAX_WINDOW_BYTES);
    if (!atRest) return;
    for (const [peer, count] of perPeer) {
      this.#limit(`connections of ${name} with ${peer}`, count, MAX_CONNECTIONS);
    }
  }

  #limit(what: string, is: number, most: number): void {
    if (is > most) throw new Violation('bounded', `${what}: ${is}, more than ${most}`);
  }
}
