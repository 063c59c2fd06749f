/**
 * The auditor's way through the log: every batch and record head, every block of data, in order.
 *
 * A bad body of an entry is quarantined and fetched again. Where a head can't be read, the bytes are kept
 * for a person and the segment is suspect: compaction rewrites it (compactor.ts). Damage in what nothing
 * needs any more is no damage; it goes with its segment.
 *
 * Against the index: a record that is newer than what the index says of its key means that the index
 * has lost something.
 */
import type { LogPosition } from './contract.ts';
import type { EntryStore } from './entry-store.ts';
import { damaged } from './errors.ts';
import {
  decodeSegmentHeader,
  type LogOwner,
  type RecordHeader,
  recordLength,
  SEGMENT_HEADER_BYTES,
} from './format.ts';
import { type BadRegion, type ScannedBatch, type ScannedRecord, scanSegment } from './log-scan.ts';
import type { Quarantine } from './quarantine.ts';
import { isBefore } from './reaper.ts';
import { keyOf } from './relocate.ts';
import type { SegmentFiles } from './segment-files.ts';
import { samePlace } from './segment-statistics.ts';
import { keyText, type StoredEntry } from './stored-entry.ts';

export interface LogAuditParts {
  readonly files: SegmentFiles;
  readonly owner: LogOwner;
  readonly store: EntryStore;
  readonly quarantine: Quarantine;
  /** The body of an entry is bad. */
  damaged(entry: StoredEntry, what: string, cause?: unknown): void;
  /** The disk can't read a part of the log. @throws where that is not to be taken for bad bytes */
  unreadable(error: unknown): void;
  /** Something in this segment can't be read. */
  suspect(segment: number, region: BadRegion | undefined): void;
  /** Records of keys that the index does not know are forgotten again in segments below this. */
  forgetBelow(): number;
  forgetAgain(header: RecordHeader): Promise<unknown>;
}

/** Small: only what a step reads is read ahead. */
const WINDOW_BYTES = 256 * 1024;
const KEPT_BYTES = 1024 * 1024;

export class LogAudit {
  readonly #parts: LogAuditParts;
  /** Keys that were forgotten again in this step. */
  #forgotten = new Set<string>();

  constructor(parts: LogAuditParts) {
    this.#parts = parts;
  }

  /** Reads about `limit` bytes from `at` on. `next`: where to go on; undefined: that was the end. */
  async step(
    at: LogPosition,
    limit: number,
  ): Promise<{ readonly bytes: number; readonly next: LogPosition | undefined }> {
    const { files } = this.#parts;
    this.#forgotten.clear();
    const segment = files.numbers().find((number) => number >= at.segment);
    if (segment === undefined) return { bytes: 0, next: undefined };
    const offset = segment === at.segment ? at.offset : 0;
    const end = await this.#readSegment(segment, offset, limit);
    const next = end.done ? { segment: segment + 1, offset: 0 } : { segment, offset: end.offset };
    return { bytes: end.offset - offset, next };
  }

  async #readSegment(
    segment: number,
    offset: number,
    limit: number,
  ): Promise<{ readonly offset: number; readonly done: boolean }> {
    const { files, owner } = this.#parts;
    const { file, release } = await files.retain(segment);
    const unreadable = (error: unknown): undefined => {
      this.#parts.unreadable(error);
      this.#parts.suspect(segment, undefined);
    };
    try {
      // Of the open segment, as far as it is synced now.
      const to = files.size(segment);
      const fileBytes = await file.size();
      if (fileBytes < to) await this.#bad({ segment, from: fileBytes, to });
      if (offset === 0) {
        const head = file.read(0, SEGMENT_HEADER_BYTES);
        const header = await head.then(decodeSegmentHeader, unreadable);
        if (header === undefined) await this.#bad({ segment, from: 0, to: SEGMENT_HEADER_BYTES });
      }
      const from = Math.max(offset, SEGMENT_HEADER_BYTES);
      let reached = from;
      const options = { to, windowBytes: WINDOW_BYTES, unreadable };
      for await (const batch of scanSegment(file, owner, segment, from, options)) {
        await this.#batch(segment, batch);
        reached = batch.to;
        if (reached - from >= limit) break;
      }
      return { offset: reached, done: reached >= Math.min(to, fileBytes) };
    } finally {
      release();
    }
  }

  async #batch(segment: number, batch: ScannedBatch): Promise<void> {
    if (batch.header === undefined && batch.bad.length === 0) {
      this.#parts.suspect(segment, { segment, from: batch.from, to: batch.from });
    }
    for (const region of batch.bad) await this.#bad(region);
    for (const record of batch.records) await this.#record(record);
  }

  async #bad(region: BadRegion): Promise<void> {
    const { files, quarantine, suspect } = this.#parts;
    const { segment, from, to } = region;
    suspect(segment, region);
    const { file, release } = await files.retain(segment);
    const bytes = await file
      .read(from, Math.min(to - from, KEPT_BYTES))
      .catch(() => Buffer.alloc(0)) // unreadable: the note is what can be kept
      .finally(release);
    const what = 'the auditor met records that cannot be read';
    const note = { what, from: files.path(segment), segment, offset: from, length: to - from };
    await quarantine.keep(`${segment}-${from}.log`, bytes, note);
  }

  async #record({ header, data }: ScannedRecord): Promise<void> {
    if (!['data', 'blob', 'metadata', 'tombstone'].includes(header.kind)) return;
    const entry = this.#parts.store.get(keyOf(header));
    const place = { segment: header.segment, offset: header.offset, length: recordLength(header) };
    if (entry === undefined) return this.#unknown(header);
    if (isBefore(entry.record, place)) {
      throw damaged('the index lacks a record', { path: header.path, ...place });
    }
    const { body } = entry;
    const isBody = body?.kind === 'inline' && samePlace(body.record, place);
    if (isBody && data === undefined) this.#parts.damaged(entry, 'the auditor met a damaged body');
  }

  /** A forget record of it may have been among what can't be read. */
  async #unknown(header: RecordHeader): Promise<void> {
    const { forgetBelow, forgetAgain } = this.#parts;
    const key = keyText(keyOf(header));
    if (header.segment >= forgetBelow() || this.#forgotten.has(key)) return;
    this.#forgotten.add(key);
    await forgetAgain(header);
  }
}
