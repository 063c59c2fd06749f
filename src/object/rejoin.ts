/**
 * Rejoin: makes a device complete again for the partitions it is a primary of.
 *
 * A device that was wiped, replaced or cut its tail stores and serves, but counts in no majority
 * until it has joined the states of N-W+1 other complete primaries: every acknowledged write is on W,
 * so one of those has it. States only (seconds); bodies follow in the background.
 *
 * Where too few complete primaries are left for that, an operator decides (`acceptLoss`): then the device
 * joins whoever answers, and is complete with what is left.
 *
 * One step takes up to BATCH incomplete partitions of one device and ring, in turns, for some may wait for a
 * primary that is away: compares digests with the other primaries, fetches the states of what differs,
 * joins them (synced) and marks the range.
 *
 * A device that a ring change brings in learns from the former set in the same way, but behind a fence:
 * each peer first refuses, durably, what older rings place, so nothing is acknowledged there any more
 * that the device will not find. A mark from an earlier membership proves nothing; `learnt` says which
 * change it was (consistency.md, "Ring change", 4).
 */
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { EarlyLearning } from '#ring/early-learning.ts';
import type { Fence, FenceArgs } from '#ring/fence.ts';
import { fenceOff, isBehindFence } from '#ring/fencing.ts';
import { markKnown, unknownPartitions } from '#ring/knowledge.ts';
import { byPeer, type OwnPartition, ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import { type Job, noRest, type Rest, type StepResult } from '#worker/job.ts';
import { Turns } from '#worker/turns.ts';
import type { BodyPuller } from './body-puller.ts';
import type { Target } from './calls.ts';
import type { Devices } from './guard.ts';
import type { PeerBoard } from './peer-board.ts';
import { PeerStates } from './peer-states.ts';
import { cutTail, TailCheck } from './tail.ts';

const BATCH = 128;
const IDLE_MS = 10_000;
const RETRY_MS = 2_000;
const FENCE_GRACE_MS = 3_000;
const FENCE_DEADLINE_MS = 5_000;

export class Rejoin implements Job {
  readonly name = 'object.rejoin';
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #caller: Caller;
  readonly #states: PeerStates;
  readonly #seenAtMs = new WeakMap<Ring, number>();
  readonly #turns = new Turns<OwnPartition>();
  readonly #early: EarlyLearning;
  readonly #board: PeerBoard;
  readonly #tail: TailCheck;
  /** Devices that an operator has told to make do with what is left, until nothing is missing. */
  readonly #accepted = new Set<number>();
  #joined = 0;
  #missing = 0;

  constructor(
    env: Env,
    caller: Caller,
    cluster: ClusterSource,
    devices: Devices,
    puller: BodyPuller,
    board: PeerBoard,
    self: { readonly node: string },
  ) {
    this.#env = env;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#caller = caller;
    this.#board = board;
    this.#early = new EarlyLearning(env.clock);
    this.#states = new PeerStates(caller, puller, board, 'rejoin');
    this.#tail = new TailCheck({
      env,
      caller,
      self,
      joinObjects: async (peer, device, ring, partitions) => {
        const joined = await this.#states.join(peer, device, ring, partitions);
        return joined.map(({ partition }) => partition);
      },
    });
  }

  facts(): Record<string, number> {
    return { joined: this.#joined, incompletePartitions: this.#missing };
  }

  async step(signal: AbortSignal, rest = noRest): Promise<StepResult> {
    let progress = 0;
    let missing = 0;
    for (const device of this.#devices().values()) {
      if (device.status !== 'ok') continue;
      const tail = cutTail(device);
      if (tail !== undefined) {
        const rings = [...this.#cluster.current().rings.values()];
        const makeDo = this.#accepted.has(device.id);
        if (await this.#tail.run(device, tail, rings, makeDo)) progress++;
        missing++;
        continue;
      }
      let left = 0;
      for (const ring of this.#cluster.current().rings.values()) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        const incomplete = unknownPartitions(device, ring);
        missing += incomplete.length;
        left += incomplete.length;
        const open = incomplete.filter((partition) => !this.#isTooEarly(ring, partition));
        const due = this.#early.due(device, open);
        if (due.length > 0 && !signal.aborted) {
          const urgent = this.#board.mostDegradedFirst(ring.policy, due);
          progress += await this.#rejoin(device, ring, this.#turns.take(urgent, BATCH), rest);
        }
      }
      if (left === 0) this.#accepted.delete(device.id);
    }
    this.#missing = missing - progress;
    if (progress > 0) return { kind: 'more' };
    if (missing === 0) return { kind: 'idle', waitMs: IDLE_MS };
    return { kind: 'idle', waitMs: this.#early.waitMs(this.#devices().values(), RETRY_MS) };
  }

  /** For a person who knows that the silent ones stay silent. A ring change has its own `--accept-loss`. */
  acceptLoss(device: number): void {
    this.#accepted.add(device);
  }

  /** Share of a device's partitions of one ring that it is complete for; 1 where it has none. */
  completeShare(device: Device, ring: Ring): number {
    const own = ownPartitions(ring, device.id).length;
    return own === 0 ? 1 : 1 - unknownPartitions(device, ring).length / own;
  }

  /** Rings reach the processes one after another: those that lag should not be refused at once. */
  #isTooEarly(ring: Ring, { learnsAt }: OwnPartition): boolean {
    if (learnsAt === undefined) return false;
    const nowMs = this.#env.clock.monotonicMs();
    const sinceMs = this.#seenAtMs.get(ring) ?? nowMs;
    this.#seenAtMs.set(ring, sinceMs);
    return nowMs - sinceMs < FENCE_GRACE_MS;
  }

  /** How many of the partitions are complete now, or wait for nothing but the time from which that counts. */
  async #rejoin(
    device: Device,
    ring: Ring,
    partitions: readonly OwnPartition[],
    rest: Rest,
  ): Promise<number> {
    const joined = new Map<OwnPartition, number>(partitions.map((partition) => [partition, 0]));
    const makeDo = this.#accepted.has(device.id);
    const isEarly = this.#early.isEarly(device);
    const fenced = await fenceOff(
      partitions,
      (peer, fences) => this.#fence(peer, ring, fences),
      (peer, error) =>
        this.#env.log.debug('object.fence-peer', { peer: peer.node, error: codeOf(error) }),
    );
    for (const [peer, theirs] of byPeer(partitions)) {
      try {
        const wanted = theirs.filter(
          (partition) =>
            (makeDo || joined.get(partition)! < partition.needed) &&
            (partition.learnsAt === undefined || fenced.has(peer.device)),
        );
        for (const one of await this.#states.join(peer, device, ring, wanted, rest)) {
          const { partition, theirs } = one;
          if (!isBehindFence(partition, theirs.fence)) continue;
          joined.set(partition, joined.get(partition)! + 1);
        }
      } catch (error) {
        this.#env.log.debug('object.rejoin-peer', { peer: peer.node, error: codeOf(error) });
      }
    }
    const done = [...joined].filter(([partition, count]) => count >= partition.needed);
    if (makeDo) done.push(...[...joined].filter((one) => !done.includes(one) && maySettle(one)));
    const known = done.map(([partition]) => partition);
    if (isEarly) {
      this.#early.note(device, known);
      return known.length;
    }
    await markKnown(device, ring.policy, known);
    const complete = done.length;
    this.#joined += complete;
    if (complete > 0) {
      const facts = { device: device.id, policy: ring.policy, partitions: complete };
      this.#env.log.info('object.rejoined', facts);
    }
    return complete;
  }

  async #fence(peer: Target, ring: Ring, fences: readonly Fence[]): Promise<void> {
    const args: FenceArgs = { device: peer.device, policy: ring.policy, fences };
    const options = { txn: 'rejoin', deadlineMs: FENCE_DEADLINE_MS };
    await this.#caller.call(peer.node, 'object.fence', args, options);
  }
}

/** What a joining device lacks, its teachers know: they are asked until enough of them answer. */
function maySettle([{ learnsAt }]: readonly [OwnPartition, number]): boolean {
  return learnsAt === undefined;
}
