/** A plan for people and for scripts. */

import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { Quality } from '#ring/builder/quality.ts';
import {
  type MoveReport,
  type PairReport,
  reportMoves,
  shareBytes,
  spreadBytes,
} from '#ring/builder/report.ts';
import type { RingSet, SetPlan } from '#ring/builder/ring-set.ts';
import { parseSize, wrongUse } from './change-options.ts';
import { inFile } from './folder.ts';

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
}

/** `bytesUsed`: bytes in all, such as `3TB`, or a JSON file {"site/node/device": bytes}. */
export function viewPlan(
  set: RingSet,
  plan: SetPlan,
  bytesUsed?: string,
  bandwidth?: string,
): PlanView {
  const bytes = bytesByRing(set, plan, bytesUsed);
  const rings = plan.rings.map((ring, i) => ({
    ring: ring.name,
    version: { before: ring.before.version, after: ring.after.version },
    quality: ring.quality,
    risks: ring.risks.map((risk) => risk.message),
    moves: reportMoves(ring, bytes[i]),
    joint: ring.after.former.size,
  }));
  const pairs = joinPairs(rings.flatMap((ring) => ring.moves.pairs));
  const sum = (pick: (moves: MoveReport) => number): number =>
    rings.reduce((total, ring) => total + pick(ring.moves), 0);
  return {
    rings,
    partitions: sum((moves) => moves.partitions),
    replicas: sum((moves) => moves.replicas),
    bytes: sum((moves) => moves.bytes),
    pairs,
    ...(bandwidth !== undefined && { seconds: secondsFor(pairs, bandwidth) }),
  };
}

/** Rows of listings are small: bytes are those of object rings. */
function bytesByRing(set: RingSet, plan: SetPlan, bytesUsed?: string): ((id: number) => number)[] {
  const none = plan.rings.map(() => () => 0);
  if (bytesUsed === undefined) return none;
  const objects = plan.rings.flatMap((ring, i) => (ring.name.startsWith('object/') ? [i] : []));
  const states = objects.map((i) => plan.rings[i]!.before);
  const total = parseSize(bytesUsed);
  const onDevice = total === undefined ? bytesFromFile(set, bytesUsed) : spreadBytes(states, total);
  const shared = shareBytes(states, onDevice);
  return none.map((zero, i) => (objects.includes(i) ? shared[objects.indexOf(i)]! : zero));
}

function bytesFromFile(set: RingSet, file: string): (id: number) => number {
  const table = inFile(file, (bytes) => {
    try {
      return z.record(z.string(), z.number().min(0)).parse(JSON.parse(bytes.toString('utf8')));
    } catch (cause) {
      throw new OperatingError('malformed', 'expected {"site/node/device": bytes}', {}, { cause });
    }
  });
  const names = new Map(
    set.devices().map(({ id, site, node, name }) => [id, `${site}/${node}/${name}`]),
  );
  return (id) => table[names.get(id) ?? ''] ?? table[String(id)] ?? 0;
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

function secondsFor(pairs: readonly PairReport[], bandwidth: string): number {
  const rate = parseSize(bandwidth);
  if (rate === undefined || rate <= 0)
    throw wrongUse(`--bandwidth: "${bandwidth}" is not a size such as 100MB`);
  return Math.ceil(Math.max(0, ...pairs.map((pair) => pair.bytes)) / rate);
}

export function printPlan(view: PlanView): void {
  for (const ring of view.rings) printRing(ring);
  const bytes = view.bytes > 0 ? `, ${formatSize(view.bytes)}` : '';
  console.log(`in all: ${view.partitions} partitions, ${view.replicas} replicas${bytes} to move`);
  for (const pair of view.pairs) console.log(`  ${pairText(pair)}`);
  if (view.seconds !== undefined)
    console.log(`  at that bandwidth: ${formatSeconds(view.seconds)}`);
}

function printRing({ ring, version, quality, risks, moves }: RingView): void {
  if (version.before === 0) {
    console.log(`${ring}: new, version ${version.after}, ${qualityText(quality.after)}`);
  } else {
    console.log(
      `${ring}: version ${version.before} -> ${version.after}, ${moves.partitions} partitions, ${moves.replicas} replicas to move`,
    );
    console.log(`  before: ${qualityText(quality.before)}`);
    console.log(`  after:  ${qualityText(quality.after)}`);
    for (const site of moves.sites) {
      console.log(`  ${site.site}: in ${trafficText(site.in)}, out ${trafficText(site.out)}`);
    }
  }
  for (const risk of risks) console.log(`  RISK: ${risk}`);
}

export function qualityText({ balance, dispersion, worst }: Quality): string {
  const text = `balance ${balance.toFixed(2)} %, dispersion ${dispersion.toFixed(2)} %`;
  if (worst === undefined) return text;
  return `${text}, most exposed: partition ${worst.partition} with ${worst.site} of ${worst.replicas} replicas at ${worst.where}`;
}

function trafficText({ replicas, bytes }: { replicas: number; bytes: number }): string {
  return bytes > 0 ? `${replicas} replicas (${formatSize(bytes)})` : `${replicas} replicas`;
}

function pairText(pair: PairReport): string {
  const where = pair.from === pair.to ? `within ${pair.from}` : `${pair.from} -> ${pair.to}`;
  return `${where}: ${trafficText(pair)}`;
}

export function formatSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function formatSeconds(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
