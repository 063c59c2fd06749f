/**
 * Reads a segment from a position to its end: batches, and what could not be read.
 *
 * A reader never trusts a length before the header that holds it has been verified, and finds its way
 * again after damage: to the next good record, and to the next good batch header. Records are checked
 * each on its own, so a batch whose header is bad loses none that can be read. What "bad" means (a torn tail, or damage) is decided by who asks: it depends on
 * what comes after.
 */
import type { DiskFile } from '#env/env.ts';
import { firstBadBlock } from './blocks.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  type BatchHeader,
  decodeBatchHeader,
  decodeRecordHead,
  type LogOwner,
  MAX_BATCH_BYTES,
  RECORD_MAGIC,
  type RecordHeader,
  recordLength,
  saltOf,
} from './format.ts';

export interface ScannedRecord {
  readonly header: RecordHeader;
  /** Undefined: the data does not match its checksums. Empty where there is none. */
  readonly data: Buffer | undefined;
}

export interface BadRegion {
  readonly segment: number;
  readonly from: number;
  readonly to: number;
}

export interface ScannedBatch {
  /** Undefined: it could not be read; `records` are those that were found up to the next batch. */
  readonly header: BatchHeader | undefined;
  readonly from: number;
  readonly to: number;
  /** What follows the header, as it was read. */
  readonly body: Buffer;
  readonly records: readonly ScannedRecord[];
  /** Parts of the batch that hold no record that can be read (a bad batch header is none: it holds no record). */
  readonly bad: readonly BadRegion[];
}

/** Whether every byte of the batch is good. */
export function isWhole(batch: ScannedBatch): boolean {
  return (
    batch.header !== undefined &&
    batch.bad.length === 0 &&
    batch.records.length === batch.header.records &&
    batch.records.every((record) => record.data !== undefined)
  );
}

const WINDOW_BYTES = 4 * 1024 * 1024;
/** Around a sector that can't be read. */
const PIECE_BYTES = 4096;

/** Sequential reads through a window, so that small batches do not cost a read each. */
class Window {
  readonly #file: DiskFile;
  readonly #size: number;
  readonly #unreadable: ScanOptions['unreadable'];
  #start = 0;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(file: DiskFile, size: number, unreadable: ScanOptions['unreadable']) {
    this.#file = file;
    this.#size = size;
    this.#unreadable = unreadable;
  }

  /** Up to `length` bytes from `position`; fewer only at the end of the file. */
  async at(position: number, length: number): Promise<Buffer> {
    const end = this.#start + this.#bytes.length;
    if (position < this.#start || position + length > end) {
      this.#bytes = await this.#read(position, Math.max(length, this.#size));
      this.#start = position;
    }
    return this.#bytes.subarray(position - this.#start, position - this.#start + length);
  }

  async #read(position: number, length: number): Promise<Buffer> {
    try {
      return await this.#file.read(position, length);
    } catch (error) {
      if (this.#unreadable === undefined) throw error;
      this.#unreadable(error);
      return this.#readAround(position, length);
    }
  }

  /** With zeros for what can't be read: nothing good is made of them. */
  async #readAround(position: number, length: number): Promise<Buffer> {
    const end = Math.min(position + length, await this.#file.size());
    const pieces: Buffer[] = [];
    for (let at = position; at < end; at += PIECE_BYTES) {
      const size = Math.min(PIECE_BYTES, end - at);
      pieces.push(await this.#file.read(at, size).catch(() => Buffer.alloc(size)));
    }
    return Buffer.concat(pieces);
  }
}

export interface ScanOptions {
  /** Where to end, if that is before the end of the file. */
  readonly to?: number;
  /** Bytes read ahead. */
  readonly windowBytes?: number;
  /**
   * Told of an error of the disk: what can't be read is then taken for bad bytes, unless this throws. Without it
   * the error ends the reading: a start must not take a disk that is gone for an empty log.
   */
  readonly unreadable?: ((error: unknown) => void) | undefined;
}

export async function* scanSegment(
  file: DiskFile,
  owner: LogOwner,
  segment: number,
  from: number,
  { to = Number.POSITIVE_INFINITY, windowBytes = WINDOW_BYTES, unreadable }: ScanOptions = {},
): AsyncGenerator<ScannedBatch> {
  const window = new Window(file, windowBytes, unreadable);
  const salt = saltOf(owner.incarnation);
  const size = Math.min(to, await file.size());
  for (let at = from; at < size; ) {
    const batch = await readBatch(window, owner, segment, at, salt);
    if (batch !== undefined) {
      yield batch;
      at = batch.to;
      continue;
    }
    const next = await findBatch(window, owner, segment, at + 1, size);
    yield readHeaderless(await window.at(at, next - at), segment, at, salt);
    at = next;
  }
}

async function readBatch(
  window: Window,
  owner: LogOwner,
  segment: number,
  at: number,
  salt: number,
): Promise<ScannedBatch | undefined> {
  const head = await window.at(at, BATCH_HEADER_BYTES);
  const header = decodeBatchHeader(head, owner, segment, at);
  if (header === undefined) return undefined;
  const bodyAt = at + BATCH_HEADER_BYTES;
  const body = await window.at(bodyAt, header.length);
  const { records, bad } = readRecords(body, segment, bodyAt, salt);
  if (body.length < header.length) {
    bad.push({ segment, from: bodyAt + body.length, to: bodyAt + header.length });
  }
  return { header, from: at, to: bodyAt + body.length, body, records, bad };
}

/** What can be read between a bad batch header and the next good one. */
function readHeaderless(bytes: Buffer, segment: number, at: number, salt: number): ScannedBatch {
  const to = at + bytes.length;
  const start = at + BATCH_HEADER_BYTES;
  const body = bytes.subarray(BATCH_HEADER_BYTES);
  const { records, bad } = readRecords(body, segment, start, salt);
  // Too short even for a header: an end that was never finished.
  if (bytes.length <= BATCH_HEADER_BYTES) bad.push({ segment, from: at, to });
  return { header: undefined, from: at, to, body, records, bad };
}

function readRecords(
  body: Buffer,
  segment: number,
  start: number,
  salt: number,
): { records: ScannedRecord[]; bad: BadRegion[] } {
  const records: ScannedRecord[] = [];
  const bad: BadRegion[] = [];
  for (let at = 0; at < body.length; ) {
    const header = decodeRecordHead(body, at, segment, start + at, salt);
    if (header === undefined) {
      const next = findRecord(body, at + 1, segment, start, salt);
      bad.push({ segment, from: start + at, to: start + next });
      at = next;
      continue;
    }
    records.push({ header, data: goodData(body, at, header) });
    at += recordLength(header);
  }
  return { records, bad };
}

function goodData(body: Buffer, at: number, header: RecordHeader): Buffer | undefined {
  const start = at + header.headLength;
  const data = body.subarray(start, start + header.dataLength);
  if (data.length < header.dataLength) return undefined;
  const bad = firstBadBlock(data, 0, (block) => header.checksums[block]);
  return bad === undefined ? data : undefined;
}

function findRecord(
  body: Buffer,
  from: number,
  segment: number,
  start: number,
  salt: number,
): number {
  const magic = magicBytes(RECORD_MAGIC);
  for (let at = body.indexOf(magic, from); at !== -1; at = body.indexOf(magic, at + 1)) {
    if (decodeRecordHead(body, at, segment, start + at, salt) !== undefined) return at;
  }
  return body.length;
}

/** Position of the next good batch header, or the end of the file. */
async function findBatch(
  window: Window,
  owner: LogOwner,
  segment: number,
  from: number,
  size: number,
): Promise<number> {
  const magic = magicBytes(BATCH_MAGIC);
  const step = Math.min(WINDOW_BYTES, MAX_BATCH_BYTES);
  for (let base = from; base < size; base += step - BATCH_HEADER_BYTES) {
    const bytes = await window.at(base, step);
    for (let at = bytes.indexOf(magic); at !== -1; at = bytes.indexOf(magic, at + 1)) {
      if (decodeBatchHeader(bytes.subarray(at), owner, segment, base + at) !== undefined) {
        return base + at;
      }
    }
    if (base + bytes.length >= size) break;
  }
  return size;
}

function magicBytes(magic: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(magic, 0);
  return bytes;
}
