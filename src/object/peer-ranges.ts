/**
 * How what a device has of ranges of hash buckets compares with what a peer has: digests of ranges first;
 * large ranges that differ are compared again in parts, so that one missing entry among a million costs a
 * few digests and one bucket; then pages of states.
 */
import type { Device } from '#device/contract.ts';
import { coverageOf } from '#ring/coverage.ts';
import type { BucketRange } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
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

/** A range of buckets, here and at a peer. */
export interface RangeComparison {
  readonly range: BucketRange;
  readonly own: RangeDigest;
  readonly theirs: RangeDigest;
  readonly equal: boolean;
}

/** Entries of a range that are cheaper to send than to compare further. */
const SMALL_RANGE = 64;
const PARTS = 64;
const PAGE = 256;
const DEADLINE_MS = 10_000;

export class PeerRanges {
  readonly #caller: Caller;
  readonly #txn: string;

  constructor(caller: Caller, txn: string) {
    this.#caller = caller;
    this.#txn = txn;
  }

  /** @throws WireError */
  async compare(
    peer: Target,
    device: Device,
    ring: Ring,
    ranges: readonly BucketRange[],
  ): Promise<RangeComparison[]> {
    const { policy, version: ringVersion } = ring;
    const pairs = ranges.map(({ from, to }) => [from, to] as const);
    const args: DigestsArgs = { device: peer.device, policy, ringVersion, ranges: pairs };
    const reply = (await this.#call(peer, 'object.digests', args)) as DigestsReply;
    const complete = coverageOf(device.completeness.ranges(policy));
    return ranges.map((range, i) => {
      const theirs = reply.ranges[i]!;
      const own = rangeDigest(device, policy, range.from, range.to, complete);
      const equal = Buffer.from(theirs.sum).equals(own.sum) && theirs.total === own.total;
      return { range, own, theirs, equal };
    });
  }

  /** The parts of a range that differ and are to be opened; those of no interest to `isWanted` are left out. */
  async *differing(
    peer: Target,
    device: Device,
    ring: Ring,
    whole: RangeComparison,
    { isWanted, isOpened }: Interest,
  ): AsyncGenerator<RangeComparison> {
    const open = [whole];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (next.equal || !isWanted(next)) continue;
      if (isOpened(next)) yield next;
      else open.push(...(await this.compare(peer, device, ring, split(next.range))));
    }
  }

  /** States of ranges that ascend. @throws WireError */
  async *pages(
    peer: Target,
    { policy, version: ringVersion }: Ring,
    ranges: readonly BucketRange[],
  ): AsyncGenerator<readonly StateItem[]> {
    const common = { device: peer.device, policy, ringVersion, to: null, limit: PAGE };
    const pairs = ranges.map(({ from, to }) => [from, to] as const);
    let from = bucketHash(ranges[0]!.from);
    while (from !== null) {
      const args: StatesArgs = { ...common, from, ranges: pairs };
      const page = (await this.#call(peer, 'object.states', args)) as StatesReply;
      yield page.entries;
      from = page.next === null ? null : Buffer.from(page.next);
    }
  }

  async #call(peer: Target, method: string, args: unknown): Promise<unknown> {
    const options = { txn: this.#txn, deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    return (await this.#caller.call(peer.node, method, args, options)).result;
  }
}

export interface Interest {
  readonly isWanted: (comparison: RangeComparison) => boolean;
  /** To be sent as a whole; else it is split. */
  readonly isOpened: (comparison: RangeComparison) => boolean;
}

/** What is small at the peer, or can't be split. */
export function isSmall({ range, theirs }: Pick<RangeComparison, 'range' | 'theirs'>): boolean {
  return theirs.total <= SMALL_RANGE || range.to - range.from === 1;
}

function split({ from, to }: BucketRange): BucketRange[] {
  const parts = Math.min(PARTS, to - from);
  const bound = (i: number): number => from + Math.floor(((to - from) * i) / parts);
  return Array.from({ length: parts }, (_, i) => ({ from: bound(i), to: bound(i + 1) }));
}
