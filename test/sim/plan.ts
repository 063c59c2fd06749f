/** What a seed decides beside the cluster's shape: how much is done, and what goes wrong how often. */
import type { Prng } from '#env/sim/prng.ts';

export const FAULTS = [
  // processes and machines
  'kill',
  'crash',
  'blackout',
  'restart',
  'stall',
  'away',
  // network
  'partition-pair',
  'partition-site',
  'one-way',
  'drop-connections',
  'slow-link',
  // disks, nothing lost
  'slow-disk',
  'full-disk',
  'io-error',
  'flip-read',
  // rings
  'ring-change',
  'ring-lag',
  // clocks
  'clock-jump',
  // damage, on one device at a time
  'wipe',
  'flip-log',
  'flip-blob',
  'flip-index',
  'flip-rows',
  'lose-index',
  'lose-rows',
  'revert-index',
  'revert-rows',
  'misdirected-write',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface Plan {
  readonly chaosMs: number;
  readonly clients: number;
  readonly thinkMs: number;
  readonly boxes: number;
  readonly keysPerBox: number;
  readonly largeBytes: number;
  readonly churns: boolean;
  /** Per minute of virtual time. */
  readonly rates: ReadonlyMap<Fault, number>;
}

export function drawPlan(random: Prng, only?: readonly Fault[], intensity = 1): Plan {
  const rates = new Map<Fault, number>();
  const eagerness = intensity * (0.5 + 3 * random.float());
  for (const fault of FAULTS) {
    const isOn = random.chance(0.35);
    const rate = eagerness * (0.3 + 2 * random.float());
    if (only === undefined ? isOn : only.includes(fault)) rates.set(fault, rate);
  }
  return {
    chaosMs: 20_000 + random.integer(60_000),
    clients: 1 + random.integer(5),
    thinkMs: 100 + random.integer(600),
    boxes: 1 + random.integer(3),
    keysPerBox: 2 + random.integer(5),
    largeBytes: random.chance(0.2) ? 100_000 : 20_000,
    churns: random.chance(0.4),
    rates,
  };
}
