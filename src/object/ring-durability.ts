/**
 * Counts the objects of one ring by their good copies, exactly: ranges in which every replica that answers
 * holds the same, with every body, are counted as a whole; others are split, and opened where they are
 * small. A copy is good when it is of the newest state that anybody knows, and its body is there and not
 * known to be damaged. A stand-in's copy is as good as a primary's, so ranges with such ones are opened.
 */
import { microsOf, parseTimestamp } from '#base/timestamp.ts';
import type { StoragePolicy } from '#ring/cluster.ts';
import { type BucketRange, bucketsOf } from '#ring/own-partitions.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import type { DurabilityCount } from './durability-report.ts';
import { BUCKETS } from './exchange.ts';
import type { HoldingDigest, HoldingState } from './holdings.ts';
import type { HoldingsReader } from './holdings-reader.ts';
import { isSameData, newestVersion } from './version.ts';

/** Entries of a range that are cheaper to look at than to compare further. */
const SMALL_RANGE = 1_000;
const PARTS = 64;
/** Copies on stand-ins that are looked at one by one; more of them are only counted. */
const MAX_STAND_INS = 500_000;

interface Member {
  readonly device: RingDevice;
  /** It keeps bodies. */
  readonly holds: boolean;
  /** Undefined: it is silent. */
  readonly digest: HoldingDigest | undefined;
}

interface Held {
  readonly device: RingDevice;
  readonly state: HoldingState;
  readonly holds: boolean;
}

interface Range {
  readonly buckets: BucketRange;
  readonly members: readonly Member[];
}

export interface RingDurabilityParts {
  readonly reader: HoldingsReader;
  readonly count: DurabilityCount;
  readonly ring: Ring;
  readonly policy: StoragePolicy;
  /** Younger objects are still being written. */
  readonly notAfterMicros: number;
  /** Live entries of a partition when somebody last answered for it, by its first bucket. */
  readonly remembered: Map<number, number>;
}

export class RingDurability {
  readonly #parts: RingDurabilityParts;
  /** Copies outside their partitions, by bucket. */
  readonly #standIns = new Map<number, Held[]>();
  #standInBuckets: number[] = [];
  #areStandInsKnown = true;
  /** Partitions of which nobody answers and nothing is known. */
  unknownPartitions = 0;
  /** Too young to be counted. */
  young = 0;

  constructor(parts: RingDurabilityParts) {
    this.#parts = parts;
  }

  async run(): Promise<void> {
    const { ring, count, remembered } = this.#parts;
    const ranges = await this.#partitions();
    for (const range of ranges) {
      const before = count.objects.total;
      if (range.members.some(({ digest }) => digest !== undefined)) await this.#count(range);
      else await this.#open(range);
      const counted = count.objects.total - before;
      if (this.#isAll(range)) remembered.set(range.buckets.from, counted);
      else this.#addUnreachable(range, counted);
    }
    count.policy(this.#parts.policy.name);
    for (const device of ring.devices) if (device !== undefined) count.site(device.site);
  }

  /** What every device holds in its partitions; what it holds outside of them goes to the stand-ins. */
  async #partitions(): Promise<Range[]> {
    const { ring } = this.#parts;
    const digests = new Map<string, HoldingDigest>();
    const sets = Array.from({ length: ring.partitions }, (_, p) => membersOf(ring, p));
    await Promise.all(
      ring.devices.map(async (device) => {
        if (device === undefined) return;
        const own = sets.flatMap((set, p) => (set.has(device.id) ? [p] : []));
        await this.#askDevice(device, own, digests);
      }),
    );
    this.#standInBuckets = [...this.#standIns.keys()].sort((a, b) => a - b);
    return sets.map((set, partition) => ({
      buckets: bucketsOf(partition, ring.partPower),
      members: [...set.values()].map((member) => {
        return { ...member, digest: digests.get(`${member.device.id} ${partition}`) };
      }),
    }));
  }

  async #askDevice(
    device: RingDevice,
    own: readonly number[],
    digests: Map<string, HoldingDigest>,
  ): Promise<void> {
    const { reader, ring, count } = this.#parts;
    const ranges = own.map((partition) => bucketsOf(partition, ring.partPower));
    const outside = gaps(ranges);
    const found = await reader.digests(device.id, ring.policy, [...ranges, ...outside]);
    if (found === undefined) return;
    for (const [i, partition] of own.entries()) {
      digests.set(`${device.id} ${partition}`, found[i]!);
    }
    for (const [i, range] of outside.entries()) {
      const total = found[own.length + i]![1];
      if (total === 0) continue;
      count.handoffs += total;
      await this.#askStandIn(device, range);
    }
  }

  async #askStandIn(device: RingDevice, range: BucketRange): Promise<void> {
    const { reader, ring, count } = this.#parts;
    const isTooMany = count.handoffs > MAX_STAND_INS;
    const states = isTooMany ? undefined : await reader.states(device.id, ring.policy, range);
    if (states === undefined) this.#areStandInsKnown = false;
    for (const state of states ?? []) {
      const bucket = bucketOf(state[0]);
      const held = { device, state, holds: true };
      const list = this.#standIns.get(bucket);
      if (list === undefined) this.#standIns.set(bucket, [held]);
      else list.push(held);
    }
  }

  async #count(whole: Range): Promise<void> {
    const open = [whole];
    for (let range = open.pop(); range !== undefined; range = open.pop()) {
      const totals = range.members.map(({ digest }) => digest?.[1] ?? 0);
      const { from, to } = range.buckets;
      if (this.#isUniform(range)) this.#countWhole(range);
      else if (to - from === 1 || Math.max(...totals) <= SMALL_RANGE) await this.#open(range);
      else open.push(...(await this.#split(range)));
    }
  }

  #isUniform({ buckets, members }: Range): boolean {
    if (this.#standInsIn(buckets).length > 0) return false;
    const answers = members.flatMap(({ digest }) => (digest === undefined ? [] : [digest]));
    const [first] = answers;
    const isEqual = answers.every(([sum, total]) => {
      return total === first![1] && Buffer.compare(sum, first![0]) === 0;
    });
    return isEqual && members.every(({ holds, digest }) => !holds || (digest?.[3] ?? 0) === 0);
  }

  #countWhole({ members }: Range): void {
    const { count, policy, ring } = this.#parts;
    const live = members.find(({ digest }) => digest !== undefined)?.digest?.[2] ?? 0;
    const holders = members.filter(({ holds }) => holds);
    const good = holders.filter(({ digest }) => digest !== undefined);
    const missing = holders.filter(({ digest }) => digest === undefined);
    count.add(policy.name, ring.copies, live, {
      good: good.map(({ device }) => device.site),
      missing: missing.map(({ device }) => device.site),
      silent: missing.length,
    });
  }

  /** Whether somebody who knows everything has answered to the end, or everybody has. */
  #isAll({ members }: Range): boolean {
    const { reader, ring } = this.#parts;
    const answered = members.filter(({ device, digest }) => {
      return digest !== undefined && reader.answers(device.id);
    });
    if (answered.length === members.length) return true;
    return answered.some(({ device }) => reader.isComplete(device.id, ring.policy));
  }

  /** As many as there were, but for those that were found. */
  #addUnreachable(range: Range, found: number): void {
    const { count, policy, ring, remembered } = this.#parts;
    const known = remembered.get(range.buckets.from);
    if (known === undefined) this.unknownPartitions++;
    const rest = Math.max(0, (known ?? 0) - found);
    const holders = range.members.filter(({ holds }) => holds);
    const missing = holders.map(({ device }) => device.site);
    count.add(policy.name, ring.copies, rest, { good: [], missing, silent: holders.length });
  }

  async #split({ buckets: { from, to }, members }: Range): Promise<Range[]> {
    const { reader, ring } = this.#parts;
    const parts = Math.min(PARTS, to - from);
    const bound = (i: number): number => from + Math.floor(((to - from) * i) / parts);
    const ranges = Array.from({ length: parts }, (_, i) => ({ from: bound(i), to: bound(i + 1) }));
    const answers = await Promise.all(
      members.map(({ device, digest }) =>
        digest === undefined ? undefined : reader.digests(device.id, ring.policy, ranges),
      ),
    );
    return ranges.map((buckets, i) => ({
      buckets,
      members: members.map((member, m) => ({ ...member, digest: answers[m]?.[i] })),
    }));
  }

  /** Looks at every key of a range. */
  async #open({ buckets, members }: Range): Promise<void> {
    const { reader, ring } = this.#parts;
    const byKey = new Map<string, Held[]>();
    const add = (held: Held): void => {
      const key = Buffer.from(held.state[0]).toString('latin1');
      const list = byKey.get(key);
      if (list === undefined) byKey.set(key, [held]);
      else list.push(held);
    };
    await Promise.all(
      members.map(async ({ device, holds, digest }) => {
        const states = digest && (await reader.states(device.id, ring.policy, buckets));
        for (const state of states ?? []) add({ device, state, holds });
      }),
    );
    for (const held of this.#standInsIn(buckets)) add(held);
    const unseen = this.#unseen();
    for (const held of byKey.values()) this.#countKey(held, members, unseen);
  }

  /** Devices that were not looked through: any may stand in with a good copy. */
  #unseen(): number {
    const { reader, ring } = this.#parts;
    const silent = ring.devices.filter(
      (device) => device !== undefined && !reader.answers(device.id),
    );
    return silent.length + (this.#areStandInsKnown ? 0 : 1);
  }

  #countKey(held: readonly Held[], members: readonly Member[], silent: number): void {
    const { count, policy, ring, notAfterMicros } = this.#parts;
    const newest = newestVersion(held.map(({ state }) => state[1]));
    const current = held.filter(({ state }) => isSameData(state[1], newest));
    if (!current.some(({ state }) => state[2])) return;
    if (ageLimit(newest) > notAfterMicros) {
      this.young++;
      return;
    }
    const withBody = current.filter(({ holds, state }) => holds && state[3]);
    const exact = withBody.filter(({ state }) => state[1] === newest);
    // Each has a part of the newest metadata: together they have the object once.
    const good = exact.length > 0 ? exact : withBody.slice(0, 1);
    const has = new Set(good.map(({ device }) => device.id));
    const missing = members.filter(({ holds, device }) => holds && !has.has(device.id));
    const target = Math.max(0, ...current.map(({ state }) => state[4])) || ring.copies;
    count.add(policy.name, target, 1, {
      good: good.map(({ device }) => device.site),
      missing: missing.map(({ device }) => device.site),
      silent,
    });
  }

  #standInsIn({ from, to }: BucketRange): Held[] {
    let low = 0;
    let high = this.#standInBuckets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#standInBuckets[middle]! < from) low = middle + 1;
      else high = middle;
    }
    const found: Held[] = [];
    for (let i = low; i < this.#standInBuckets.length && this.#standInBuckets[i]! < to; i++) {
      found.push(...this.#standIns.get(this.#standInBuckets[i]!)!);
    }
    return found;
  }
}

/** Replicas of a partition, in both sets while it is joint; the first `copies` of each keep bodies. */
function membersOf(ring: Ring, partition: number): Map<number, Omit<Member, 'digest'>> {
  const { primaries, former = [] } = ring.placement(partition);
  const members = new Map<number, Omit<Member, 'digest'>>();
  for (const set of [primaries, former]) {
    for (const [i, device] of set.entries()) {
      const holds = i < ring.copies || members.get(device.id)?.holds === true;
      members.set(device.id, { device, holds });
    }
  }
  return members;
}

/** What of the hash space is in none of the ranges, which ascend. */
function gaps(ranges: readonly BucketRange[]): BucketRange[] {
  const found: BucketRange[] = [];
  let reached = 0;
  for (const { from, to } of ranges) {
    if (from > reached) found.push({ from: reached, to: from });
    reached = Math.max(reached, to);
  }
  if (reached < BUCKETS) found.push({ from: reached, to: BUCKETS });
  return found;
}

function bucketOf(hash: Buffer): number {
  return Buffer.from(hash).readUInt32BE(0) >>> 12;
}

/** Microseconds of the newest timestamp in a version. */
function ageLimit(version: string): number {
  const times = version.match(/(?<=^|:)[0-9a-f]{20}/g) ?? [];
  return Math.max(0, ...times.map((text) => microsOf(parseTimestamp(text))));
}
