/**
 * Brings the view of a device up to the end of its log: after a crash from the index's position, after
 * the loss of the index (or of the rows database) from the beginning.
 *
 * A bad batch with a good one behind it is damage: what of it can be read counts, the rest is
 * quarantined, and its keys (all, where they are unknown) are not complete any more. What such a hole had forgotten
 * index or rows know still, or again: peers must be asked (repair/recall.ts). A bad batch at the
 * very end was probably being written when the power went: it is cut off; see `#takeLast`.
 */
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { EntryKey, LoggedRow, LogPosition, RowSink } from './contract.ts';
import type { EntryStore } from './entry-store.ts';
import {
  BATCH_HEADER_BYTES,
  decodeSegmentHeader,
  encodeBatchHeader,
  type LogOwner,
  SEGMENT_HEADER_BYTES,
} from './format.ts';
import type { HoleMark } from './hole-mark.ts';
import { isWhole, type ScannedBatch, scanSegment } from './log-scan.ts';
import type { LogEnd } from './log-writer.ts';
import type { Quarantine } from './quarantine.ts';
import { isBefore } from './reaper.ts';
import type { RecordReplay } from './record-replay.ts';
import type { SegmentFiles } from './segment-files.ts';

export interface RecoveryReport {
  end: LogEnd;
  tailCut: boolean;
  /** Keys whose records were damaged; undefined: records of unknown keys were. */
  lost: (EntryKey | undefined)[];
  /** Row records may have been lost that the row store does not have. */
  lostRows: boolean;
  /** Keys whose body turned out damaged while their state is good. */
  bodies: EntryKey[];
  /** Segments with damage in them: to be rewritten, so that the next rebuild does not meet it again. */
  suspects: Set<number>;
  records: number;
}

const FLUSH_RECORDS = 512;
const PROGRESS_BYTES = 1024 ** 3;
const START: LogPosition = { segment: 0, offset: 0 };

export interface RecoveryParts {
  readonly env: Env;
  readonly files: SegmentFiles;
  readonly owner: LogOwner;
  readonly store: EntryStore;
  readonly sink: RowSink | undefined;
  readonly replay: RecordReplay;
  readonly quarantine: Quarantine;
  readonly lastBatch: number;
  readonly hole: HoleMark;
  /** The index was lost, and what is there of it comes from this log. */
  readonly isIndexLost: boolean;
}

export class Recovery {
  readonly #parts: RecoveryParts;
  readonly #report: RecoveryReport;
  readonly #indexFrom: LogPosition;
  readonly #rowsFrom: LogPosition;
  #rows: LoggedRow[] = [];
  #sinceFlush = 0;
  #bytes = 0;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
    this.#indexFrom = parts.store.position;
    this.#rowsFrom = parts.sink === undefined ? this.#indexFrom : (parts.sink.applied() ?? START);
    this.#report = {
      end: { ...this.#indexFrom, batch: parts.lastBatch },
      tailCut: false,
      lost: parts.hole.hasLoss ? [undefined] : [],
      lostRows: parts.hole.hasLoss,
      bodies: [],
      suspects: new Set(),
      records: 0,
    };
  }

  /** Something that was synced is missing: it is the caller's to put that on record. */
  get foundLoss(): boolean {
    const { lost, lostRows } = this.#report;
    return lostRows || lost.length > 0;
  }

  /** A bad last batch was cut off, which may have been synced: that too. */
  get cutTail(): boolean {
    return this.#report.tailCut;
  }

  /** Number of the last batch that was taken. */
  get lastBatch(): number {
    return this.#report.end.batch;
  }

  async run(): Promise<RecoveryReport> {
    await this.#dropHalfMade();
    const { files, env } = this.#parts;
    await env.disk.syncDirectory(files.folder);
    const from = isBefore(this.#rowsFrom, this.#indexFrom) ? this.#rowsFrom : this.#indexFrom;
    let held: ScannedBatch | undefined;
    for (const segment of files.numbers()) {
      if (segment < from.segment) continue;
      const start = segment === from.segment ? from.offset : 0;
      const { file, release } = await files.retain(segment);
      try {
        await this.#checkHeader(segment);
        // A new segment is begun after the last batch of the one before was synced.
        if (held !== undefined) await this.#take(held);
        held = undefined;
        const at = Math.max(start, SEGMENT_HEADER_BYTES);
        this.#moveTo({ segment, offset: at });
        for await (const batch of scanSegment(file, this.#parts.owner, segment, at)) {
          if (held !== undefined) await this.#take(held);
          held = batch;
        }
      } finally {
        release();
      }
    }
    if (held !== undefined) await this.#takeLast(held);
    this.#flush();
    return this.#report;
  }

  /** A crash while a segment was being made leaves a last file without a good header, or with nothing. */
  async #dropHalfMade(): Promise<void> {
    const { files, env } = this.#parts;
    const last = files.numbers().at(-1);
    if (last === undefined || files.size(last) > SEGMENT_HEADER_BYTES) return;
    const bytes = await env.disk.read(files.path(last));
    if (decodeSegmentHeader(bytes) !== undefined) return;
    await files.unlink(last);
  }

  async #checkHeader(segment: number): Promise<void> {
    const { files, owner, env, quarantine } = this.#parts;
    const { file, release } = await files.retain(segment);
    const bytes = await file.read(0, SEGMENT_HEADER_BYTES).finally(release);
    const header = decodeSegmentHeader(bytes);
    if (header === undefined) {
      env.log.error('device.segment-header-damaged', { segment });
      const note = { what: 'a segment header is damaged', from: files.path(segment), segment };
      await quarantine.keep(`${segment}-0.header`, bytes, note);
      return;
    }
    if (header.device === owner.device && header.incarnation === owner.incarnation) return;
    throw new OperatingError('foreign-segment', 'a segment belongs to another device', {
      segment,
      device: header.device,
    });
  }

  /**
   * The last batch of the log: nothing good is behind it. One that the file is too short for was never
   * acknowledged, because its sync would have made the file's length durable: a kill leaves such ones.
   * One of full length may have been acknowledged, and have gone bad since. What it forgot, if so, an index that was
   * there has forgotten (it lacks the last seconds at most, and nobody has reclaimed what was deleted in those).
   */
  async #takeLast(batch: ScannedBatch): Promise<void> {
    if (isWhole(batch)) {
      await this.#writeAgain(batch);
      return this.#take(batch);
    }
    const { files, quarantine, env } = this.#parts;
    const segment = this.#report.end.segment;
    const size = files.size(segment);
    const needed = BATCH_HEADER_BYTES + (batch.header?.length ?? 0);
    const unfinished = size - batch.from < needed;
    env.log.warn('device.tail-cut', {
      segment,
      from: batch.from,
      bytes: size - batch.from,
      unfinished,
    });
    if (!unfinished) {
      const what = 'a bad last batch was cut off';
      await this.#keepBytes(quarantine, segment, batch.from, size, what);
      if (this.#parts.isIndexLost) this.#parts.hole.note('forgotten');
      await this.#noteCut();
    }
    const file = await env.disk.open(files.path(segment), 'write');
    try {
      await file.truncate(batch.from);
      await file.sync();
    } finally {
      await file.close();
    }
    files.setSize(segment, batch.from);
  }

  /** Durable before the bytes go: a start that is killed behind that would leave a log with nothing wrong in it. */
  async #noteCut(): Promise<void> {
    this.#report.tailCut = true;
    this.#flush();
    const { store } = this.#parts;
    store.index.database.transaction(() => store.onFlush());
    await store.index.database.checkpoint();
  }

  /**
   * After a kill or a failed sync the last batch may be in the page cache only. It is about to be believed,
   * and the index to be built on it, so it is made durable first: an index must never know more than the
   * log. A sync alone does not do that: after one that failed, the kernel takes the pages for clean, and the
   * next one succeeds without writing them. Each batch before this one was synced before the next was written.
   */
  async #writeAgain({ header, body }: ScannedBatch): Promise<void> {
    const { files, env, owner } = this.#parts;
    const file = await env.disk.open(files.path(header!.segment), 'write', 'synced');
    try {
      await file.write(header!.offset, [encodeBatchHeader(header!, owner), body]);
    } finally {
      await file.close();
    }
  }

  async #take(batch: ScannedBatch): Promise<void> {
    const segment = this.#report.end.segment;
    const from: LogPosition = { segment, offset: batch.from };
    const forIndex = !isBefore(from, this.#indexFrom);
    const forRows = !isBefore(from, this.#rowsFrom);
    if (!isWhole(batch)) {
      this.#report.suspects.add(segment);
      if (forRows && batch.bad.length > 0) this.#report.lostRows = true;
      if (batch.bad.length > 0) this.#parts.hole.note('loss');
      if (forIndex) await this.#takeDamaged(batch, segment);
    }
    const writtenMs = Math.floor((batch.header?.writtenMicros ?? 0) / 1000);
    for (const { header, data } of batch.records) {
      if (forIndex) this.#parts.replay.apply(header, data, writtenMs);
      const row = forRows ? this.#parts.replay.row(header) : undefined;
      if (row !== undefined)
        this.#rows.push({ row, position: { segment, offset: header.offset }, writtenMs });
    }
    if (batch.header !== undefined)
      this.#report.end = { ...this.#report.end, batch: batch.header.number };
    this.#moveTo({ segment, offset: batch.to });
    this.#report.records += batch.records.length;
    this.#sinceFlush += batch.records.length;
    this.#progress(batch.to - batch.from);
    if (this.#sinceFlush >= FLUSH_RECORDS) this.#flush();
  }

  async #takeDamaged(batch: ScannedBatch, segment: number): Promise<void> {
    const { quarantine } = this.#parts;
    for (const { from, to } of batch.bad) {
      await this.#keepBytes(quarantine, segment, from, to, 'records that cannot be read');
      this.#report.lost.push(undefined);
    }
    for (const { header, data } of batch.records) {
      if (data !== undefined) continue;
      const key = { policy: header.policy, hash: Buffer.from(header.hash) };
      this.#report.bodies.push(key);
      const end = header.offset + header.headLength + header.dataLength;
      await this.#keepBytes(
        quarantine,
        segment,
        header.offset,
        end,
        'the body of a record is damaged',
      );
    }
  }

  async #keepBytes(
    quarantine: Quarantine,
    segment: number,
    from: number,
    to: number,
    what: string,
  ): Promise<void> {
    const { files } = this.#parts;
    const { file, release } = await files.retain(segment);
    const bytes = await file.read(from, to - from).finally(release);
    const note = { what, from: files.path(segment), segment, offset: from, length: to - from };
    await quarantine.keep(`${segment}-${from}.log`, bytes, note);
  }

  #moveTo(position: LogPosition): void {
    this.#report.end = { ...position, batch: this.#report.end.batch };
    if (isBefore(this.#indexFrom, position)) this.#parts.replay.commit(position);
  }

  #flush(): void {
    this.#parts.store.flush();
    const { segment, offset } = this.#report.end;
    const { sink } = this.#parts;
    const applied = sink?.applied();
    // Also where the rows know of more than the log has (it lost its end): what comes next must count.
    if (applied?.segment !== segment || applied.offset !== offset) {
      sink?.apply(this.#rows, { segment, offset });
    }
    this.#rows = [];
    this.#sinceFlush = 0;
  }

  #progress(bytes: number): void {
    const before = Math.floor(this.#bytes / PROGRESS_BYTES);
    this.#bytes += bytes;
    if (Math.floor(this.#bytes / PROGRESS_BYTES) === before) return;
    const { env, files } = this.#parts;
    const share = Math.round((100 * this.#bytes) / Math.max(1, files.totalBytes()));
    env.log.info('device.replay', { records: this.#report.records, bytes: this.#bytes, share });
  }
}
