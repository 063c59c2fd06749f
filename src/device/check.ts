/** `anello device check`: reads everything once and says what is wrong with it. */

import { dataTimestamp } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import type { Timestamp } from '#base/timestamp.ts';
import { FLAG_CLEAN_SHUTDOWN, type RecordHeader, type RecordKind } from './format.ts';
import type { DeviceInspector } from './inspect.ts';
import { isWhole, type ScannedBatch } from './log-scan.ts';
import { decodeBlobExtra } from './record-extra.ts';
import { keyText } from './stored-entry.ts';

export interface Problem {
  readonly where: string;
  readonly what: string;
}

export interface CheckReport {
  readonly segments: number;
  readonly batches: number;
  readonly records: Readonly<Partial<Record<RecordKind, number>>>;
  readonly logBytes: number;
  readonly blobs: number;
  readonly blobBytes: number;
  /** Files that no current record names: swept at the next start. */
  readonly orphans: number;
  /** The log ends with the mark of a clean shutdown. */
  readonly clean: boolean;
  readonly problems: readonly Problem[];
}

/** The newest data part of a key that ever had a blob. */
interface BlobOwner {
  timestamp: Timestamp;
  blob: string | undefined;
  readonly path: string;
}

/** What one person can read; the rest is counted only. */
export const MAX_PROBLEMS = 10_000;

export class DeviceCheck {
  readonly #inspector: DeviceInspector;
  readonly #problems: Problem[] = [];
  readonly #records: Partial<Record<RecordKind, number>> = {};
  readonly #owners = new Map<string, BlobOwner>();
  #batches = 0;
  #lastBatch = 0;
  #clean = false;

  constructor(inspector: DeviceInspector) {
    this.#inspector = inspector;
  }

  /** `progress` is told the share of the log that has been read. */
  async run(progress: (share: number) => void = () => undefined): Promise<CheckReport> {
    const segments = await this.#inspector.segments();
    const logBytes = segments.reduce((sum, { bytes }) => sum + bytes, 0);
    let read = 0;
    for (const { segment, bytes, headerProblem } of segments) {
      if (headerProblem !== undefined) this.#problem(`segment ${segment}`, headerProblem);
      for await (const batch of this.#inspector.batches(segment)) this.#batch(segment, batch);
      read += bytes;
      progress(read / logBytes);
    }
    const blobs = await this.#checkBlobs();
    return {
      segments: segments.length,
      batches: this.#batches,
      records: this.#records,
      logBytes,
      ...blobs,
      clean: this.#clean,
      problems: this.#problems,
    };
  }

  #batch(segment: number, batch: ScannedBatch): void {
    const where = `segment ${segment}, offset ${batch.from}`;
    if (batch.header === undefined) {
      this.#problem(where, `${batch.to - batch.from} bytes that are no batch`);
      return;
    }
    this.#batches++;
    this.#clean = (batch.header.flags & FLAG_CLEAN_SHUTDOWN) !== 0;
    if (this.#lastBatch > 0 && batch.header.number <= this.#lastBatch) {
      this.#problem(where, `batch ${batch.header.number} after batch ${this.#lastBatch}`);
    }
    this.#lastBatch = batch.header.number;
    for (const bad of batch.bad) {
      this.#problem(
        `segment ${segment}, offset ${bad.from}`,
        `${bad.to - bad.from} bytes that are no record`,
      );
    }
    if (
      !isWhole(batch) &&
      batch.bad.length === 0 &&
      batch.records.length !== batch.header.records
    ) {
      this.#problem(where, `${batch.records.length} records of ${batch.header.records}`);
    }
    for (const { header, data } of batch.records) this.#record(header, data !== undefined);
  }

  #record(header: RecordHeader, isDataGood: boolean): void {
    const where = `segment ${header.segment}, offset ${header.offset}, ${header.path}`;
    this.#records[header.kind] = (this.#records[header.kind] ?? 0) + 1;
    if (!isDataGood) this.#problem(where, 'the body is damaged');
    try {
      this.#follow(header);
    } catch (error) {
      this.#problem(where, `its fields cannot be decoded: ${codeOf(error)}`);
    }
  }

  /** Which blob is the current one of each key that had any. */
  #follow(header: RecordHeader): void {
    const key = keyText({ policy: header.policy, hash: header.hash });
    if (header.kind === 'forget') this.#owners.delete(key);
    if (!['data', 'blob', 'metadata', 'tombstone', 'row'].includes(header.kind)) return;
    const state = decodeState(header.state);
    if (header.kind === 'row') return;
    const owner = this.#owners.get(key);
    const timestamp = dataTimestamp(state);
    if (header.kind === 'blob') {
      const { name } = decodeBlobExtra(header.extra);
      if (owner === undefined) this.#owners.set(key, { timestamp, blob: name, path: header.path });
      else if (timestamp >= owner.timestamp) Object.assign(owner, { timestamp, blob: name });
      return;
    }
    if (owner === undefined) return;
    const freed = state.data?.kind !== 'live' && timestamp === owner.timestamp;
    if (timestamp > owner.timestamp || freed || header.kind === 'data') {
      if (timestamp >= owner.timestamp) Object.assign(owner, { timestamp, blob: undefined });
    }
  }

  async #checkBlobs(): Promise<Pick<CheckReport, 'blobs' | 'blobBytes' | 'orphans'>> {
    const current = new Map<string, string>();
    for (const { blob, path } of this.#owners.values()) {
      if (blob !== undefined) current.set(blob, path);
    }
    let [blobs, blobBytes, orphans] = [0, 0, 0];
    for await (const { name, bytes, problem } of this.#inspector.blobs()) {
      blobs++;
      blobBytes += bytes;
      const isCurrent = current.delete(name);
      if (!isCurrent) orphans++;
      else if (problem !== undefined) this.#problem(`blob ${name}`, problem);
    }
    for (const [name, path] of current) this.#problem(`blob ${name}, ${path}`, 'is missing');
    return { blobs, blobBytes, orphans };
  }

  #problem(where: string, what: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ where, what });
  }
}
