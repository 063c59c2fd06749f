/**
 * Recall: what a device has forgotten, it must not know again. An index that was lost is made anew from the
 * log, and where a part of the log can't be read, what stood in it is not forgotten any more: versions that
 * were handed over, or whose deletion everybody has reclaimed. Nobody would contradict them: they would be
 * read, and spread. So such a device is kept from service, and from its peers, until it has asked them.
 *
 * For every partition of which it holds anything, it compares itself with N-W+1 complete primaries. Every
 * acknowledged write is on W, so one of these has it: what none of them knows, was forgotten (or never
 * acknowledged), and is forgotten again. What stand-ins alone were told, others of them hold until all primaries have
 * it. What one of them knows as dead, dies here in the same turn, or they might reclaim it before it is joined.
 *
 * Where too few complete primaries are left, an operator decides (`acceptLoss`): then all of it is believed.
 * (consistency.md has damaged replicas serve: those whose index is whole do.)
 */
import { isDead, join } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Entry } from '#device/contract.ts';
import type { LogDevice } from '#device/log-device.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { type OwnPartition, ownPartition } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { StateItem, Target } from './calls.ts';
import { bucketHash } from './exchange.ts';
import { isSmall, PeerRanges, type RangeComparison } from './peer-ranges.ts';
import { byPeer } from './peer-states.ts';

/** The devices that are kept from service. */
export interface Kept {
  readonly devices: () => ReadonlyMap<number, LogDevice>;
  /** Into service. */
  readonly admit: (device: number) => void;
}

/** What of a partition nobody has known so far, by hash. */
interface Asked {
  complete: number;
  alone: Map<string, Entry> | undefined;
}

const BATCH = 64;
const PAGE = 1_000;
const AT_ONCE = 64;
const RETRY_MS = 2_000;
const IDLE_MS = 60_000;
/** Ranges that differ, down to what is small; those of which nothing is here are of no interest. */
const HELD = { isWanted: ({ own }: RangeComparison) => own.total > 0, isOpened: isSmall };

export class Recall implements Job {
  readonly name = 'object.recall';
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #ranges: PeerRanges;
  readonly #kept: Kept;
  /** Partitions that are still to be asked for. */
  readonly #left = new WeakMap<LogDevice, Map<Ring, readonly OwnPartition[]>>();
  readonly #accepted = new Set<number>();
  #forgotten = 0;

  constructor(env: Env, caller: Caller, cluster: ClusterSource, kept: Kept) {
    this.#env = env;
    this.#cluster = cluster;
    this.#ranges = new PeerRanges(caller, 'recall');
    this.#kept = kept;
  }

  facts(): Record<string, number> {
    return { kept: this.#kept.devices().size, forgotten: this.#forgotten };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    for (const device of this.#kept.devices().values()) {
      let left = 0;
      for (const ring of this.#cluster.current().rings.values()) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        if (signal.aborted) return { kind: 'more' };
        left += await this.#recall(device, ring);
      }
      if (left === 0 || this.#accepted.delete(device.id)) await this.#admit(device);
    }
    return { kind: 'idle', waitMs: this.#kept.devices().size > 0 ? RETRY_MS : IDLE_MS };
  }

  /** For a person who knows that the silent ones stay silent. */
  acceptLoss(device: number): void {
    if (this.#kept.devices().has(device)) this.#accepted.add(device);
  }

  async #admit(device: LogDevice): Promise<void> {
    await device.fillHole();
    this.#env.log.warn('device.recalled', { device: device.id, forgotten: this.#forgotten });
    this.#kept.admit(device.id);
  }

  /** How many partitions of the ring are left. */
  async #recall(device: LogDevice, ring: Ring): Promise<number> {
    const byRing = this.#left.get(device) ?? new Map<Ring, readonly OwnPartition[]>();
    this.#left.set(device, byRing);
    const due = byRing.get(ring) ?? heldPartitions(device, ring);
    const left: OwnPartition[] = [];
    for (let i = 0; i < due.length; i += BATCH) {
      left.push(...(await this.#settle(device, ring, due.slice(i, i + BATCH))));
    }
    byRing.set(ring, left);
    return left.length;
  }

  /** Those of which too few complete primaries answered. */
  async #settle(
    device: LogDevice,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<OwnPartition[]> {
    const asked = new Map<OwnPartition, Asked>(
      partitions.map((partition) => [partition, { complete: 0, alone: undefined }]),
    );
    for (const [peer, theirs] of byPeer(partitions)) {
      const wanted = theirs.filter((one) => asked.get(one)!.complete < one.needed);
      try {
        await this.#ask(peer, device, ring, wanted, asked);
      } catch (error) {
        const facts = { device: device.id, peer: peer.node, error: codeOf(error) };
        this.#env.log.debug('object.recall-peer', facts);
      }
    }
    const isSettled = (one: OwnPartition): boolean => asked.get(one)!.complete >= one.needed;
    for (const partition of partitions.filter(isSettled)) {
      await this.#forget(device, [...(asked.get(partition)!.alone?.values() ?? [])]);
    }
    return partitions.filter((one) => !isSettled(one));
  }

  async #ask(
    peer: Target,
    device: LogDevice,
    ring: Ring,
    partitions: readonly OwnPartition[],
    asked: ReadonlyMap<OwnPartition, Asked>,
  ): Promise<void> {
    if (partitions.length === 0) return;
    const ranges = partitions.map(({ buckets }) => buckets);
    const compared = await this.#ranges.compare(peer, device, ring, ranges);
    for (const [i, partition] of partitions.entries()) {
      const whole = compared[i]!;
      if (!whole.theirs.complete) continue;
      const unknown = await this.#unknownTo(peer, device, ring, partition, whole);
      const of = asked.get(partition)!;
      const before = of.alone ?? unknown;
      of.alone = new Map([...before].filter(([hash]) => unknown.has(hash)));
      of.complete++;
    }
  }

  /** What is alive here, and of which the peer knows nothing. What it knows as dead, dies here. */
  async #unknownTo(
    peer: Target,
    device: LogDevice,
    ring: Ring,
    { partition }: OwnPartition,
    whole: RangeComparison,
  ): Promise<Map<string, Entry>> {
    const unknown = new Map<string, Entry>();
    for await (const { range, theirs } of this.#ranges.differing(peer, device, ring, whole, HELD)) {
      for (const entry of entriesIn(device, ring, range)) {
        const isOurs = ring.partitionOf(entry.key.hash) === partition;
        if (isOurs && !isDead(entry.state)) unknown.set(entry.key.hash.toString('hex'), entry);
      }
      if (theirs.total === 0) continue;
      for await (const items of this.#ranges.pages(peer, ring, [range])) {
        for (const item of items) {
          unknown.delete(Buffer.from(item.hash).toString('hex'));
          await bury(device, ring, item);
        }
      }
    }
    return unknown;
  }

  async #forget(device: LogDevice, entries: readonly Entry[]): Promise<void> {
    for (let i = 0; i < entries.length; i += AT_ONCE) {
      const some = entries.slice(i, i + AT_ONCE);
      await Promise.all(some.map((entry) => device.forgetAgain(entry)));
    }
    this.#forgotten += entries.length;
  }
}

async function bury(device: LogDevice, { policy }: Ring, item: StateItem): Promise<void> {
  const key = { policy, hash: Buffer.from(item.hash) };
  const existing = device.stat(key);
  if (existing === undefined || isDead(existing.state)) return;
  const state = join(existing.state, decodeState(item.state));
  if (!isDead(state)) return;
  const unlisted = existing.unlisted || item.unlisted;
  await device.write({ key, path: item.path, state, unlisted, intent: 'join' });
}

function* entriesIn(
  device: LogDevice,
  { policy }: Ring,
  { from, to }: RangeComparison['range'],
): Generator<Entry> {
  const end = bucketHash(to) ?? undefined;
  let start: Buffer | undefined = bucketHash(from)!;
  while (start !== undefined) {
    const page: Entry[] = device.entries(policy, start, end, PAGE + 1);
    yield* page.slice(0, PAGE);
    start = page[PAGE]?.key.hash;
  }
}

/** All of which it holds anything, its own or not. */
function heldPartitions(device: LogDevice, ring: Ring): OwnPartition[] {
  return Array.from({ length: ring.partitions }, (_, partition) =>
    ownPartition(ring, partition, device.id),
  ).filter(({ buckets: { from, to } }) => {
    return device.digests.summarise(ring.policy, from, to, 1)[0]!.total > 0;
  });
}
