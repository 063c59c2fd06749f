/** A plan for people. */
import type { Fullest } from '#ring/builder/fullness.ts';
import type { PlanView, RingView } from '#ring/builder/plan-view.ts';
import type { Quality } from '#ring/builder/quality.ts';
import type { PairReport } from '#ring/builder/report.ts';

export function printPlan(view: PlanView): void {
  for (const ring of view.rings) printRing(ring);
  const bytes = view.bytes > 0 ? `, ${formatSize(view.bytes)}` : '';
  console.log(`in all: ${view.partitions} partitions, ${view.replicas} replicas${bytes} to move`);
  for (const pair of view.pairs) console.log(`  ${pairText(pair)}`);
  if (view.seconds !== undefined)
    console.log(`  at that bandwidth: ${formatSeconds(view.seconds)}`);
  if (view.fullness === undefined) return;
  const { before, after } = view.fullness;
  console.log(`fullest disk: ${fullText(before)} before, ${fullText(after)} after`);
}

function fullText({ device, share }: Fullest): string {
  return `${device} ${(share * 100).toFixed(1)} %`;
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

export function formatSeconds(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
