/**
 * How a joining device fences off those that it learns from: all of them, before it joins anything of one. What it
 * joins afterwards is all that they will ever acknowledge for older rings.
 *
 * One after the other would not do: the first, wiped as soon as it was joined, would be filled again by the old ring from
 * those that have no fence yet, without its own, and acknowledge more. Once enough have one at the same time, whoever of them is
 * wiped finds too few who compare themselves with it by the old ring (`checkRanges`).
 */
import type { Fence } from './fence.ts';
import { fencesFor } from './knowledge.ts';
import { byPeer, type OwnPartition, type Peer } from './own-partitions.ts';

/** Devices that have raised it, once enough have for every partition, or all have been asked. */
export async function fenceOff(
  partitions: readonly OwnPartition[],
  ask: (peer: Peer, fences: readonly Fence[]) => Promise<unknown>,
  failed: (peer: Peer, error: unknown) => void,
): Promise<ReadonlySet<number>> {
  const learnt = partitions.filter(({ learnsAt }) => learnsAt !== undefined);
  const fenced = new Set<number>();
  const isEnough = (): boolean =>
    learnt.every(
      ({ others, needed }) => others.filter(({ id }) => fenced.has(id)).length >= needed,
    );
  if (isEnough()) return fenced;
  const { promise, resolve } = Promise.withResolvers<void>();
  const fence = async ([peer, theirs]: [Peer, readonly OwnPartition[]]): Promise<void> => {
    try {
      await ask(peer, fencesFor(theirs));
      fenced.add(peer.device);
    } catch (error) {
      failed(peer, error);
    }
    if (isEnough()) resolve();
  };
  void Promise.all([...byPeer(learnt)].map(fence)).then(() => resolve());
  await promise;
  // Who comes later has its fence behind what is joined by then.
  return new Set(fenced);
}

/**
 * Whether a peer may be learnt from. `fence`: what it told with its digests; lower, and it was wiped, or has lost the
 * end of its log, since it was asked; undefined: an earlier version, which tells none.
 */
export function isBehindFence({ learnsAt }: OwnPartition, fence: number | undefined): boolean {
  return learnsAt === undefined || fence === undefined || fence >= learnsAt;
}
