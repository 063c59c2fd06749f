/**
 * The rounds of this node's devices. A round of a device is over when everything that it holds has been
 * compared, after the round began, with all primaries of it: what it shares with each of the others
 * agrees (or was taken in), and what it holds for others is gone.
 *
 * Rounds are told as two counters. Whoever wants to know of a round that began after some moment asks
 * then how many were begun, and waits until one more is done: no clock of another machine is believed.
 * The counters are of one opening of the device; `run` tells them apart. (Were it the process's, a device that
 * is opened anew would count from one again, and hold reclaim back everywhere until it has caught up.)
 */
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { PeerBoard } from '#object/peer-board.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { coverageOf } from '#ring/coverage.ts';
import { ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { DeviceState } from './messages.ts';

/** When a device was last found to hold nothing that belongs to others, in local monotonic time. */
export type ClearedAt = (device: number, ring: Ring) => number | undefined;

interface Round {
  readonly run: string;
  begun: number;
  done: number;
  startedAtMs: number;
}

const RUN_BYTES = 8;

export class Rounds {
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #board: PeerBoard;
  readonly #cleared: ClearedAt;
  /** A device that is opened anew begins anew: what it may have lost is not what was compared. */
  readonly #rounds = new WeakMap<Device, Round>();

  constructor(env: Env, cluster: ClusterSource, board: PeerBoard, cleared: ClearedAt) {
    this.#env = env;
    this.#cluster = cluster;
    this.#board = board;
    this.#cleared = cleared;
  }

  /** Ends the round under way if it is over, and begins the next. */
  of(device: Device): Pick<DeviceState, 'run' | 'roundsBegun' | 'roundsDone'> {
    const nowMs = this.#env.clock.monotonicMs();
    let round = this.#rounds.get(device);
    if (round === undefined) {
      round = { run: this.#newRun(device), begun: 1, done: 0, startedAtMs: nowMs };
      this.#rounds.set(device, round);
    } else if (this.#isOver(device, round.startedAtMs)) {
      round.done = round.begun;
      round.begun++;
      round.startedAtMs = nowMs;
    }
    return { run: round.run, roundsBegun: round.begun, roundsDone: round.done };
  }

  #newRun({ incarnation }: Device): string {
    const run = this.#env.random.bytes(RUN_BYTES).toString('hex');
    return `${run}.${incarnation.slice(0, 16)}`;
  }

  #isOver(device: Device, startedAtMs: number): boolean {
    if (device.status !== 'ok') return false;
    for (const ring of this.#cluster.current().rings.values()) {
      if (!this.#isCompared(device, ring, startedAtMs)) return false;
      if ((this.#cleared(device.id, ring) ?? -1) < startedAtMs) return false;
    }
    return true;
  }

  #isCompared(device: Device, ring: Ring, sinceMs: number): boolean {
    const complete = coverageOf(device.completeness.ranges(ring.policy));
    const peers = new Set<number>();
    for (const { others, buckets } of ownPartitions(ring, device.id)) {
      if (!complete.has(buckets.from, buckets.to)) return false;
      for (const { id } of others) peers.add(id);
    }
    return [...peers].every(
      (peer) => (this.#board.agreedAtMs(ring.policy, device.id, peer) ?? -1) >= sinceMs,
    );
  }
}
