/**
 * How much of the cluster its own repair may take. The cluster's settings say it for everybody (`links`
 * and `limits` of the cluster document); a node may be told otherwise for itself (`anello repair set`).
 *
 * Bandwidth is given for pairs of sites and times of the day, UTC, as the sites may lie in several time
 * zones. No rule for a pair: no limit. Rules, but none for now: nothing moves between the two until the
 * next one begins. A limit holds for each direction; the nodes of the receiving site share it equally.
 */
import { z } from 'zod';
import type { ClusterSettings, ClusterView } from './cluster.ts';

export interface BandwidthRule {
  /** `*` stands for any site. */
  readonly between: readonly [string, string];
  readonly bytesPerSecond: number;
  /** `22:00-06:00`; absent: always. */
  readonly hours?: string | undefined;
}

export interface RepairLimits {
  /** Stops replication, handover, compaction and reclaim; what clients' requests trigger goes on. */
  readonly paused: boolean;
  /** Transfers of bodies at once, per node. */
  readonly concurrency: number;
  /** Largest share of the time that a background job of a node works. */
  readonly share: number;
  readonly bandwidth: readonly BandwidthRule[];
  /** Copies on stand-ins for one site: beyond either limit the debt is too large, and is reported. */
  readonly debtEntries: number;
  readonly debtBytes: number;
  /** While the debt is too large, a write that adds to it waits so long; 0: it does not. */
  readonly debtSlowMs: number;
  /** Tombstones live at least so long. */
  readonly reclaimAgeSeconds: number;
}

const GIB = 1024 ** 3;

export const DEFAULT_REPAIR_LIMITS: RepairLimits = Object.freeze({
  paused: false,
  concurrency: 4,
  share: 0.3,
  bandwidth: [],
  debtEntries: 1_000_000,
  debtBytes: 1024 * GIB,
  debtSlowMs: 0,
  reclaimAgeSeconds: 7 * 86_400,
});

const MAX_RULES = 256;
const HOURS = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/;
const site = z.string().min(1).max(64);
const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const FIELDS = {
  paused: z.boolean(),
  concurrency: z.number().int().min(1).max(64),
  share: z.number().min(0.01).max(1),
  bandwidth: z
    .array(
      z
        .object({
          between: z.tuple([site, site]),
          bytesPerSecond: z.number().int().min(1024),
          hours: z.string().regex(HOURS, 'HH:MM-HH:MM').optional(),
        })
        .strict(),
    )
    .max(MAX_RULES),
  debtEntries: whole,
  debtBytes: whole,
  debtSlowMs: z.number().int().min(0).max(10_000),
  reclaimAgeSeconds: whole,
} as const;

/** What a node is told for itself: any of the limits; null takes one back to what the cluster says. */
export const repairChangesSchema = z
  .object({
    paused: FIELDS.paused.nullable(),
    concurrency: FIELDS.concurrency.nullable(),
    share: FIELDS.share.nullable(),
    bandwidth: FIELDS.bandwidth.nullable(),
    debtEntries: FIELDS.debtEntries.nullable(),
    debtBytes: FIELDS.debtBytes.nullable(),
    debtSlowMs: FIELDS.debtSlowMs.nullable(),
    reclaimAgeSeconds: FIELDS.reclaimAgeSeconds.nullable(),
  })
  .partial()
  .strict();

export type RepairChanges = z.infer<typeof repairChangesSchema>;

/** The cluster's limits, by their names in the document's `limits`. */
const NUMBERS = [
  ['repair.concurrency', 'concurrency'],
  ['repair.share', 'share'],
  ['repair.debtEntries', 'debtEntries'],
  ['repair.debtBytes', 'debtBytes'],
  ['repair.debtSlowMs', 'debtSlowMs'],
  ['repair.reclaimAgeSeconds', 'reclaimAgeSeconds'],
] as const;

/** What holds for a node: its own changes over the cluster's settings over the defaults. */
export function repairLimits({ settings }: ClusterView, changes: RepairChanges = {}): RepairLimits {
  const own = Object.entries(changes).filter(([, value]) => value !== null && value !== undefined);
  return { ...DEFAULT_REPAIR_LIMITS, ...fromSettings(settings), ...Object.fromEntries(own) };
}

/** A number out of its range is left out: one wrong limit must not end every process. */
function fromSettings(settings: ClusterSettings | undefined): Partial<RepairLimits> {
  if (settings === undefined) return {};
  const limits: Record<string, unknown> = {};
  for (const [name, field] of NUMBERS) {
    const value = settings.limits[name];
    if (value !== undefined && FIELDS[field].safeParse(value).success) limits[field] = value;
  }
  const bandwidth = settings.links.flatMap(({ between, bandwidth: bytesPerSecond, hours }) =>
    bytesPerSecond === undefined ? [] : [{ between, bytesPerSecond, hours }],
  );
  return { ...limits, bandwidth, paused: (settings.limits['repair.paused'] ?? 0) !== 0 };
}

/** Bytes per second between two sites at a minute of the day; 0: nothing now; infinite: no limit. */
export function bandwidthBetween(
  rules: readonly BandwidthRule[],
  from: string,
  to: string,
  minuteOfDay: number,
): number {
  const fitting = rules.filter(({ between }) => isPair(between, from, to));
  if (fitting.length === 0) return Number.POSITIVE_INFINITY;
  const now = fitting.find(({ hours }) => hours === undefined || isWithin(hours, minuteOfDay));
  return now?.bytesPerSecond ?? 0;
}

function isPair([a, b]: readonly [string, string], from: string, to: string): boolean {
  const fits = (name: string, place: string): boolean => name === '*' || name === place;
  return (fits(a, from) && fits(b, to)) || (fits(a, to) && fits(b, from));
}

/** `from` is in, `to` is not; from above to goes over midnight; equal: the whole day. */
function isWithin(hours: string, minute: number): boolean {
  const [fromHour, fromMinute, toHour, toMinute] = (HOURS.exec(hours) ?? []).slice(1).map(Number);
  const from = fromHour! * 60 + fromMinute!;
  const to = toHour! * 60 + toMinute!;
  if (from === to) return true;
  return from < to ? minute >= from && minute < to : minute >= from || minute < to;
}
