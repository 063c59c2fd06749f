/**
 * Keeps what devices have on record about ring changes small and true:
 *
 *   - fences and marks of changes that are over are dropped: older rings are refused by their version;
 *   - a former primary that holds nothing of a partition any more stops being complete for it;
 *   - a device whose log lost its end, and maybe a fence with it, raises every fence that its ring
 *     speaks of again.
 */
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { fenceAgain } from '#ring/knowledge.ts';
import { ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { Devices } from './guard.ts';

const IDLE_MS = 30_000;

export class MarkKeeper implements Job {
  readonly name = 'device.marks';
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;

  constructor(cluster: ClusterSource, devices: Devices) {
    this.#cluster = cluster;
    this.#devices = devices;
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const rings = [...this.#cluster.current().rings.values()];
    for (const device of this.#devices().values()) {
      if (device.status !== 'ok' || signal.aborted) continue;
      if (device.versions.forgetful) await fenceAll(device, rings);
      for (const ring of rings.filter(({ jointPartitions }) => jointPartitions === 0)) {
        await device.versions.prune(ring.policy, (_from, _to, version) => version >= ring.version);
        await this.#letGo(device, ring);
      }
    }
    return { kind: 'idle', waitMs: IDLE_MS };
  }

  /** Of rows nothing is dropped yet, so they stay as they are. */
  async #letGo(device: Device, ring: Ring): Promise<void> {
    if (ring.policy === CONTAINER_RING || ring.policy === ACCOUNT_RING) return;
    const gone = without(
      device.completeness.ranges(ring.policy),
      ownPartitions(ring, device.id).map(({ buckets }) => buckets),
    ).filter(({ from, to }) => device.digests.summarise(ring.policy, from, to, 1)[0]!.total === 0);
    const marks = gone.map(({ from, to }) =>
      device.completeness.mark(ring.policy, from, to, false),
    );
    await Promise.all(marks);
  }
}

/** Whatever it may have promised. */
async function fenceAll(device: Device, rings: readonly Ring[]): Promise<void> {
  for (const ring of rings) {
    await fenceAgain(device, ring.policy, ownPartitions(ring, device.id));
  }
  device.versions.trust();
}

interface Range {
  readonly from: number;
  readonly to: number;
}

/** What of the ranges is in none of the others; both ascend, without overlap. */
export function without(ranges: readonly Range[], others: readonly Range[]): Range[] {
  const rest: Range[] = [];
  let next = 0;
  for (const { from, to } of ranges) {
    let reached = from;
    while (next < others.length && others[next]!.to <= reached) next++;
    for (let i = next; i < others.length && others[i]!.from < to; i++) {
      if (others[i]!.from > reached) rest.push({ from: reached, to: others[i]!.from });
      reached = Math.max(reached, others[i]!.to);
    }
    if (reached < to) rest.push({ from: reached, to });
  }
  return rest;
}
