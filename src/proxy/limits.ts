/** The proxy's limits and deadlines, all in one place; main may override them from configuration. */
export interface ProxyLimits {
  /** Bodies up to this many bytes are buffered and written in one call. */
  readonly inlineBytes: number;
  /** Bodies up to this many bytes come along with the state of a read. */
  readonly inlineReadBytes: number;
  /** Chunks that one upload keeps for the slowest replica still followed. */
  readonly streamBufferBytes: number;
  /** What all uploads keep together, about: with many of them, each keeps less. */
  readonly streamBudgetBytes: number;
  /** Bodies of small writes that are being buffered, all together. */
  readonly bufferBudgetBytes: number;
  /** Large uploads and downloads at once; more wait. */
  readonly streams: number;
  readonly writeDeadlineMs: number;
  readonly readDeadlineMs: number;
  /** Without progress of a streamed body. */
  readonly streamDeadlineMs: number;
  /** How long a replica may hold a majority of the others up before it is dropped from an upload. */
  readonly stallMs: number;
  /** Bodies of small writes that one device has not answered yet; beyond it is passed over. */
  readonly outstandingBytes: number;
  /** Least wait before a read is hedged; else twice the replica's usual latency. */
  readonly hedgeMs: number;
  /** Rows that storage nodes have not delivered after this long, the proxy sends itself. */
  readonly rowHedgeMs: number;
  readonly containerCacheMs: number;
  /** A container that can't be asked again may be served from a cached answer this old. */
  readonly containerStaleMs: number;
  readonly containerCacheEntries: number;
  readonly repairQueue: number;
  /**
   * What replicas acknowledged counts for so long: one that loses it meanwhile does not count again before (`learnMs` in
   * device/limits.ts, which must be longer).
   */
  readonly roundMs: number;
  /** Rounds of a write that finds something newer. */
  readonly writeRounds: number;
  /** Attempts of a conditional write among rivals, and how long they may take. */
  readonly rounds: number;
  readonly roundsMs: number;
  /** Longest wait between two of them. */
  readonly roundBackOffMs: number;
  /** How long one waits at most for another of this process that writes the same object. */
  readonly turnMs: number;
  readonly traceOperations: number;
  /** A policy's devices must have been gone through this long after a container left it, before it returns. */
  readonly policyReturnMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_PROXY_LIMITS: ProxyLimits = {
  inlineBytes: 256 * KIB,
  inlineReadBytes: 64 * KIB,
  streamBufferBytes: MIB,
  streamBudgetBytes: 8 * MIB,
  bufferBudgetBytes: 64 * MIB,
  streams: 1024,
  writeDeadlineMs: 10_000,
  readDeadlineMs: 5_000,
  streamDeadlineMs: 60_000,
  stallMs: 2_000,
  outstandingBytes: 32 * MIB,
  hedgeMs: 50,
  rowHedgeMs: 300,
  containerCacheMs: 2_000,
  containerStaleMs: 60_000,
  containerCacheEntries: 10_000,
  repairQueue: 1_000,
  roundMs: 10_000,
  writeRounds: 4,
  rounds: 40,
  roundsMs: 15_000,
  roundBackOffMs: 1_000,
  turnMs: 1_000,
  traceOperations: 2_000,
  // The clocks' drift limit, and what the listing auditor passes over as young.
  policyReturnMs: 6 * 3_600_000 + 600_000,
};
