/** What a plan would do to the whole cluster, in figures: for a person before `apply`, and for scripts. */
import type { RingDevice } from '../fields.ts';
import { type Capacity, type Fullness, fullnessOf } from './fullness.ts';
import type { Quality } from './quality.ts';
import {
  type BytesOnDevice,
  type MoveReport,
  type PairReport,
  reportMoves,
  shareBytes,
  spreadBytes,
} from './report.ts';
import type { SetPlan } from './ring-set.ts';

export interface RingView {
  readonly ring: string;
  readonly version: { readonly before: number; readonly after: number };
  readonly quality: { readonly before: Quality; readonly after: Quality };
  readonly risks: readonly string[];
  readonly moves: MoveReport;
  /** Partitions that will be joint: the former set counts until the new one is settled. */
  readonly joint: number;
}

export interface PlanView {
  readonly rings: readonly RingView[];
  readonly partitions: number;
  readonly replicas: number;
  readonly bytes: number;
  readonly pairs: readonly PairReport[];
  /** At the given bandwidth between each two sites, all at once. */
  readonly seconds?: number;
  /** Where it is known what the disks hold and have room for. */
  readonly fullness?: Fullness;
}

/** Bytes in all, or on each device; nothing is known of them when absent. */
export type KnownBytes = number | BytesOnDevice | undefined;
/** Bytes per second between two sites; undefined: no matter how long it takes. */
export type LinkRate = (from: string, to: string) => number | undefined;

/** From a table by `site/node/device`, or by number; of a device that is not in it: nothing. */
export function namedBytes(
  devices: readonly Pick<RingDevice, 'id' | 'site' | 'node' | 'name'>[],
  table: Readonly<Record<string, number>>,
): BytesOnDevice {
  const names = new Map(devices.map(({ id, site, node, name }) => [id, `${site}/${node}/${name}`]));
  return (id) => table[names.get(id) ?? ''] ?? table[String(id)] ?? 0;
}

export function viewPlan(
  plan: SetPlan,
  known?: KnownBytes,
  rate?: LinkRate,
  capacity: Capacity = () => undefined,
): PlanView {
  const bytes = bytesByRing(plan, known);
  const rings = plan.rings.map((ring, i) => ({
    ring: ring.name,
    version: { before: ring.before.version, after: ring.after.version },
    quality: ring.quality,
    risks: ring.risks.map((risk) => risk.message),
    moves: reportMoves(ring, bytes[i]),
    joint: ring.after.former.size,
  }));
  const fullness = fullnessOf(
    rings.map(({ moves }) => moves.devices),
    capacity,
  );
  const pairs = joinPairs(rings.flatMap((ring) => ring.moves.pairs));
  const sum = (pick: (moves: MoveReport) => number): number =>
    rings.reduce((total, ring) => total + pick(ring.moves), 0);
  return {
    rings,
    partitions: sum((moves) => moves.partitions),
    replicas: sum((moves) => moves.replicas),
    bytes: sum((moves) => moves.bytes),
    pairs,
    ...(rate !== undefined && { seconds: secondsFor(pairs, rate) }),
    ...(fullness !== undefined && { fullness }),
  };
}

/** Rows of listings are small: bytes are those of object rings. */
function bytesByRing(plan: SetPlan, known: KnownBytes): BytesOnDevice[] {
  const none = plan.rings.map(() => () => 0);
  if (known === undefined) return none;
  const objects = plan.rings.flatMap((ring, i) => (ring.name.startsWith('object/') ? [i] : []));
  const states = objects.map((i) => plan.rings[i]!.before);
  const onDevice = typeof known === 'number' ? spreadBytes(states, known) : known;
  const shared = shareBytes(states, onDevice);
  return none.map((zero, i) => (objects.includes(i) ? shared[objects.indexOf(i)]! : zero));
}

function joinPairs(all: readonly PairReport[]): PairReport[] {
  const joined = new Map<string, PairReport>();
  for (const { from, to, replicas, bytes } of all) {
    const pair = joined.get(JSON.stringify([from, to]));
    if (pair === undefined) joined.set(JSON.stringify([from, to]), { from, to, replicas, bytes });
    else {
      pair.replicas += replicas;
      pair.bytes += bytes;
    }
  }
  return [...joined.values()].sort((a, b) => b.replicas - a.replicas);
}

/** All links at once: the slowest decides. */
function secondsFor(pairs: readonly PairReport[], rate: LinkRate): number {
  const seconds = pairs.map(({ from, to, bytes }) => bytes / (rate(from, to) ?? Infinity));
  return Math.ceil(Math.max(0, ...seconds));
}
