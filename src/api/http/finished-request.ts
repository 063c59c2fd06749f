/** A request that is over, for metrics and traces. */
export interface FinishedRequest {
  readonly txn: string;
  /** `object.get`, `s3.PutObject`, ... or `other`. */
  readonly operation: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly elapsedMs: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
}
