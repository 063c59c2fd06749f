/**
 * Compare: replicas that were away, or dropped a write, catch up without being read. Where the sums of
 * two devices differ (peer-board.ts), the digests of the partitions that they share are compared, and
 * the states of what differs are pulled; one pair of devices after the other, a bounded number of
 * partitions a step, the most degraded first.
 *
 * Which differences are opened: worker/differences.ts. Pulling is enough, for every replica pulls.
 */
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { byPeer, type OwnPartition, ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import { Differences, type Judgement } from '#worker/differences.ts';
import { type Job, noRest, type Rest, type StepResult } from '#worker/job.ts';
import type { BodyPuller } from './body-puller.ts';
import type { Target } from './calls.ts';
import type { Devices } from './guard.ts';
import type { PeerBoard } from './peer-board.ts';
import { type Comparison, PeerStates } from './peer-states.ts';
import { cutTail } from './tail.ts';

/** A pair of devices that differs is looked at again after so long; the board wakes the job for a new one. */
const AGAIN_MS = 5_000;
const IDLE_MS = 30_000;
const RANGES_PER_CALL = 512;
/** Differing partitions opened in one step. */
const MAX_OPENED = 32;

/** Two devices that share partitions of a ring and do not agree. */
interface Suspect {
  readonly device: Device;
  readonly ring: Ring;
  readonly peer: Target;
  readonly shared: readonly OwnPartition[];
}

export class Compare implements Job {
  readonly name = 'object.compare';
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #board: PeerBoard;
  readonly #states: PeerStates;
  /** By device, peer, ring and partition. */
  readonly #differences: Differences;
  #differing = 0;
  #fetched = 0;

  constructor(
    env: Env,
    caller: Caller,
    cluster: ClusterSource,
    devices: Devices,
    puller: BodyPuller,
    board: PeerBoard,
  ) {
    this.#env = env;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#board = board;
    this.#differences = new Differences(() => env.clock.monotonicMs());
    this.#states = new PeerStates(caller, puller, board, 'compare');
  }

  facts(): Record<string, number> {
    return { differing: this.#differing, fetched: this.#fetched };
  }

  async step(signal: AbortSignal, rest = noRest): Promise<StepResult> {
    const suspects = this.#suspects();
    let opened = 0;
    this.#differing = 0;
    for (const suspect of suspects) {
      if (signal.aborted) break;
      opened += await this.#compare(suspect, MAX_OPENED - opened, rest);
    }
    if (opened > 0) return { kind: 'more' };
    return { kind: 'idle', waitMs: suspects.length > 0 ? AGAIN_MS : IDLE_MS };
  }

  #suspects(): Suspect[] {
    const suspects: Suspect[] = [];
    for (const device of this.#devices().values()) {
      if (device.status !== 'ok' || cutTail(device) !== undefined) continue;
      for (const ring of this.#cluster.current().rings.values()) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        for (const [peer, shared] of byPeer(ownPartitions(ring, device.id))) {
          const isHeard = this.#board.device(peer.device) !== undefined;
          if (isHeard && this.#board.differs(ring.policy, device.id, peer.device))
            suspects.push({ device, ring, peer, shared });
        }
      }
    }
    return suspects;
  }

  /** How many partitions were opened. */
  async #compare(suspect: Suspect, atMost: number, rest: Rest): Promise<number> {
    const { device, ring, peer } = suspect;
    const startMs = this.#env.clock.monotonicMs();
    let opened = 0;
    let left = 0;
    try {
      const shared = this.#board.mostDegradedFirst(ring.policy, suspect.shared);
      for (let i = 0; i < shared.length; i += RANGES_PER_CALL) {
        const batch = shared.slice(i, i + RANGES_PER_CALL);
        for (const comparison of await this.#states.compare(peer, device, ring, batch)) {
          const judged = this.#judge(suspect, comparison);
          if (judged === 'open' && opened < atMost) {
            this.#fetched += await this.#states.fetch(peer, device, ring, comparison, rest);
            this.#differences.opened(keyOf(suspect, comparison), formOf(comparison));
            opened++;
          } else if (judged !== 'settled') left++;
        }
      }
      if (left === 0) this.#board.tookIn(ring.policy, device.id, peer.device, startMs);
    } catch (error) {
      const facts = { device: device.id, peer: peer.node, error: codeOf(error) };
      this.#env.log.debug('object.compare-peer', facts);
    }
    return opened;
  }

  #judge(suspect: Suspect, comparison: Comparison): Judgement {
    const key = keyOf(suspect, comparison);
    if (comparison.equal || comparison.theirs.total === 0) {
      this.#differences.clear(key);
      return 'settled';
    }
    this.#differing++;
    return this.#differences.judge(key, formOf(comparison));
  }
}

function keyOf({ device, peer, ring }: Suspect, { partition }: Comparison): string {
  return `${device.id}/${peer.device}/${ring.policy}/${partition.partition}`;
}

function formOf({ own, theirs }: Comparison): string {
  return `${own.sum.toString('hex')}${Buffer.from(theirs.sum).toString('hex')}`;
}
