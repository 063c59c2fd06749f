/**
 * Everything that is limited at this edge, with OpenStack Swift's defaults: clients read them from
 * /info and plan by them (segment sizes, batches of bulk deletes).
 */
export interface SwiftLimits {
  readonly maxFileBytes: number;
  readonly maxMetaNameBytes: number;
  readonly maxMetaValueBytes: number;
  readonly maxMetaCount: number;
  readonly maxMetaOverallBytes: number;
  /** One header's value. */
  readonly maxHeaderBytes: number;
  /** Headers of one request, metadata included. */
  readonly maxHeaderCount: number;
  readonly maxObjectNameBytes: number;
  readonly maxContainerNameBytes: number;
  readonly maxAccountNameBytes: number;
  readonly listingLimit: number;
  /** Rolled-up names in one `path=` listing; each costs a look-up. */
  readonly maxPathLookups: number;
  readonly maxManifestParts: number;
  readonly maxManifestBytes: number;
  readonly minPartBytes: number;
  /** Manifests within manifests. */
  readonly maxManifestDepth: number;
  readonly maxDeletesPerRequest: number;
  readonly bulkConcurrency: number;
  /** A body that does not move for this long ends its request with 408. */
  readonly clientTimeoutMs: number;
  /** What is read and thrown away after an early refusal, before the connection is cut. */
  readonly maxDiscardBytes: number;
  /** How long proxies may use what they remember of a container: then all know of its versioning. */
  readonly versioningSettleMs: number;
}

export const DEFAULT_LIMITS: SwiftLimits = {
  maxFileBytes: 5_368_709_122,
  maxMetaNameBytes: 128,
  maxMetaValueBytes: 256,
  maxMetaCount: 90,
  maxMetaOverallBytes: 4096,
  maxHeaderBytes: 8192,
  maxHeaderCount: 216,
  maxObjectNameBytes: 1024,
  maxContainerNameBytes: 256,
  maxAccountNameBytes: 256,
  listingLimit: 10_000,
  maxPathLookups: 10_000,
  maxManifestParts: 1000,
  maxManifestBytes: 8 * 1024 * 1024,
  minPartBytes: 1,
  maxManifestDepth: 10,
  maxDeletesPerRequest: 10_000,
  bulkConcurrency: 8,
  clientTimeoutMs: 60_000,
  maxDiscardBytes: 1024 * 1024,
  versioningSettleMs: 2_200,
};
