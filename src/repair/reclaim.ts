/**
 * Reclaim: forgets tombstones and expired versions that nothing can contradict any more (consistency.md,
 * "Reclaim"): this device stored them `reclaimAge` ago, and every device of the ring has swept since.
 * Forgetting is a record in the log like a handoff's; compaction drops both under its own rule.
 *
 * An expired version goes by the very same rule. Until then it hides what is older, and a POST that moved
 * its expiry finds it. Every device has swept since it was freed here: all have joined it, and none had
 * such a POST, or it would be alive here too (`isDead`).
 *
 * By the moment it was stored here, never by the tombstone's own timestamp: one that was eight days on
 * a node that was away has been here for a minute, and what it deletes may still be anywhere.
 */
import { isDead } from '#base/entry.ts';
import { ACCOUNT_RING, CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import type { Device, Entry } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import { bucketHash } from '#object/exchange.ts';
import type { PeerBoard } from '#object/peer-board.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { type BucketRange, ownPartitions } from '#ring/own-partitions.ts';
import type { RepairLimits } from '#ring/repair-limits.ts';
import type { Ring } from '#ring/ring.ts';
import type { RowStore } from '#rows/row-store.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { RowReclaim } from './row-reclaim.ts';
import type { Sweeps } from './sweeps.ts';

export interface ReclaimParts {
  readonly env: Env;
  readonly cluster: ClusterSource;
  readonly devices: () => ReadonlyMap<number, { readonly device: Device; readonly rows: RowStore }>;
  readonly sweeps: Sweeps;
  readonly board: PeerBoard;
  readonly limits: () => RepairLimits;
}

/** Clocks may be set back by so much (the drift limit); a moment of sweeping counts only when later by it. */
const MARGIN_MS = 6 * 3_600_000;
const DAY_MS = 86_400_000;
const LOOK_MS = 30_000;
const MIN_PAUSE_MS = 1_000;
/** Partitions looked through in one step, and entries forgotten at once. */
const PARTITIONS = 64;
const AT_ONCE = 64;
const PAGE = 1_000;

export class Reclaim implements Job {
  readonly name = 'repair.reclaim';
  readonly #parts: ReclaimParts;
  /** Where the pass goes on, by device and ring: an index into the device's partitions. */
  readonly #next = new Map<string, number>();
  /** The moment up to which the last pass reclaimed, by device and ring. */
  readonly #reached = new Map<string, number>();
  readonly #rows = new RowReclaim();
  #forgotten = 0;
  #rowsForgotten = 0;
  #heldBack = 0;

  constructor(parts: ReclaimParts) {
    this.#parts = parts;
  }

  facts(): Record<string, number> {
    const [forgotten, rowsForgotten] = [this.#forgotten, this.#rowsForgotten];
    return { forgotten, rowsForgotten, devicesBehind: this.#heldBack };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const { cluster, devices, limits, board } = this.#parts;
    const ageMs = limits().reclaimAgeSeconds * 1000;
    const rings = [...cluster.current().rings.values()];
    const beforeMs = this.#before(rings, ageMs);
    if (beforeMs === undefined) return { kind: 'idle', waitMs: LOOK_MS };
    board.reclaimed(beforeMs);
    let more = false;
    for (const { device, rows } of devices().values()) {
      if (device.status !== 'ok') continue;
      const ofRows = await this.#rows.step(device, rows, rings, aligned(beforeMs, ageMs));
      this.#rowsForgotten += ofRows.forgotten;
      more = ofRows.more || more;
      for (const ring of rings) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        if (signal.aborted) return { kind: 'more' };
        more = (await this.#pass(device, ring, aligned(beforeMs, ageMs))) || more;
      }
    }
    if (more) return { kind: 'more' };
    return { kind: 'idle', waitMs: Math.min(LOOK_MS, pauseMs(ageMs)) };
  }

  /** What was stored before then may go; undefined: nothing. */
  #before(rings: readonly Ring[], ageMs: number): number | undefined {
    const { env, sweeps } = this.#parts;
    const oldMs = env.clock.wallMicros() / 1000 - ageMs;
    this.#heldBack = sweeps.behind(rings, oldMs).length;
    const sweptMs = sweeps.sweptMs(rings);
    if (sweptMs === undefined) return undefined;
    return Math.min(oldMs, sweptMs - Math.min(MARGIN_MS, ageMs));
  }

  /** True: the pass has not come to its end. */
  async #pass(device: Device, ring: Ring, beforeMs: number): Promise<boolean> {
    const partitions = ownPartitions(ring, device.id);
    const key = passOf(device, ring);
    if (beforeMs <= (this.#reached.get(key) ?? 0)) return false;
    const start = this.#next.get(key) ?? 0;
    for (const { buckets } of partitions.slice(start, start + PARTITIONS)) {
      await this.#forget(device, longDead(device, ring.policy, buckets, beforeMs));
    }
    const isOver = start + PARTITIONS >= partitions.length;
    this.#next.set(key, isOver ? 0 : start + PARTITIONS);
    if (isOver) this.#reached.set(key, beforeMs);
    return !isOver;
  }

  async #forget(device: Device, entries: Iterable<Entry>): Promise<void> {
    let some: Promise<boolean>[] = [];
    const settle = async (): Promise<void> => {
      this.#forgotten += (await Promise.all(some)).filter(Boolean).length;
      some = [];
    };
    for (const entry of entries) {
      some.push(device.forget(entry));
      if (some.length >= AT_ONCE) await settle();
    }
    await settle();
  }
}

function passOf({ id }: Device, { policy }: Ring): string {
  return `${id}/${policy}`;
}

/**
 * A pass reads all that is dead, so passes are rare. All devices reclaim up to the same moments, or
 * replicas would differ by what one of them has reclaimed and the other not yet.
 */
function aligned(beforeMs: number, ageMs: number): number {
  return beforeMs - (beforeMs % pauseMs(ageMs));
}

/** Between two passes. */
function pauseMs(ageMs: number): number {
  return Math.max(MIN_PAUSE_MS, Math.min(DAY_MS, ageMs) / 24);
}

/** The rows of deletions that nobody has listed yet stay: `forget` refuses them. */
function* longDead(
  device: Device,
  policy: PolicyIndex,
  { from, to }: BucketRange,
  beforeMs: number,
): Generator<Entry> {
  const [summary] = device.digests.summarise(policy, from, to, 1);
  if (summary === undefined || summary.total === summary.live) return;
  if (summary.total > PAGE && to - from > 1) {
    const middle = from + Math.floor((to - from) / 2);
    yield* longDead(device, policy, { from, to: middle }, beforeMs);
    yield* longDead(device, policy, { from: middle, to }, beforeMs);
    return;
  }
  const last = bucketHash(to) ?? undefined;
  for (const entry of device.entries(policy, bucketHash(from)!, last, 10 * PAGE)) {
    if (entry.storedMs < beforeMs && isDead(entry.state)) yield entry;
  }
}
