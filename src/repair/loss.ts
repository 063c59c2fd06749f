/**
 * What stands in the way of a device that is not complete: how many of its partitions have too few
 * complete peers left, and which peers are silent. What only those know is lost when an operator
 * accepts it (`anello device accept-loss`).
 */
import type { PolicyIndex } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { PeerBoard } from '#object/peer-board.ts';
import { coverageOf } from '#ring/coverage.ts';
import { isKnown } from '#ring/knowledge.ts';
import { ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';

export interface RingLoss {
  readonly ring: PolicyIndex;
  /** Partitions that the device is not complete for. */
  readonly incomplete: number;
  /** Of these: fewer complete peers answer than it takes. */
  readonly short: number;
  /** Their replicas that do not answer, or are out of service. */
  readonly silent: readonly number[];
}

export function lossOf(device: Device, rings: Iterable<Ring>, board: PeerBoard): RingLoss[] {
  return [...rings].map((ring) => ringLoss(device, ring, board));
}

function ringLoss(device: Device, ring: Ring, board: PeerBoard): RingLoss {
  const { policy } = ring;
  const coverage = coverageOf(device.completeness.ranges(policy));
  const incomplete = ownPartitions(ring, device.id).filter(
    (partition) =>
      partition.learnsAt === undefined && !isKnown(device, policy, partition, coverage),
  );
  const short = incomplete.filter(
    (partition) => board.goodPeers(policy, partition) < partition.needed,
  );
  const peers = new Set(short.flatMap(({ others }) => others.map(({ id }) => id)));
  const silent = [...peers].filter((id) => board.device(id) === undefined || board.isAway(id));
  return { ring: policy, incomplete: incomplete.length, short: short.length, silent };
}
