/**
 * Compaction: rewrites segments of which little is needed, a bounded step at a time.
 *
 * A record that is still needed is appended again, as the current state with the body that it holds;
 * whether it is needed is decided when its group is formed, so a write that comes meanwhile is never
 * undone. A segment is given to the reaper only when the index refers to nothing in it.
 *
 * A segment in which damage was found (`suspects`) is rewritten before all others, whatever it holds:
 * then the damaged bytes are gone, and a later rebuild of the index meets no hole. What can't be read in
 * it is written again from where else it is known (salvage.ts).
 *
 * Never dropped: tombstones (repair/reclaim.ts forgets them in its time), rows that the row store needs, promises in
 * force, the partition state, forget records whose earlier records may still be in the log, seals. A forget record that is written again
 * says until which segment those may be: else every new segment would seem to hold some, and it stayed for ever.
 */
import type { Env } from '#env/env.ts';
import type { Operation } from './committer.ts';
import type { CompletenessMap } from './completeness.ts';
import type { RowPlace, RowSink } from './contract.ts';
import type { EntryStore } from './entry-store.ts';
import { type LogOwner, type RecordHeader, recordLength, SEGMENT_HEADER_BYTES } from './format.ts';
import type { DeviceLimits } from './limits.ts';
import { type BadRegion, type ScannedRecord, type ScanOptions, scanSegment } from './log-scan.ts';
import type { LogWriter } from './log-writer.ts';
import type { OperationHost } from './operations.ts';
import type { PartitionMarks } from './partition-marks.ts';
import type { Reaper } from './reaper.ts';
import { decodeForgetExtra, decodePartitionExtra, decodePromiseExtra } from './record-extra.ts';
import { loggedRow } from './record-replay.ts';
import {
  CopyOperation,
  ForgetAgainOperation,
  keyOf,
  RelocateOperation,
  RowAgainOperation,
} from './relocate.ts';
import { isExplained, salvageEntries, salvagePromises, salvageRows } from './salvage.ts';
import type { SegmentFiles } from './segment-files.ts';
import { samePlace } from './segment-statistics.ts';
import type { StoredEntry } from './stored-entry.ts';

export interface CompactorParts {
  readonly env: Env;
  readonly files: SegmentFiles;
  readonly store: EntryStore;
  readonly sink: RowSink;
  readonly writer: LogWriter;
  readonly reaper: Reaper;
  readonly completeness: CompletenessMap;
  readonly versions: PartitionMarks;
  readonly limits: DeviceLimits;
  readonly owner: LogOwner;
  readonly host: OperationHost;
  append<Result>(operation: Operation & { readonly answer: Promise<Result> }): Promise<Result>;
  /** The next group begins a new segment. */
  rotate(): void;
  flush(): void;
  damaged(entry: StoredEntry, what: string, cause: unknown): Error;
  /** A part of a segment can't be read. @throws where it is not to be taken for bad bytes */
  unreadable(error: unknown): void;
  /** Records of which nobody knows what they said go with this segment; resolves when that is on record. */
  unexplained(segment: number): Promise<void>;
}

interface Job {
  readonly segment: number;
  at: number;
  partitionsDone: boolean;
  /** Something in the segment must stay where it is. */
  blocked: boolean;
  /** Damage was found in it. */
  readonly suspect: boolean;
  /** Where nothing can be read. */
  readonly bad: BadRegion[];
  /** Set when the segment has been gone through and its rows are being written again. */
  rows: { place: RowPlace | undefined } | undefined;
}

/** Rows written again in one step. */
const ROWS_PER_STEP = 1000;
/** A segment with damage that could not be rewritten: the first wait, doubled each time up to the last. */
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 600_000;

interface Retry {
  readonly atMs: number;
  readonly waitMs: number;
}

export class Compactor {
  readonly #parts: CompactorParts;
  /** Segments in which damage was found. */
  readonly suspects = new Set<number>();
  #job: Job | undefined;
  /** Segments that are finished (the reaper has them) or must stay, by the log's end when that was found. */
  readonly #finished = new Set<number>();
  readonly #postponed = new Map<number, number>();
  /** Segments with damage that could not be rewritten. */
  readonly #retries = new Map<number, Retry>();

  constructor(parts: CompactorParts) {
    this.#parts = parts;
  }

  /** One bounded step; false: nothing to do. */
  async step(): Promise<boolean> {
    this.#parts.flush();
    this.#job ??= (await this.#suspect()) ?? (await this.#choose());
    const job = this.#job;
    if (job === undefined) return false;
    try {
      if (job.rows === undefined) await this.#advance(job);
      else await this.#writeRows(job, job.rows);
    } catch (error) {
      this.#putOff(job.segment);
      throw error;
    }
    return true;
  }

  /** The oldest segment with damage in it; the open one is closed first. */
  async #suspect(): Promise<Job | undefined> {
    const { files, writer, completeness, rotate } = this.#parts;
    for (const segment of [...this.suspects].sort((a, b) => a - b)) {
      if (!files.has(segment) || this.#finished.has(segment)) this.suspects.delete(segment);
      else if (this.#mayRetry(segment)) {
        if (segment === writer.segment) {
          rotate();
          await completeness.rewrite(); // something to commit
        }
        return newJob(segment, true);
      }
    }
    return undefined;
  }

  async #choose(): Promise<Job | undefined> {
    const { files, store, limits, writer } = this.#parts;
    let best: { segment: number; share: number } | undefined;
    for (const segment of files.numbers()) {
      if (segment >= writer.segment || this.#finished.has(segment)) continue;
      if (this.suspects.has(segment)) continue;
      if ((this.#postponed.get(segment) ?? -1) >= writer.segment) continue;
      const { live, rows } = store.statistics.get(segment);
      const size = Math.max(1, files.size(segment));
      if (live / size >= limits.compactBelow) continue;
      // Counted as they were written; how many of them are needed must be asked.
      const current = rows === 0 ? 0 : await this.#survey(segment);
      const share = (live + current) / size;
      // Asked again when the log has grown by a quarter: surveys must not cost more than writing did.
      const later = writer.segment + Math.ceil(files.numbers().length / 4);
      if (share >= limits.compactBelow) this.#postponed.set(segment, later);
      else if (best === undefined || share < best.share) best = { segment, share };
      if (rows > 0) break; // a survey reads a segment: that is enough for one step
    }
    if (best === undefined) return undefined;
    this.#parts.env.log.debug('device.compaction', best);
    return newJob(best.segment, false);
  }

  /**
   * What stopped it may soon be over (a rows database is damaged, and opened anew). Only what rewriting would gain follows from how
   * much is written: damage is not left in the log until then.
   */
  #putOff(segment: number, until = this.#parts.writer.segment): void {
    this.#job = undefined;
    if (!this.suspects.has(segment)) {
      this.#postponed.set(segment, until);
      return;
    }
    const last = this.#retries.get(segment);
    const waitMs = last === undefined ? RETRY_MS : Math.min(MAX_RETRY_MS, 2 * last.waitMs);
    this.#retries.set(segment, { atMs: this.#parts.env.clock.monotonicMs() + waitMs, waitMs });
  }

  #mayRetry(segment: number): boolean {
    return (this.#retries.get(segment)?.atMs ?? 0) <= this.#parts.env.clock.monotonicMs();
  }

  /** Bytes of the segment's records of rows and of forgetting that are needed. */
  async #survey(segment: number): Promise<number> {
    const { files, owner, store } = this.#parts;
    const { file, release } = await files.retain(segment);
    let bytes = 0;
    try {
      const scan = scanSegment(file, owner, segment, SEGMENT_HEADER_BYTES, this.#around(segment));
      for await (const batch of scan) {
        for (const { header } of batch.records) {
          if (this.#isAsked(header)) bytes += recordLength(header);
        }
      }
    } finally {
      release();
    }
    store.statistics.setRows(segment, bytes);
    return bytes;
  }

  /** What can't be read ends no reading: it would be met again and again, and the segment never be rewritten. */
  #around(segment: number): ScanOptions {
    return {
      unreadable: (error) => {
        this.#parts.unreadable(error);
        this.suspects.add(segment);
      },
    };
  }

  #isAsked(header: RecordHeader): boolean {
    const row = loggedRow(header);
    if (row !== undefined) return this.#parts.host.standing(row) !== 'dead';
    return header.kind === 'forget' && this.#stillForgets(header);
  }

  /** Whether what this record forgets may still be in the log, outside of the record's own segment. */
  #stillForgets(header: RecordHeader): boolean {
    const { until = header.segment } = decodeForgetExtra(header.extra);
    return this.#parts.files.hasAny(header.since, Math.min(header.segment, until + 1));
  }

  async #advance(job: Job): Promise<void> {
    const { files, owner, limits } = this.#parts;
    const stop = job.at + limits.compactStepBytes;
    const { file, release } = await files.retain(job.segment);
    let ended = true;
    try {
      const moves: Promise<unknown>[] = [];
      const around = this.#around(job.segment);
      for await (const batch of scanSegment(file, owner, job.segment, job.at, around)) {
        job.bad.push(...batch.bad);
        for (const record of batch.records) {
          for (const move of this.#move(job, record)) {
            move.catch(() => undefined); // awaited below; until then its failure must not end the process
            moves.push(move);
          }
        }
        job.at = batch.to;
        ended = batch.to < stop;
        if (!ended) break;
      }
      await Promise.all(moves);
    } finally {
      release();
    }
    if (ended || job.at >= files.size(job.segment)) await this.#finish(job);
  }

  #move(job: Job, record: ScannedRecord): Promise<unknown>[] {
    const { append, store } = this.#parts;
    const { header } = record;
    switch (header.kind) {
      case 'data':
      case 'blob':
      case 'metadata':
      case 'tombstone':
        return this.#moveEntry(record);
      case 'row':
        return this.#moveRow(job, header);
      case 'promise': {
        const standing = store.promisedFor(keyOf(header))?.ballot;
        const same = standing === decodePromiseExtra(header.extra).ballot;
        return same ? [append(new CopyOperation(header))] : [];
      }
      case 'forget':
        return this.#moveForget(job, header);
      case 'partition':
        return this.#movePartition(job, header);
      case 'seal':
        return [append(new CopyOperation(header))];
    }
  }

  #moveForget(job: Job, header: RecordHeader): Promise<unknown>[] {
    if (loggedRow(header) !== undefined) return this.#moveRow(job, header);
    if (!this.#stillForgets(header)) return [];
    const { until = header.segment } = decodeForgetExtra(header.extra);
    return [this.#again(job, new ForgetAgainOperation(this.#parts.host, header, until))];
  }

  #moveRow(job: Job, header: RecordHeader): Promise<unknown>[] {
    const { host } = this.#parts;
    const row = loggedRow(header)!;
    if (host.standing(row) === 'dead') return [];
    return [this.#again(job, new RowAgainOperation(host, row, recordLength(header)))];
  }

  async #again(
    job: Job,
    operation: Operation & { readonly answer: Promise<boolean> },
  ): Promise<void> {
    const isMoved = await this.#parts.append(operation);
    job.blocked ||= !isMoved;
  }

  #moveEntry({ header, data }: ScannedRecord): Promise<unknown>[] {
    const { store, host, append } = this.#parts;
    const entry = store.latest(keyOf(header));
    if (entry === undefined || !refersTo(entry, header)) return [];
    const holds = entry.body !== undefined && samePlace(entry.body.record, recordPlace(header));
    if (holds && data === undefined) {
      this.#parts.damaged(entry, 'compaction met a damaged body', undefined);
    }
    const bytes = holds && entry.body?.kind === 'inline' ? data : undefined;
    return [append(new RelocateOperation(host, header, bytes && Buffer.from(bytes)))];
  }

  #movePartition(job: Job, header: RecordHeader): Promise<unknown>[] {
    if (decodePartitionExtra(header.extra) === undefined) {
      return [this.#parts.append(new CopyOperation(header))];
    }
    if (job.partitionsDone) return [];
    job.partitionsDone = true;
    return [this.#parts.completeness.rewrite(), this.#parts.versions.rewrite()];
  }

  async #finish(job: Job): Promise<void> {
    const { store, files, writer, completeness } = this.#parts;
    const { segment } = job;
    this.#parts.flush();
    if (job.blocked) {
      this.#putOff(segment);
      return;
    }
    const isSuspect = job.suspect || job.bad.length > 0;
    if (isSuspect || store.statistics.get(segment).live > 0) {
      const lost = await salvageEntries(this.#parts, segment);
      this.#parts.flush();
      if (store.statistics.get(segment).live > 0) {
        this.#parts.env.log.error('device.compaction-stuck', { segment });
        this.#putOff(segment, writer.segment + 16);
        return;
      }
      if (isSuspect) {
        await Promise.all([completeness.rewrite(), this.#parts.versions.rewrite()]);
        await salvagePromises(this.#parts);
        // Bytes of which nobody knows what they were may have been the newest record of a row, or have forgotten a key.
        if (!isExplained(job.bad, lost, files.size(segment))) {
          await this.#parts.unexplained(segment);
          job.rows = { place: undefined };
          return;
        }
      }
    }
    this.#condemn(segment);
  }

  async #writeRows(job: Job, rows: { place: RowPlace | undefined }): Promise<void> {
    rows.place = await salvageRows(this.#parts, rows.place, ROWS_PER_STEP);
    if (rows.place === undefined) this.#condemn(job.segment);
  }

  #condemn(segment: number): void {
    const { files, reaper, store, env, sink } = this.#parts;
    this.#job = undefined;
    if (this.suspects.delete(segment)) env.log.warn('device.segment-mended', { segment });
    this.#finished.add(segment);
    reaper.add({
      from: store.position,
      folder: files.folder,
      busy: () => files.busy(segment),
      unlink: async () => {
        const [after, before] = files.neighbours(segment);
        if (files.has(segment)) await files.unlink(segment); // an error behind it comes this way again
        store.statistics.remove(segment);
        this.#finished.delete(segment);
        this.#retries.delete(segment);
        sink.noSegments(after, before);
      },
    });
  }
}

function newJob(segment: number, suspect: boolean): Job {
  const at = SEGMENT_HEADER_BYTES;
  const state = { partitionsDone: false, blocked: false, rows: undefined, bad: [] };
  return { segment, at, suspect, ...state };
}

function refersTo(entry: StoredEntry, header: RecordHeader): boolean {
  if (samePlace(entry.record, recordPlace(header))) return true;
  return entry.body !== undefined && samePlace(entry.body.record, recordPlace(header));
}

function recordPlace(header: RecordHeader): { segment: number; offset: number; length: number } {
  return { segment: header.segment, offset: header.offset, length: recordLength(header) };
}
