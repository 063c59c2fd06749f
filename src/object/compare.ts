/**
 * Compare: replicas that were away, or dropped a write, catch up without being read. Each device compares
 * digests of its partitions with the other primaries, one ring of one device a step, and pulls the
 * states of what differs; where bodies are missing it looks for the entries and fetches them.
 *
 * Only a difference that was there before, in the same form, is opened: one that changes is writes in
 * flight, and opening it would be work for nothing. Pulling is enough, for every replica pulls.
 */
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { type OwnPartition, OwnPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { type BodyPuller, wantsBody } from './body-puller.ts';
import type { Target } from './calls.ts';
import { bucketHash } from './exchange.ts';
import type { Devices } from './guard.ts';
import { byPeer, type Comparison, PeerStates } from './peer-states.ts';
import { cutTail } from './tail.ts';

export interface CompareOptions {
  /** A full round over all devices and rings takes about this long when nothing differs. */
  readonly roundMs?: number;
}

const DEFAULT_ROUND_MS = 30_000;
const MIN_WAIT_MS = 500;
const RANGES_PER_CALL = 512;
/** Differing partitions opened in one step. */
const MAX_OPENED = 32;
/** Entries looked at in one step for missing bodies. */
const MAX_SCANNED = 2_000;
const MAX_DIFFERENCES = 100_000;

export class Compare implements Job {
  readonly name = 'object.compare';
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #puller: BodyPuller;
  readonly #states: PeerStates;
  readonly #roundMs: number;
  readonly #own = new OwnPartitions();
  /** Differences as they were seen last: by device, peer, ring and partition. */
  readonly #seen = new Map<string, string>();
  /** Where the search for missing bodies goes on, by device and ring. */
  readonly #scanned = new Map<string, Buffer>();
  #turn = 0;
  #differing = 0;
  #fetched = 0;

  constructor(
    env: Env,
    caller: Caller,
    cluster: ClusterSource,
    devices: Devices,
    puller: BodyPuller,
    { roundMs = DEFAULT_ROUND_MS }: CompareOptions = {},
  ) {
    this.#env = env;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#puller = puller;
    this.#states = new PeerStates(caller, puller, 'compare');
    this.#roundMs = roundMs;
  }

  facts(): Record<string, number> {
    return {
      differing: this.#differing,
      fetched: this.#fetched,
      bodiesWaiting: this.#puller.waiting,
    };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const turns = this.#turns();
    const turn = turns[this.#turn++ % Math.max(1, turns.length)];
    if (turn === undefined) return { kind: 'idle', waitMs: this.#roundMs };
    const { device, ring } = turn;
    const partitions = this.#own.of(ring, device.id);
    let opened = 0;
    this.#differing = 0;
    for (const [peer, shared] of byPeer(partitions)) {
      for (let i = 0; i < shared.length && !signal.aborted; i += RANGES_PER_CALL) {
        const batch = shared.slice(i, i + RANGES_PER_CALL);
        opened += await this.#compare(peer, device, ring, batch, MAX_OPENED - opened);
      }
    }
    this.#findBodies(device, ring, partitions);
    const waitMs = Math.max(MIN_WAIT_MS, this.#roundMs / turns.length);
    return opened > 0 ? { kind: 'more' } : { kind: 'idle', waitMs };
  }

  #turns(): { device: Device; ring: Ring }[] {
    const turns: { device: Device; ring: Ring }[] = [];
    for (const device of this.#devices().values()) {
      if (device.status !== 'ok' || cutTail(device) !== undefined) continue;
      for (const ring of this.#cluster.current().rings.values()) {
        const isObjects = ring.policy !== CONTAINER_RING && ring.policy !== ACCOUNT_RING;
        if (isObjects && this.#own.of(ring, device.id).length > 0) turns.push({ device, ring });
      }
    }
    return turns;
  }

  /** How many partitions were opened. */
  async #compare(
    peer: Target,
    device: Device,
    ring: Ring,
    partitions: readonly OwnPartition[],
    atMost: number,
  ): Promise<number> {
    let opened = 0;
    try {
      for (const comparison of await this.#states.compare(peer, device, ring, partitions)) {
        if (!this.#isDebt(peer, device, ring, comparison) || opened >= atMost) continue;
        this.#fetched += await this.#states.fetch(peer, device, ring, comparison);
        opened++;
      }
    } catch (error) {
      const facts = { device: device.id, peer: peer.node, error: codeOf(error) };
      this.#env.log.debug('object.compare-peer', facts);
    }
    return opened;
  }

  /** It differs, and differed in the same way when it was compared last. */
  #isDebt(peer: Target, device: Device, ring: Ring, comparison: Comparison): boolean {
    const { partition, own, theirs, equal } = comparison;
    const key = `${device.id}/${peer.device}/${ring.policy}/${partition.partition}`;
    if (equal || theirs.total === 0) {
      this.#seen.delete(key);
      return false;
    }
    this.#differing++;
    const difference = `${own.sum.toString('hex')}${Buffer.from(theirs.sum).toString('hex')}`;
    const known = this.#seen.get(key) === difference;
    if (this.#seen.size >= MAX_DIFFERENCES) this.#seen.clear();
    this.#seen.set(key, difference);
    return known;
  }

  /**
   * Entries whose body should be here and is not, where the digests say that there are some: so many
   * entries a step, going on where the last one stopped.
   */
  #findBodies(device: Device, ring: Ring, partitions: readonly OwnPartition[]): void {
    if (this.#puller.waiting > 0) return;
    const key = `${device.id}/${ring.policy}`;
    const start = this.#scanned.get(key);
    let left = MAX_SCANNED;
    for (const { buckets, holdsBodies } of partitions) {
      const to = bucketHash(buckets.to) ?? undefined;
      if (!holdsBodies || (start && to && Buffer.compare(to, start) <= 0)) continue;
      const [summary] = device.digests.summarise(ring.policy, buckets.from, buckets.to, 1);
      if ((summary?.bodiless ?? 0) === 0) continue;
      const first = bucketHash(buckets.from)!;
      const from = start && Buffer.compare(start, first) > 0 ? start : first;
      const entries = device.entries(ring.policy, from, to, left);
      for (const entry of entries) {
        if (wantsBody(entry)) this.#puller.enqueue({ device: device.id, ...entry.key });
      }
      left -= entries.length;
      if (left > 0) continue;
      this.#scanned.set(key, entries.at(-1)!.key.hash);
      return;
    }
    this.#scanned.delete(key);
  }
}
