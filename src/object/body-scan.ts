/**
 * Looks for bodies that should be here and are not, where the digests say that there are some, and
 * gives them to the puller: the most degraded partitions first, so many entries a step. What nobody
 * could deliver is found again by a later round.
 */
import { ACCOUNT_RING, CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { type BucketRange, type OwnPartition, ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import { type Job, noRest, type Rest, type StepResult } from '#worker/job.ts';
import type { BodyPuller } from './body-puller.ts';
import { bucketHash } from './exchange.ts';
import type { Devices } from './guard.ts';
import { isBodiless } from './incoming.ts';
import type { PeerBoard } from './peer-board.ts';

const IDLE_MS = 30_000;
/** While bodies are being pulled; the puller wakes the job when it runs low. */
const BUSY_MS = 5_000;
/** No more are looked for while so many wait. */
const ENOUGH = 5_000;
/** Entries found in one step. */
const MAX_SCANNED = 1_000;
/** Entries read in one turn: a step was one, and held the node for 40 to 80 ms. */
const AT_ONCE = 64;
/** At most, of a bucket that has more. */
const PAGE = 1_000;

export class BodyScan implements Job {
  readonly name = 'object.bodies';
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #puller: BodyPuller;
  readonly #board: PeerBoard;
  /** By device and ring: the state of the digests in which nothing was missing. */
  readonly #whole = new Map<string, { device: Device; ring: Ring; changes: number }>();
  #missing = 0;

  constructor(cluster: ClusterSource, devices: Devices, puller: BodyPuller, board: PeerBoard) {
    this.#cluster = cluster;
    this.#devices = devices;
    this.#puller = puller;
    this.#board = board;
  }

  facts(): Record<string, number> {
    return { missing: this.#missing, ...this.#puller.facts() };
  }

  async step(signal: AbortSignal, rest = noRest): Promise<StepResult> {
    let found = 0;
    this.#missing = 0;
    for (const device of this.#devices().values()) {
      if (device.status !== 'ok') continue;
      for (const ring of this.#cluster.current().rings.values()) {
        if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) continue;
        if (signal.aborted) continue;
        found += await this.#scanDevice(device, ring, MAX_SCANNED - found, rest);
      }
    }
    const waitMs = this.#puller.waiting > 0 || found > 0 ? BUSY_MS : IDLE_MS;
    return { kind: 'idle', waitMs };
  }

  /** How many were given to the puller. */
  async #scanDevice(device: Device, ring: Ring, atMost: number, rest: Rest): Promise<number> {
    const key = `${device.id}/${ring.policy}`;
    const { changes } = device.digests;
    const whole = this.#whole.get(key);
    if (whole?.device === device && whole.ring === ring && whole.changes === changes) return 0;
    const lacking = this.#lacking(device, ring);
    if (lacking.length === 0) {
      this.#whole.set(key, { device, ring, changes });
      return 0;
    }
    let found = 0;
    for (const partition of this.#board.mostDegradedFirst(ring.policy, lacking)) {
      if (found >= atMost || this.#puller.waiting >= ENOUGH) break;
      found += await this.#scanPartition(device, ring, partition, rest);
    }
    return found;
  }

  /** Own partitions in which bodies are missing. */
  #lacking(device: Device, ring: Ring): OwnPartition[] {
    return ownPartitions(ring, device.id).filter(({ buckets, holdsBodies }) => {
      if (!holdsBodies) return false;
      const [summary] = device.digests.summarise(ring.policy, buckets.from, buckets.to, 1);
      const bodiless = summary?.bodiless ?? 0;
      this.#missing += bodiless;
      return bodiless > 0;
    });
  }

  async #scanPartition(
    device: Device,
    ring: Ring,
    { buckets }: OwnPartition,
    rest: Rest,
  ): Promise<number> {
    let found = 0;
    for (const { from, to } of lackingRanges(device, ring.policy, buckets)) {
      const last = bucketHash(to) ?? undefined;
      for (const entry of device.entries(ring.policy, bucketHash(from)!, last, PAGE)) {
        if (isBodiless(entry) && this.#puller.enqueue({ device: device.id, ...entry.key })) found++;
      }
      if (this.#puller.waiting >= ENOUGH) break;
      await rest();
    }
    return found;
  }
}

/**
 * The parts of a range that lack bodies, each of no more entries than are read in one turn, or one bucket:
 * one missing body among a million entries must not cost reading them all.
 */
function* lackingRanges(
  device: Device,
  policy: PolicyIndex,
  { from, to }: BucketRange,
): Generator<BucketRange> {
  const [summary] = device.digests.summarise(policy, from, to, 1);
  if ((summary?.bodiless ?? 0) === 0) return;
  if (summary!.total <= AT_ONCE || to - from === 1) {
    yield { from, to };
    return;
  }
  const middle = from + Math.floor((to - from) / 2);
  yield* lackingRanges(device, policy, { from, to: middle });
  yield* lackingRanges(device, policy, { from: middle, to });
}
