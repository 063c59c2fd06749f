/**
 * Brings the states of one device up to those of another replica: digests of ranges first, then, for
 * the ranges that differ, all states in pages, joined (and synced) here. Bodies are fetched behind.
 */
import type { EntryState } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import { type BodyPuller, wantsBody } from './body-puller.ts';
import type {
  DigestsArgs,
  DigestsReply,
  RangeDigest,
  StateItem,
  StatesArgs,
  StatesReply,
  Target,
} from './calls.ts';
import { bucketHash, rangeDigest } from './exchange.ts';
import type { OwnPartition } from './own-partitions.ts';

/** One partition, here and at a peer. */
export interface Comparison {
  readonly partition: OwnPartition;
  readonly own: RangeDigest;
  readonly theirs: RangeDigest;
  readonly equal: boolean;
}

const PAGE = 1_000;
const MAX_JOINS_AT_ONCE = 64;
const DEADLINE_MS = 10_000;

export class PeerStates {
  readonly #caller: Caller;
  readonly #puller: BodyPuller;
  readonly #txn: string;

  /** `txn` names the job in the logs of the peers. */
  constructor(caller: Caller, puller: BodyPuller, txn: string) {
    this.#caller = caller;
    this.#puller = puller;
    this.#txn = txn;
  }

  /** @throws WireError */
  async compare(
    peer: Target,
    device: Device,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<Comparison[]> {
    const ranges = partitions.map(({ buckets }) => [buckets.from, buckets.to] as const);
    const { policy, version: ringVersion } = ring;
    const args: DigestsArgs = { device: peer.device, policy, ringVersion, ranges };
    const reply = (await this.#call(peer, 'object.digests', args)) as DigestsReply;
    return partitions.map((partition, i) => {
      const theirs = reply.ranges[i]!;
      const own = rangeDigest(device, policy, partition.buckets.from, partition.buckets.to);
      const equal = Buffer.from(theirs.sum).equals(own.sum) && theirs.total === own.total;
      return { partition, own, theirs, equal };
    });
  }

  /**
   * Joins what the peer has more of these partitions; gives those that the peer is complete for.
   * @throws WireError; the device's errors
   */
  async join(
    peer: Target,
    device: Device,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<OwnPartition[]> {
    if (partitions.length === 0) return [];
    const done: OwnPartition[] = [];
    for (const { partition, equal, theirs } of await this.compare(peer, device, ring, partitions)) {
      if (!equal) await this.fetch(peer, device, ring, partition);
      if (theirs.complete) done.push(partition);
    }
    return done;
  }

  /** All states that the peer has of a partition, joined. Gives how many were new here. */
  async fetch(peer: Target, device: Device, ring: Ring, partition: OwnPartition): Promise<number> {
    const { policy, version: ringVersion } = ring;
    const to = bucketHash(partition.buckets.to);
    let from = bucketHash(partition.buckets.from);
    let joined = 0;
    while (from !== null) {
      const args: StatesArgs = { device: peer.device, policy, ringVersion, from, to, limit: PAGE };
      const page = (await this.#call(peer, 'object.states', args)) as StatesReply;
      for (let i = 0; i < page.entries.length; i += MAX_JOINS_AT_ONCE) {
        const items = page.entries.slice(i, i + MAX_JOINS_AT_ONCE);
        await Promise.all(items.map((item) => this.#joinOne(device, policy, partition, item)));
      }
      joined += page.entries.length;
      from = page.next === null ? null : Buffer.from(page.next);
    }
    return joined;
  }

  async #joinOne(
    device: Device,
    policy: PolicyIndex,
    partition: OwnPartition,
    item: StateItem,
  ): Promise<void> {
    const key = { policy, hash: Buffer.from(item.hash) };
    const { path, unlisted } = item;
    if (!isKnown(device.stat(key)?.state, item.state)) {
      await device.write({ key, path, state: decodeState(item.state), unlisted, intent: 'join' });
    }
    const entry = device.stat(key);
    if (entry !== undefined && partition.holdsBodies && wantsBody(entry)) {
      this.#puller.enqueue({ device: device.id, ...key });
    }
  }

  async #call(peer: Target, method: string, args: unknown): Promise<unknown> {
    const options = { txn: this.#txn, deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    return (await this.#caller.call(peer.node, method, args, options)).result;
  }
}

/** Most of a range that differs is equal: what is the same byte by byte costs no record. */
function isKnown(state: EntryState | undefined, encoded: Uint8Array): boolean {
  return state !== undefined && encodeState(state).equals(encoded);
}

/** Which partitions are shared with whom. */
export function byPeer(partitions: readonly OwnPartition[]): Map<Target, OwnPartition[]> {
  const peers = new Map<number, { peer: Target; partitions: OwnPartition[] }>();
  for (const partition of partitions) {
    for (const { id, node } of partition.others) {
      const known = peers.get(id) ?? { peer: { device: id, node }, partitions: [] };
      known.partitions.push(partition);
      peers.set(id, known);
    }
  }
  return new Map([...peers.values()].map(({ peer, partitions: list }) => [peer, list]));
}
