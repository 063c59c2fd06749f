/** What may be set about a device. Everything has a default; tests make things small. */
import { DEFAULT_INLINE_LIMIT } from './contract.ts';

export interface DeviceLimits {
  /** Bodies up to this many bytes are records of the log. */
  readonly inlineLimit: number;
  /** A segment is closed when it has grown beyond this. */
  readonly segmentBytes: number;
  /** Entries kept decoded in memory, about 1 KiB each. */
  readonly cacheEntries: number;
  /** SQLite's page cache for the index. */
  readonly indexCacheKiB: number;
  /** Stages open at once. */
  readonly maxStages: number;
  /** Memory for stages that may still become records. */
  readonly stageMemory: number;
  /** Kept free, for tombstones and compaction; with less, writes are refused. Default: 64 MiB or 2 %. */
  readonly reserveBytes: number | undefined;
  /** A segment with a smaller share of needed bytes is rewritten. */
  readonly compactBelow: number;
  /** Bytes of a segment that one step of compaction looks at. */
  readonly compactStepBytes: number;
  /** How long committed entries wait for the index at most. */
  readonly flushMs: number;
  /** How often the index is made durable, so that a start replays little. */
  readonly checkpointMs: number;
  /** How often the folder and the free space are looked at while nothing else happens. */
  readonly watchMs: number;
  /** What the device learns of its peers counts from so long after it was opened: longer than a round of a write (proxy/limits.ts). */
  readonly learnMs: number;
}

export const DEFAULT_LIMITS: DeviceLimits = {
  inlineLimit: DEFAULT_INLINE_LIMIT,
  segmentBytes: 64 * 1024 * 1024,
  cacheEntries: 8192,
  indexCacheKiB: 8192,
  maxStages: 1024,
  stageMemory: 16 * 1024 * 1024,
  reserveBytes: undefined,
  compactBelow: 0.5,
  compactStepBytes: 4 * 1024 * 1024,
  flushMs: 250,
  checkpointMs: 10_000,
  watchMs: 1000,
  learnMs: 12_000,
};

export function defaultReserve(totalBytes: number): number {
  return Math.min(64 * 1024 * 1024, Math.floor(totalBytes / 50));
}
