/**
 * What a change would put at risk. A partition whose members change one at a time always keeps a
 * majority that knows everything; two at once may leave fewer copies than the quorum counts on.
 */
import { mayMove, sameRow } from './rebalance.ts';
import { type BuilderState, idsOf, knowing, liveDevices } from './state.ts';

export interface Risk {
  /** `majority-lost`: what only removed devices had acknowledged is gone, and may have been everything. */
  readonly kind: 'several-replicas' | 'moved-lately' | 'too-few-devices' | 'majority-lost';
  /** How many partitions, where it is about partitions. */
  readonly partitions: number;
  /** One sentence for the operator. */
  readonly message: string;
}

/** What an operator takes upon himself; the second includes the first. */
export interface Acceptance {
  readonly force?: boolean | undefined;
  readonly acceptLoss?: boolean | undefined;
}

/** Why not, in one sentence; undefined: nothing stands in the way. */
export function refusal(
  rings: readonly { readonly name?: string; readonly risks: readonly Risk[] }[],
  { force = false, acceptLoss = false }: Acceptance,
): string | undefined {
  const accepts = ({ kind }: Risk): boolean => acceptLoss || (force && kind !== 'majority-lost');
  const open = rings.map(({ name, risks }) => {
    return { name, risks: risks.filter((risk) => !accepts(risk)) };
  });
  const why = open.flatMap(({ name, risks }) => {
    const text = risks.map(({ message }) => message).join(', ');
    return risks.length === 0 ? [] : [name === undefined ? text : `${name}: ${text}`];
  });
  if (why.length === 0) return undefined;
  const isLoss = open.some(({ risks }) => risks.some(({ kind }) => kind === 'majority-lost'));
  return `refused without --${isLoss ? 'accept-loss' : 'force'}: ${why.join('; ')}`;
}

export function risksOf(before: BuilderState, after: BuilderState, nowHours: number): Risk[] {
  const risks: Risk[] = [];
  const live = liveDevices(after.devices);
  const { replicas, minPartHours } = after.settings;
  if (live < replicas) {
    const message = `${replicas} replicas need as many devices with a weight, there are ${live}`;
    risks.push({ kind: 'too-few-devices', partitions: 0, message });
  }
  const { several, lately, lost } = countAtRisk(before, after, nowHours);
  if (lost > 0) {
    const message = `${lost} partitions lose the majority that knows what was acknowledged`;
    risks.push({ kind: 'majority-lost', partitions: lost, message });
  }
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
): { several: number; lately: number; lost: number } {
  let several = 0;
  let lately = 0;
  let lost = 0;
  if (before.columns.length === 0) return { several, lately, lost };
  const base = { ...before, settings: after.settings };
  for (let partition = 0; partition < after.movedAt.length; partition++) {
    if (knowing(before, after.devices, partition).isLost) lost++;
    if (sameRow(before.columns, after.columns, partition)) continue;
    if (replicasLost(before, after, partition) > 1) several++;
    else if (!mayMove(base, partition, nowHours)) lately++;
  }
  return { several, lately, lost };
}

/** Devices that held the partition and no longer do. */
function replicasLost(before: BuilderState, after: BuilderState, partition: number): number {
  const now = idsOf(after.columns, partition);
  return idsOf(before.columns, partition).filter((id) => !now.includes(id)).length;
}
