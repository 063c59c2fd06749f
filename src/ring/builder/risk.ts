/**
 * What a change would put at risk. A partition whose members change one at a time always keeps a
 * majority that knows everything; two at once may leave fewer copies than the quorum counts on.
 */
import { mayMove, sameRow } from './rebalance.ts';
import { type BuilderState, idsOf, liveDevices } from './state.ts';

export interface Risk {
  readonly kind: 'several-replicas' | 'moved-lately' | 'too-few-devices';
  /** How many partitions, where it is about partitions. */
  readonly partitions: number;
  /** One sentence for the operator. */
  readonly message: string;
}

export function risksOf(before: BuilderState, after: BuilderState, nowHours: number): Risk[] {
  const risks: Risk[] = [];
  const live = liveDevices(after.devices);
  const { replicas, minPartHours } = after.settings;
  if (live < replicas) {
    const message = `${replicas} replicas need as many devices with a weight, there are ${live}`;
    risks.push({ kind: 'too-few-devices', partitions: 0, message });
  }
  const { several, lately } = countAtRisk(before, after, nowHours);
  if (several > 0) {
    const message = `${several} partitions would lose more than one of their replicas at once`;
    risks.push({ kind: 'several-replicas', partitions: several, message });
  }
  if (lately > 0) {
    const message = `${lately} partitions moved a replica less than ${minPartHours} h ago or are still joint`;
    risks.push({ kind: 'moved-lately', partitions: lately, message });
  }
  return risks;
}

function countAtRisk(
  before: BuilderState,
  after: BuilderState,
  nowHours: number,
): { several: number; lately: number } {
  let several = 0;
  let lately = 0;
  if (before.columns.length === 0) return { several, lately };
  const base = { ...before, settings: after.settings };
  for (let partition = 0; partition < after.movedAt.length; partition++) {
    if (sameRow(before.columns, after.columns, partition)) continue;
    if (replicasLost(before, after, partition) > 1) several++;
    else if (!mayMove(base, partition, nowHours)) lately++;
  }
  return { several, lately };
}

/** Devices that held the partition and no longer do. */
export function replicasLost(before: BuilderState, after: BuilderState, partition: number): number {
  const now = idsOf(after.columns, partition);
  return idsOf(before.columns, partition).filter((id) => !now.includes(id)).length;
}
