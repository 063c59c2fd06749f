/**
 * Makes a device complete again for the row partitions it is a primary of (consistency.md, "Complete"):
 * every acknowledged row is on W of N, so the rows of N-W+1 other complete primaries together have it.
 *
 * A step takes some partitions that are not complete, compares digests with the other primaries, and
 * pulls the containers that differ. The ranges are marked when enough complete peers were joined.
 *
 * A device that is complete compares partitions with those other primaries with which it is known not
 * to agree, so that replicas converge without being listed (which differences: worker/differences.ts).
 * When all that a peer had at the begin of a walk was taken in, that is told: reclaim rests on it.
 */
import { codeOf } from '#base/errors.ts';
import { EarlyLearning } from '#ring/early-learning.ts';
import type { Fence } from '#ring/fence.ts';
import { fenceOff, isBehindFence } from '#ring/fencing.ts';
import { markKnown, unknownPartitions } from '#ring/knowledge.ts';
import { byPeer, ownPartitions, type OwnPartition as Part } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import { Differences } from '#worker/differences.ts';
import { type Job, noRest, type Rest, type StepResult } from '#worker/job.ts';
import { Turns } from '#worker/turns.ts';
import { BUCKET_BITS, firstHash, nextHash } from '../summary.ts';
import type { RowTarget } from './calls.ts';
import type { RowContext, RowDevice } from './context.ts';
import type { Freshness } from './freshness.ts';
import { isUsable } from './keeper.ts';
import { parseContainersReply, parseDigestsReply } from './replies.ts';

const PARTITIONS_PER_STEP = 64;
const PAGE = 500;
const IDLE_MS = 10_000;
const RETRY_MS = 2_000;
const DEADLINE_MS = 5_000;
const FENCE_GRACE_MS = 3_000;
const BUCKETS = 2 ** BUCKET_BITS;
const NOBODY: ReadonlySet<number> = new Set();

interface Walk {
  readonly startedAtMs: number;
  /** Something that the peer has more was left for later. */
  left: boolean;
}

export class RowRejoin implements Job {
  readonly name: string;
  readonly #context: RowContext;
  readonly #freshness: Freshness;
  readonly #seenAtMs = new WeakMap<Ring, number>();
  readonly #turns = new Turns<Part>();
  readonly #early: EarlyLearning;
  readonly #compared = new Map<number, { readonly ring: Ring; readonly next: number }>();
  /** By device, peer and range. */
  readonly #differences: Differences;
  /** Walks over all partitions under way, by device and peer. */
  readonly #walks = new Map<string, Walk>();
  /** Devices that an operator has told to make do with what is left, until nothing is missing. */
  readonly #accepted = new Set<number>();
  /** Of the step under way. */
  #rest: Rest = noRest;
  #joined = 0;
  #missing = 0;
  #pulled = 0;

  constructor(context: RowContext, freshness: Freshness) {
    this.name = `${context.prefix}.rejoin`;
    this.#context = context;
    this.#freshness = freshness;
    this.#early = new EarlyLearning(context.options.env.clock);
    this.#differences = new Differences(() => context.options.env.clock.monotonicMs());
  }

  facts(): Record<string, number> {
    return {
      joined: this.#joined,
      incompletePartitions: this.#missing,
      containersPulled: this.#pulled,
    };
  }

  async step(signal: AbortSignal, rest = noRest): Promise<StepResult> {
    this.#rest = rest;
    const ring = this.#context.currentRing();
    if (ring === undefined) return { kind: 'idle', waitMs: RETRY_MS };
    let progress = 0;
    let missing = 0;
    let wrapped = true;
    for (const target of this.#context.options.devices().values()) {
      // Whose last batch is in doubt is complete for nothing until that is confirmed, rows and all (object/tail.ts).
      if (!isUsable(target) || target.device.completeness.tailUnconfirmed || signal.aborted)
        continue;
      const parts = ownPartitions(ring, target.device.id);
      const incomplete = unknownPartitions(target.device, ring);
      missing += incomplete.length;
      if (incomplete.length === 0) this.#accepted.delete(target.device.id);
      const open = incomplete.filter((part) => !this.#isTooEarly(ring, part));
      const due = this.#early.due(target.device, open);
      if (due.length > 0)
        progress += await this.#rejoin(target, ring, this.#turns.take(due, PARTITIONS_PER_STEP));
      else if (open.length === 0)
        wrapped = (await this.#compareNext(target, ring, parts)) && wrapped;
    }
    this.#missing = missing - progress;
    if (progress > 0 || (missing === 0 && !wrapped)) return { kind: 'more' };
    if (this.#missing === 0) return { kind: 'idle', waitMs: IDLE_MS };
    const devices = [...this.#context.options.devices().values()].map(({ device }) => device);
    return { kind: 'idle', waitMs: this.#early.waitMs(devices, RETRY_MS) };
  }

  /** As for objects: complete with what those know who answer. */
  acceptLoss(device: number): void {
    this.#accepted.add(device);
  }

  /** Share of a device's partitions that it is complete for; 1 where it has none. */
  completeShare(target: RowDevice): number {
    const ring = this.#context.currentRing();
    const own = ring === undefined ? 0 : ownPartitions(ring, target.device.id).length;
    if (ring === undefined || own === 0) return 1;
    return 1 - unknownPartitions(target.device, ring).length / own;
  }

  /** How many of the partitions became complete, or wait for nothing but the time from which that counts. */
  async #rejoin(target: RowDevice, ring: Ring, parts: readonly Part[]): Promise<number> {
    const isEarly = this.#early.isEarly(target.device);
    const counts = await this.#joinPeers(target, ring, parts, true);
    const makesDo = (part: Part): boolean =>
      part.learnsAt === undefined && this.#accepted.has(target.device.id);
    const done = parts.filter((part) => (counts.get(part) ?? 0) >= part.needed || makesDo(part));
    if (isEarly) {
      this.#early.note(target.device, done);
      return done.length;
    }
    await markKnown(target.device, this.#context.ring, done);
    const complete = done.length;
    this.#joined += complete;
    const facts = { device: target.device.id, partitions: complete };
    if (complete > 0) this.#context.options.env.log.info(`${this.#context.prefix}.rejoined`, facts);
    return complete;
  }

  /** Compares the next partitions with all peers; true when all have had their turn. */
  async #compareNext(target: RowDevice, ring: Ring, parts: readonly Part[]): Promise<boolean> {
    if (![...byPeer(parts).keys()].some((peer) => this.#differs(target, peer))) return true;
    const last = this.#compared.get(target.device.id);
    const start = last?.ring === ring ? last.next : 0;
    if (start === 0) this.#beginWalks(target, parts);
    const batch = parts.slice(start, start + PARTITIONS_PER_STEP);
    if (batch.length > 0) await this.#joinPeers(target, ring, batch, false);
    const next = start + PARTITIONS_PER_STEP;
    const isOver = next >= parts.length;
    this.#compared.set(target.device.id, { ring, next: isOver ? 0 : next });
    if (isOver) this.#endWalks(target, parts);
    return isOver;
  }

  #beginWalks(target: RowDevice, parts: readonly Part[]): void {
    const startedAtMs = this.#context.options.env.clock.monotonicMs();
    for (const peer of byPeer(parts).keys()) {
      // One that is not compared, because it does not differ, has nothing to be taken in.
      this.#walks.set(walkOf(target, peer), { startedAtMs, left: !this.#differs(target, peer) });
    }
  }

  #endWalks(target: RowDevice, parts: readonly Part[]): void {
    const { options, ring } = this.#context;
    for (const peer of byPeer(parts).keys()) {
      const walk = this.#walks.get(walkOf(target, peer));
      this.#walks.delete(walkOf(target, peer));
      if (walk?.left === false)
        options.tookIn?.(ring, target.device.id, peer.device, walk.startedAtMs);
    }
  }

  /**
   * Joins what peers have more; how many complete ones were joined, per partition.
   * `rejoining`: at once, and from no more peers than needed.
   */
  async #joinPeers(
    target: RowDevice,
    ring: Ring,
    parts: readonly Part[],
    rejoining: boolean,
  ): Promise<Map<Part, number>> {
    const counts = new Map<Part, number>();
    const fenced = rejoining ? await this.#fenceOff(parts) : NOBODY;
    for (const [peer, theirs] of byPeer(parts)) {
      if (!rejoining && !this.#differs(target, peer)) continue;
      const isEnough = (part: Part): boolean => (counts.get(part) ?? 0) >= part.needed;
      const makesDo = this.#accepted.has(target.device.id);
      const mayLearn = ({ learnsAt }: Part): boolean =>
        learnsAt === undefined || fenced.has(peer.device);
      const wanted = theirs.filter(
        (part) => !rejoining || (mayLearn(part) && (makesDo || !isEnough(part))),
      );
      try {
        for (const part of await this.#joinFrom(target, peer, ring, wanted, rejoining)) {
          counts.set(part, (counts.get(part) ?? 0) + 1);
        }
      } catch (error) {
        this.#leave(target, peer);
        const facts = { peer: peer.node, error: codeOf(error) };
        this.#context.options.env.log.debug(`${this.#context.prefix}.rejoin-peer`, facts);
      }
    }
    return counts;
  }

  /** Whether anything says that the two do not agree: where nobody compares them, they are compared here. */
  #differs(target: RowDevice, peer: RowTarget): boolean {
    const { ring, options } = this.#context;
    return options.differs?.(ring, target.device.id, peer.device) ?? true;
  }

  /** The partitions that the peer is complete for. */
  async #joinFrom(
    target: RowDevice,
    peer: RowTarget,
    ring: Ring,
    parts: readonly Part[],
    rejoining: boolean,
  ): Promise<Part[]> {
    if (parts.length === 0) return [];
    const ranges = parts.map(({ buckets: { from, to } }) => [from, to] as const);
    const args = { ringVersion: ring.version, ranges };
    const reply = parseDigestsReply(
      await this.#context.call(peer, 'digests', args, this.#callOptions()),
    );
    const done: Part[] = [];
    for (const [i, part] of parts.entries()) {
      const theirs = reply.ranges[i];
      if (theirs === undefined) break;
      const { from, to } = part.buckets;
      const own = target.rows.summarise(this.#context.ring, from, to, 1)[0]!;
      const isEqual = own.total === theirs.total && own.sum.equals(theirs.sum);
      const form = `${own.sum.toString('hex')} ${theirs.sum.toString('hex')}`;
      const key = `${target.device.id} ${peer.device} ${from}`;
      if (isEqual || theirs.total === 0) this.#differences.clear(key);
      else await this.#open(target, peer, ring, part, { key, form, rejoining });
      if (theirs.complete && (!rejoining || isBehindFence(part, theirs.fence))) done.push(part);
    }
    if (reply.ranges.length < parts.length) this.#leave(target, peer);
    return done;
  }

  async #open(
    target: RowDevice,
    peer: RowTarget,
    ring: Ring,
    part: Part,
    { key, form, rejoining }: { key: string; form: string; rejoining: boolean },
  ): Promise<void> {
    const judgement = rejoining ? 'open' : this.#differences.judge(key, form);
    if (judgement === 'wait') this.#leave(target, peer);
    if (judgement !== 'open') return;
    await this.#pullRange(target, peer, ring, part);
    this.#differences.opened(key, form);
  }

  /** Not all that the peer has was taken in. */
  #leave(target: RowDevice, peer: RowTarget): void {
    const walk = this.#walks.get(walkOf(target, peer));
    if (walk !== undefined) walk.left = true;
  }

  async #pullRange(target: RowDevice, peer: RowTarget, ring: Ring, part: Part): Promise<void> {
    const { buckets } = part;
    const to = buckets.to === BUCKETS ? null : firstHash(buckets.to);
    let from = firstHash(buckets.from);
    for (;;) {
      const args = { ringVersion: ring.version, from, to, limit: PAGE };
      const page = parseContainersReply(
        await this.#context.call(peer, 'containers', args, this.#callOptions()),
      );
      for (const { hash, path, digest } of page.containers) {
        const own = target.rows.facts(this.#context.ring, hash);
        if (own?.digest.equals(digest)) continue;
        this.#context.checkPath(path, hash);
        const wish = { hash, path, txn: this.name, rest: this.#rest };
        await this.#freshness.pullFrom(target, peer, wish, ring.version);
        this.#pulled++;
      }
      const last = page.containers.at(-1);
      const next = last && nextHash(last.hash);
      if (!page.more || next === undefined) return;
      from = next;
    }
  }

  #callOptions() {
    return { txn: this.name, deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
  }

  /** As for objects: rings reach the processes one after another. */
  #isTooEarly(ring: Ring, { learnsAt }: Part): boolean {
    if (learnsAt === undefined) return false;
    const nowMs = this.#context.options.env.clock.monotonicMs();
    const sinceMs = this.#seenAtMs.get(ring) ?? nowMs;
    this.#seenAtMs.set(ring, sinceMs);
    return nowMs - sinceMs < FENCE_GRACE_MS;
  }

  #fenceOff(parts: readonly Part[]): Promise<ReadonlySet<number>> {
    const { log } = this.#context.options.env;
    return fenceOff(
      parts,
      (peer, fences) => this.#fence(peer, fences),
      (peer, error) =>
        log.debug(`${this.#context.prefix}.fence-peer`, { peer: peer.node, error: codeOf(error) }),
    );
  }

  async #fence(peer: RowTarget, fences: readonly Fence[]): Promise<void> {
    const args = { policy: this.#context.ring, fences };
    const { txn, deadlineMs } = this.#callOptions();
    await this.#context.call(peer, 'fence', args, { txn, deadlineMs });
  }
}

function walkOf({ device }: RowDevice, peer: RowTarget): string {
  return `${device.id} ${peer.device}`;
}
