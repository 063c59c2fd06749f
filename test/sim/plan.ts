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
  'away-days',
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

/** What runs only do when asked to, each from a random stream of its own. */
export const EXTRAS = ['moves', 'uploads', 'versions'] as const;
export type Extra = (typeof EXTRAS)[number];

export type Mode = 'strict' | 'available' | 'local';
/** Clocks that nothing has set wrong differ by the network's delays and by whole seconds. */
export const MIN_CLOCK_ERROR_MS = 2_000;
export const MAX_CLOCK_ERROR_MS = 3_600_000;

export interface Plan {
  readonly chaosMs: number;
  readonly clients: number;
  readonly thinkMs: number;
  readonly boxes: number;
  readonly keysPerBox: number;
  readonly largeBytes: number;
  readonly churns: boolean;
  readonly expires: boolean;
  /** Of the boxes in turn. */
  readonly modes: readonly Mode[];
  /** How far clocks may be off. */
  readonly clockErrorMs: number;
  /** Per minute of virtual time. */
  readonly rates: ReadonlyMap<Fault, number>;
}

/** A short run has as many faults as a long one in so many times less time. */
const BRIEF = 5;

export interface PlanOptions {
  readonly hasSkew: boolean;
  /** These kinds of faults, all of them on. */
  readonly only?: readonly Fault[];
  readonly intensity?: number;
  readonly brief?: boolean;
}

export function drawPlan(random: Prng, options: PlanOptions): Plan {
  const { hasSkew, only, intensity = 1, brief = false } = options;
  const rates = new Map<Fault, number>();
  const times = brief ? BRIEF : 1;
  const eagerness = times * intensity * (0.5 + 3 * random.float());
  for (const fault of FAULTS) {
    const isOn = random.chance(0.35);
    const rate = eagerness * (0.3 + 2 * random.float());
    if (only === undefined ? isOn : only.includes(fault)) rates.set(fault, rate);
  }
  return {
    chaosMs: (20_000 + random.integer(60_000)) / times,
    clients: 1 + random.integer(5),
    thinkMs: (100 + random.integer(600)) / Math.sqrt(times),
    boxes: 1 + random.integer(3),
    keysPerBox: 2 + random.integer(5),
    largeBytes: random.chance(0.2) ? 100_000 : 20_000,
    churns: random.chance(0.4),
    expires: random.chance(0.4),
    modes: drawModes(random),
    clockErrorMs:
      hasSkew || rates.has('clock-jump')
        ? MAX_CLOCK_ERROR_MS + MIN_CLOCK_ERROR_MS
        : MIN_CLOCK_ERROR_MS,
    rates,
  };
}

/** Most boxes keep every promise. */
function drawModes(random: Prng): Mode[] {
  return Array.from({ length: 3 }, () => {
    if (random.chance(0.8)) return 'strict';
    return random.chance(0.6) ? 'available' : 'local';
  });
}

/**
 * Deletions are reclaimed within the run in half of the runs; an age below the drift limit is only safe
 * while no clock is set back. From a stream of its own, as it came late.
 */
export function drawReclaimAge(random: Prng, { rates }: Plan): number | undefined {
  const seconds = 2 + random.integer(20);
  return random.chance(0.5) && !rates.has('clock-jump') ? seconds : undefined;
}
