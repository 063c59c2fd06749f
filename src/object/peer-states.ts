/**
 * Brings the states of one device up to those of another replica: digests of ranges first, then, for
 * the ranges that differ, all states in pages, joined (and synced) here. Bodies are fetched behind;
 * where something whole would be given up for what is not, the body comes first (incoming.ts).
 */
import { bodyLength, EMPTY_STATE, type EntryState, join } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import {
  DEFAULT_INLINE_LIMIT,
  type Device,
  type Entry,
  type WriteRequest,
} from '#device/contract.ts';
import type { BucketRange, OwnPartition } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import { noRest, type Rest } from '#worker/job.ts';
import type { BodyPuller } from './body-puller.ts';
import type { StateItem, Target } from './calls.ts';
import { isBodiless, isToList, mustWait, revives } from './incoming.ts';
import type { PeerBoard } from './peer-board.ts';
import { isSmall, PeerRanges, type RangeComparison } from './peer-ranges.ts';
import { bodyKeepers } from './targets.ts';

export interface Comparison extends RangeComparison {
  readonly partition: OwnPartition;
}

const MAX_JOINS_AT_ONCE = 32;
/** While so many bodies wait, states of new names come before theirs. */
const MANY = 5_000;

export class PeerStates {
  readonly #ranges: PeerRanges;
  readonly #puller: BodyPuller;
  readonly #board: PeerBoard;
  readonly #job: 'compare' | 'rejoin';

  /** Who rejoins must know everything, so it waits for no body longer than one call takes. */
  constructor(caller: Caller, puller: BodyPuller, board: PeerBoard, job: 'compare' | 'rejoin') {
    this.#board = board;
    this.#ranges = new PeerRanges(caller, job);
    this.#puller = puller;
    this.#job = job;
  }

  /** @throws WireError */
  async compare(
    peer: Target,
    device: Device,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<Comparison[]> {
    const ranges = partitions.map(({ buckets }) => buckets);
    const compared = await this.#ranges.compare(peer, device, ring, ranges);
    return compared.map((comparison, i) => ({ ...comparison, partition: partitions[i]! }));
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
    rest = noRest,
  ): Promise<Comparison[]> {
    if (partitions.length === 0) return [];
    const comparisons = await this.compare(peer, device, ring, partitions);
    const differing = comparisons.filter(({ equal }) => !equal);
    const whole = differing.filter(isOpened);
    const ranges = whole.map(({ range }) => range).sort((one, other) => one.from - other.from);
    if (ranges.length > 0) await this.#fetchRanges(peer, device, ring, ranges, rest);
    for (const comparison of differing) {
      if (!whole.includes(comparison)) await this.fetch(peer, device, ring, comparison, rest);
    }
    return comparisons.filter(({ theirs }) => theirs.complete);
  }

  /** Joins what the peer has more of a partition that differs. Gives how many states were sent. */
  async fetch(
    peer: Target,
    device: Device,
    ring: Ring,
    comparison: Comparison,
    rest = noRest,
  ): Promise<number> {
    let sent = 0;
    const differing = this.#ranges.differing(peer, device, ring, comparison, TO_FETCH);
    for await (const { range } of differing) {
      sent += await this.#fetchRanges(peer, device, ring, [range], rest);
    }
    return sent;
  }

  /** Ranges that ascend. Gives how many states were sent. */
  async #fetchRanges(
    peer: Target,
    device: Device,
    ring: Ring,
    ranges: readonly BucketRange[],
    rest: Rest,
  ): Promise<number> {
    let sent = 0;
    for await (const entries of this.#ranges.pages(peer, ring, ranges)) {
      for (let i = 0; i < entries.length; i += MAX_JOINS_AT_ONCE) {
        const items = entries.slice(i, i + MAX_JOINS_AT_ONCE);
        await Promise.all(items.map((item) => this.#joinOne(peer, device, ring, item)));
        await rest();
      }
      sent += entries.length;
    }
    return sent;
  }

  async #joinOne(peer: Target, device: Device, ring: Ring, item: StateItem): Promise<void> {
    const key = { policy: ring.policy, hash: Buffer.from(item.hash) };
    const { path } = item;
    const existing = device.stat(key);
    const keeps = bodyKeepers(ring, key.hash).some(({ id }) => id === device.id);
    if (!isKnown(existing?.state, item.state)) {
      const state = decodeState(item.state);
      if (existing === undefined && this.#board.isReclaimed(state)) return;
      const unlisted = item.unlisted || isToList(device, key, existing, state);
      const request = { key, path, state, unlisted, intent: 'join' as const };
      // Whoever has the POST has no bytes for it, and a witness has none either (incoming.ts).
      const isEmpty = state.data === undefined || !item.hasBody;
      if (!keeps && isEmpty && this.#job === 'compare' && revives(existing, state)) return;
      const isMany = existing === undefined && this.#puller.waiting >= MANY;
      if (!keeps || isMany || !mustWait(existing, state)) await device.write(request);
      else if (this.#job === 'rejoin') await this.#joinWhole(peer, device, request, existing);
      else {
        const incoming = { path, state, unlisted };
        this.#puller.enqueue({ device: device.id, ...key, sources: [peer], incoming });
        return;
      }
    }
    const entry = device.stat(key);
    if (entry !== undefined && keeps && isBodiless(entry)) {
      this.#puller.enqueue({ device: device.id, ...key });
    }
  }

  /** Over something older with its body, if the peer gives it at once; else the state alone. */
  async #joinWhole(
    peer: Target,
    device: Device,
    request: WriteRequest,
    existing: Entry | undefined,
  ): Promise<void> {
    const { key } = request;
    const state = join(existing?.state ?? EMPTY_STATE, request.state);
    const isAtOnce = existing !== undefined && bodyLength(state) <= DEFAULT_INLINE_LIMIT;
    const body = isAtOnce ? await this.#puller.bring(device, key, state.data!, [peer]) : undefined;
    await device.write(body === undefined ? request : { ...request, state, body });
  }
}

/** What is mostly missing here anyway (a refill) is sent as a whole, too. */
const TO_FETCH = {
  isWanted: ({ theirs }: RangeComparison) => theirs.total > 0,
  isOpened,
};

function isOpened(comparison: Pick<RangeComparison, 'range' | 'own' | 'theirs'>): boolean {
  return isSmall(comparison) || comparison.own.total * 2 < comparison.theirs.total;
}

/** Most of a range that differs is equal: what is the same byte by byte costs no record. */
function isKnown(state: EntryState | undefined, encoded: Uint8Array): boolean {
  return state !== undefined && encodeState(state).equals(encoded);
}
