/** Everything that is limited at this edge, with S3's own numbers where it has some. */
export interface S3Limits {
  readonly maxPutBytes: number;
  readonly maxPartBytes: number;
  /** All parts of an upload but the last. */
  readonly minPartBytes: number;
  readonly maxObjectBytes: number;
  readonly maxParts: number;
  readonly maxKeyBytes: number;
  /** Names and values of user metadata, all together. */
  readonly maxMetadataBytes: number;
  readonly maxHeaderCount: number;
  readonly maxListKeys: number;
  readonly maxDeletes: number;
  readonly maxTags: number;
  /** XML and JSON documents. */
  readonly maxDocumentBytes: number;
  /** CompleteMultipartUpload and DeleteObjects name thousands of things. */
  readonly maxListDocumentBytes: number;
  readonly maxPolicyBytes: number;
  /** Fields of a POST form before its file. */
  readonly maxFormBytes: number;
  readonly concurrency: number;
  readonly clientTimeoutMs: number;
  readonly maxDiscardBytes: number;
  /** How long proxies may use what they remember of a bucket: then all know of its versioning, its lock. */
  readonly bucketSettleMs: number;
  /** How often access logs are written. */
  readonly accessLogMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export const DEFAULT_S3_LIMITS: S3Limits = {
  maxPutBytes: 5 * GIB,
  maxPartBytes: 5 * GIB,
  minPartBytes: 5 * MIB,
  maxObjectBytes: 5 * 1024 * GIB,
  maxParts: 10_000,
  maxKeyBytes: 1024,
  maxMetadataBytes: 2 * KIB,
  maxHeaderCount: 216,
  maxListKeys: 1000,
  maxDeletes: 1000,
  maxTags: 10,
  maxDocumentBytes: 256 * KIB,
  maxListDocumentBytes: 4 * MIB,
  maxPolicyBytes: 20 * KIB,
  maxFormBytes: 64 * KIB,
  concurrency: 16,
  clientTimeoutMs: 60_000,
  maxDiscardBytes: MIB,
  bucketSettleMs: 2_200,
  accessLogMs: 60_000,
};
