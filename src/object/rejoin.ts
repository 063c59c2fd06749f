/**
 * Rejoin: makes a device complete again for the partitions it is a primary of.
 *
 * A device that was wiped, replaced or cut its tail stores and serves, but counts in no majority
 * until it has joined the states of N-W+1 other complete primaries: every acknowledged write is on W,
 * so one of those has it. States only (seconds); bodies follow in the background.
 *
 * One step takes up to BATCH incomplete partitions of one device and ring, compares digests with the
 * other primaries, fetches the states of what differs, joins them (synced) and marks the range.
 */
import { decodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { type BodyPuller, wantsBody } from './body-puller.ts';
import type { DigestsArgs, DigestsReply, StateItem, StatesArgs, StatesReply } from './calls.ts';
import { bucketHash, isCovered, rangeDigest } from './exchange.ts';
import type { Devices } from './guard.ts';
import { type OwnPartition, OwnPartitions } from './own-partitions.ts';
import { cutTail, TailCheck } from './tail.ts';

const BATCH = 64;
const PAGE = 1_000;
const IDLE_MS = 10_000;
const RETRY_MS = 2_000;
const DEADLINE_MS = 10_000;
const MAX_JOINS_AT_ONCE = 64;

export class Rejoin implements Job {
  readonly name = 'object.rejoin';
  readonly #env: Env;
  readonly #caller: Caller;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #puller: BodyPuller;
  readonly #own = new OwnPartitions();
  readonly #tail: TailCheck;
  #joined = 0;
  #missing = 0;

  constructor(
    env: Env,
    caller: Caller,
    cluster: ClusterSource,
    devices: Devices,
    puller: BodyPuller,
    self: { readonly node: string },
  ) {
    this.#env = env;
    this.#caller = caller;
    this.#cluster = cluster;
    this.#devices = devices;
    this.#puller = puller;
    this.#tail = new TailCheck({
      env,
      caller,
      self,
      own: this.#own,
      joinObjects: (peer, device, ring, partitions) =>
        this.#joinFrom(peer, device, ring, partitions),
    });
  }

  facts(): Record<string, number> {
    return { joined: this.#joined, incompletePartitions: this.#missing };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    let progress = 0;
    let missing = 0;
    for (const device of this.#devices().values()) {
      if (device.status !== 'ok') continue;
      const tail = cutTail(device);
      if (tail !== undefined) {
        const confirmed = await this.#tail.run(
          device,
          tail,
          this.#cluster.current().rings.values(),
        );
        if (confirmed) progress++;
        missing++;
        continue;
      }
      for (const ring of this.#cluster.current().rings.values()) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        const incomplete = this.#incomplete(device, ring);
        missing += incomplete.length;
        if (incomplete.length > 0 && !signal.aborted) {
          progress += await this.#rejoin(device, ring, incomplete.slice(0, BATCH));
        }
      }
    }
    this.#missing = missing - progress;
    if (progress > 0) return { kind: 'more' };
    return { kind: 'idle', waitMs: missing > 0 ? RETRY_MS : IDLE_MS };
  }

  /** Share of a device's partitions of one ring that it is complete for; 1 where it has none. */
  completeShare(device: Device, ring: Ring): number {
    const own = this.#own.of(ring, device.id).length;
    return own === 0 ? 1 : 1 - this.#incomplete(device, ring).length / own;
  }

  #incomplete(device: Device, ring: Ring): OwnPartition[] {
    const complete = device.completeness.ranges(ring.policy);
    return this.#own
      .of(ring, device.id)
      .filter(({ buckets }) => !isCovered(complete, buckets.from, buckets.to));
  }

  /** How many of the partitions are complete now. */
  async #rejoin(device: Device, ring: Ring, partitions: readonly OwnPartition[]): Promise<number> {
    const joined = new Map<OwnPartition, number>(partitions.map((partition) => [partition, 0]));
    for (const [peer, theirs] of byPeer(partitions)) {
      try {
        const wanted = theirs.filter((partition) => joined.get(partition)! < partition.needed);
        const done = await this.#joinFrom(peer, device, ring, wanted);
        for (const partition of done) joined.set(partition, joined.get(partition)! + 1);
      } catch (error) {
        this.#env.log.debug('object.rejoin-peer', { peer: peer.node, error: codeOf(error) });
      }
    }
    let complete = 0;
    for (const [partition, count] of joined) {
      if (count < partition.needed) continue;
      const { from, to } = partition.buckets;
      await device.completeness.mark(ring.policy, from, to, true);
      complete++;
    }
    this.#joined += complete;
    if (complete > 0) {
      const facts = { device: device.id, policy: ring.policy, partitions: complete };
      this.#env.log.info('object.rejoined', facts);
    }
    return complete;
  }

  /** Joins what a peer knows; gives the partitions for which the peer is complete. */
  async #joinFrom(
    peer: Peer,
    device: Device,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<OwnPartition[]> {
    if (partitions.length === 0) return [];
    const { ranges } = await this.#digests(peer, ring, partitions);
    const done: OwnPartition[] = [];
    for (const [i, partition] of partitions.entries()) {
      const theirs = ranges[i]!;
      const { from, to } = partition.buckets;
      const own = rangeDigest(device, ring.policy, from, to);
      const equal = Buffer.from(theirs.sum).equals(own.sum) && theirs.total === own.total;
      if (!equal) await this.#fetch(peer, device, ring, partition);
      if (theirs.complete) done.push(partition);
    }
    return done;
  }

  async #digests(
    peer: Peer,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<DigestsReply> {
    const ranges = partitions.map(({ buckets }) => [buckets.from, buckets.to] as const);
    const { policy, version: ringVersion } = ring;
    const args: DigestsArgs = { device: peer.device, policy, ringVersion, ranges };
    return (await this.#call(peer, 'object.digests', args)) as DigestsReply;
  }

  async #fetch(peer: Peer, device: Device, ring: Ring, partition: OwnPartition): Promise<void> {
    const { policy, version: ringVersion } = ring;
    const to = bucketHash(partition.buckets.to);
    let from = bucketHash(partition.buckets.from);
    while (from !== null) {
      const args: StatesArgs = { device: peer.device, policy, ringVersion, from, to, limit: PAGE };
      const page = (await this.#call(peer, 'object.states', args)) as StatesReply;
      for (let i = 0; i < page.entries.length; i += MAX_JOINS_AT_ONCE) {
        const items = page.entries.slice(i, i + MAX_JOINS_AT_ONCE);
        await Promise.all(items.map((item) => this.#join(device, policy, partition, item)));
      }
      from = page.next === null ? null : Buffer.from(page.next);
    }
  }

  async #join(
    device: Device,
    policy: number,
    partition: OwnPartition,
    item: StateItem,
  ): Promise<void> {
    const key = { policy, hash: Buffer.from(item.hash) };
    const { path, unlisted } = item;
    await device.write({ key, path, state: decodeState(item.state), unlisted, intent: 'join' });
    const entry = device.stat(key);
    if (entry !== undefined && partition.holdsBodies && wantsBody(entry)) {
      this.#puller.enqueue({ device: device.id, ...key });
    }
  }

  async #call(peer: Peer, method: string, args: unknown): Promise<unknown> {
    const options = { txn: 'rejoin', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    return (await this.#caller.call(peer.node, method, args, options)).result;
  }
}

interface Peer {
  readonly device: number;
  readonly node: string;
}

function byPeer(partitions: readonly OwnPartition[]): Map<Peer, OwnPartition[]> {
  const peers = new Map<number, { peer: Peer; partitions: OwnPartition[] }>();
  for (const partition of partitions) {
    for (const { id, node } of partition.others) {
      const known = peers.get(id) ?? { peer: { device: id, node }, partitions: [] };
      known.partitions.push(partition);
      peers.set(id, known);
    }
  }
  return new Map([...peers.values()].map(({ peer, partitions: list }) => [peer, list]));
}
