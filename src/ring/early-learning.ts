/**
 * What a device learns of its peers soon after it was opened does not count yet.
 *
 * It may have lost what it acknowledged a moment before, of a write that is still under way. The writer counts that, and
 * the peers need not have heard of the write: x is acknowledged by A; A is wiped, and filled again by B and C, who
 * don't know x; then B acknowledges it, which makes W. A and C would tell of an older one (simulator, seed 12003934).
 * A writer counts what was said within one round, which ends sooner than a device begins to count (`roundMs` in
 * proxy/limits.ts, `learnMs` in device/limits.ts): when A learns again, B has x, or it was never acknowledged.
 *
 * What is missing is fetched at once all the same: that, once for each partition, is what is done early.
 */
import type { Clock } from '#env/env.ts';
import type { OwnPartition } from './own-partitions.ts';

/** What of a device matters here (`device/contract.ts`). */
export interface LearningDevice {
  readonly completeness: { readonly countsFromMs: number };
}

/** What this device learns now makes it complete for nothing yet. */
export function isEarly(
  clock: Pick<Clock, 'monotonicMs'>,
  { completeness }: LearningDevice,
): boolean {
  return clock.monotonicMs() < completeness.countsFromMs;
}

export class EarlyLearning {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #done = new WeakMap<LearningDevice, Set<OwnPartition>>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  isEarly(device: LearningDevice): boolean {
    return isEarly(this.#clock, device);
  }

  /** Until something more of it counts, at the most `waitMs`. */
  waitMs(devices: Iterable<LearningDevice>, waitMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    const left = [...devices].map(({ completeness }) => completeness.countsFromMs - nowMs);
    return Math.min(waitMs, ...left.filter((ms) => ms > 0));
  }

  /** Those that there is anything to do for at this moment. */
  due(device: LearningDevice, partitions: readonly OwnPartition[]): readonly OwnPartition[] {
    if (!this.isEarly(device)) this.#done.delete(device);
    const done = this.#done.get(device);
    if (done === undefined) return partitions;
    return partitions.filter((partition) => !done.has(partition));
  }

  note(device: LearningDevice, partitions: readonly OwnPartition[]): void {
    const done = this.#done.get(device) ?? new Set();
    this.#done.set(device, done);
    for (const partition of partitions) done.add(partition);
  }
}
