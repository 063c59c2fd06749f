/**
 * The end of the log: builds batches and appends them, one at a time, each synced before the next is
 * written. So every batch header can say that the batch before it was synced, and a bad batch with a
 * good one behind it is damage, never a torn write.
 *
 * A new segment counts after its header and its directory entry are synced.
 */
import { assert } from '#base/assert.ts';
import type { Clock, Disk, DiskFile } from '#env/env.ts';
import type { LogPosition } from './contract.ts';
import {
  BATCH_HEADER_BYTES,
  encodeBatchHeader,
  encodeSegmentHeader,
  FLAG_CLEAN_SHUTDOWN,
  FLAG_PREVIOUS_SYNCED,
  type LogOwner,
  putRecordHead,
  type RecordParts,
  recordHeadLength,
  SEGMENT_HEADER_BYTES,
  saltOf,
} from './format.ts';
import type { SegmentFiles } from './segment-files.ts';
import type { RecordPlace } from './stored-entry.ts';

export interface LogEnd {
  readonly segment: number;
  readonly offset: number;
  /** Number of the last good batch; 0: none. */
  readonly batch: number;
}

/** Bodies up to this are copied beside their heads: a system call costs by the pieces it gets. */
const COPY_BYTES = 32 * 1024;
const SCRATCH_BYTES = 512 * 1024;

/**
 * The records of one commit, encoded at their final place. Heads and small bodies are written into one
 * buffer, which the next commit uses again; large bodies stay where they are.
 */
export class BatchBuilder {
  readonly segment: number;
  /** In the batch's header, and so what entries count as their time of storing. */
  readonly writtenMicros: number;
  readonly #start: number;
  readonly #salt: number;
  readonly #parts: Uint8Array[] = [];
  #scratch: Buffer;
  /** Of the scratch: what is filled, and what of it is in `#parts` already. */
  #filled = 0;
  #taken = 0;
  bytes = 0;
  records = 0;

  constructor(
    segment: number,
    start: number,
    salt: number,
    writtenMicros: number,
    scratch: Buffer,
  ) {
    this.segment = segment;
    this.writtenMicros = writtenMicros;
    this.#start = start;
    this.#salt = salt;
    this.#scratch = scratch;
  }

  get writtenMs(): number {
    return Math.floor(this.writtenMicros / 1000);
  }

  /** @throws OperatingError `too-large` */
  add(record: RecordParts, data?: Uint8Array): { place: RecordPlace; dataStart: number } {
    const headLength = recordHeadLength(record);
    const dataLength = data?.length ?? 0;
    const copied = dataLength <= COPY_BYTES ? dataLength : 0;
    const offset = this.#start + BATCH_HEADER_BYTES + this.bytes;
    const head = this.#take(headLength + copied).subarray(0, headLength);
    putRecordHead(head, record, this.segment, offset, this.#salt);
    if (data !== undefined && copied > 0) this.#scratch.set(data, this.#filled - copied);
    else if (data !== undefined && dataLength > 0) {
      this.#cut();
      this.#parts.push(data);
    }
    const length = headLength + dataLength;
    this.bytes += length;
    this.records++;
    return { place: { segment: this.segment, offset, length }, dataStart: offset + headLength };
  }

  /** What is to be written behind the batch's header. */
  finish(): readonly Uint8Array[] {
    this.#cut();
    return this.#parts;
  }

  #take(length: number): Buffer {
    if (this.#filled + length > this.#scratch.length) {
      this.#cut();
      this.#scratch = Buffer.allocUnsafe(Math.max(length, SCRATCH_BYTES));
      this.#filled = 0;
      this.#taken = 0;
    }
    const start = this.#filled;
    this.#filled += length;
    return this.#scratch.subarray(start, this.#filled);
  }

  #cut(): void {
    if (this.#filled > this.#taken)
      this.#parts.push(this.#scratch.subarray(this.#taken, this.#filled));
    this.#taken = this.#filled;
  }
}

export class LogWriter {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #files: SegmentFiles;
  readonly #owner: LogOwner;
  readonly #salt: number;
  #file: DiskFile | undefined;
  #end: LogEnd;
  /** Identity of the open segment's file, to tell that it was taken away. */
  #identity: string | undefined;
  /** One commit at a time: the buffer of the last one is free when the next is built. */
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  syncs = 0;

  constructor(disk: Disk, clock: Clock, files: SegmentFiles, owner: LogOwner, end: LogEnd) {
    this.#disk = disk;
    this.#clock = clock;
    this.#files = files;
    this.#owner = owner;
    this.#salt = saltOf(owner.incarnation);
    this.#end = end;
  }

  /** Where the next batch begins. */
  get position(): LogPosition {
    return { segment: this.#end.segment, offset: this.#end.offset };
  }

  get segment(): number {
    return this.#end.segment;
  }

  /** Number of the last batch. */
  get batch(): number {
    return this.#end.batch;
  }

  /** Continues the last segment, or makes the first (`segment` 0: there is none yet). */
  async open(): Promise<void> {
    if (this.#end.segment === 0) return this.rotate();
    const { segment } = this.#end;
    this.#file = await this.#disk.open(this.#files.path(segment), 'write', 'synced');
    this.#identity = (await this.#file.stat()).identity;
    this.#files.adopt(segment, this.#file);
  }

  async rotate(): Promise<void> {
    const segment = this.#end.segment + 1;
    const path = this.#files.path(segment);
    const file = await this.#disk.open(path, 'create', 'synced');
    const header = encodeSegmentHeader({
      ...this.#owner,
      segment,
      madeMicros: this.#clock.wallMicros(),
    });
    try {
      await this.#write(file, 0, [header]);
      await this.#disk.syncDirectory(this.#files.folder);
    } catch (error) {
      await file.close();
      await this.#disk.unlink(path).catch(() => undefined); // the first error counts
      throw error;
    }
    this.#files.disown(this.#end.segment);
    this.#file = file;
    this.#identity = (await file.stat()).identity;
    this.#files.adopt(segment, file);
    this.#files.setSize(segment, SEGMENT_HEADER_BYTES);
    this.#end = { ...this.#end, segment, offset: SEGMENT_HEADER_BYTES };
  }

  builder(): BatchBuilder {
    const { segment, offset } = this.#end;
    return new BatchBuilder(segment, offset, this.#salt, this.#clock.wallMicros(), this.#scratch);
  }

  /** Writes and syncs one batch. Resolves with the position after it. */
  async commit(batch: BatchBuilder, clean = false): Promise<LogPosition> {
    const file = this.#file;
    assert(file !== undefined && batch.segment === this.#end.segment, 'an open segment');
    const header = this.#header(batch, clean);
    await this.#write(file, this.#end.offset, [header, ...batch.finish()]);
    const offset = this.#end.offset + BATCH_HEADER_BYTES + batch.bytes;
    this.#end = { segment: batch.segment, offset, batch: this.#end.batch + 1 };
    this.#files.setSize(batch.segment, offset);
    return this.position;
  }

  #header(batch: BatchBuilder, clean: boolean): Buffer {
    const header = {
      flags: FLAG_PREVIOUS_SYNCED | (clean ? FLAG_CLEAN_SHUTDOWN : 0),
      number: this.#end.batch + 1,
      segment: batch.segment,
      offset: this.#end.offset,
      writtenMicros: batch.writtenMicros,
      length: batch.bytes,
      records: batch.records,
    };
    return encodeBatchHeader(header, this.#owner);
  }

  /** After a write that the file system refused: takes back what it may have written. */
  async takeBack(): Promise<void> {
    await this.#file?.truncate(this.#end.offset);
  }

  /** The open segment's name still names the file that is written to. */
  isInPlace(): boolean {
    return this.#disk.statSync(this.#files.path(this.#end.segment))?.identity === this.#identity;
  }

  /**
   * Durable when it resolves. After an error nothing is known of these bytes; where the disk was full
   * they are cut off again, any other error takes the device out of service.
   */
  #write(file: DiskFile, position: number, parts: readonly Uint8Array[]): Promise<void> {
    this.syncs++;
    return file.write(position, parts);
  }
}
