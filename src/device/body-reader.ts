/**
 * Reads bodies, from the log or from a blob, and gives out no block whose checksum was not verified.
 *
 * While one step's bytes are with the consumer, the next step is being read. The segment or blob is
 * retained meanwhile, so a version that was overwritten can be read to its end.
 */
import { crc32 } from 'node:zlib';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { DiskFile } from '#env/env.ts';
import type { BlobStore } from './blob-store.ts';
import { BLOCK_BYTES, firstBadBlock } from './blocks.ts';
import type { ByteRange } from './contract.ts';
import type { SegmentFiles } from './segment-files.ts';
import type { BlobBody, BodyPlace, InlineBody, StoredEntry } from './stored-entry.ts';

/** A multiple of BLOCK_BYTES. */
export const STEP_BYTES = 512 * 1024;
const SMALL_BYTES = BLOCK_BYTES;

const NOTHING = Buffer.alloc(0);

/**
 * Told of every body that turned out bad; answers the error for the reader (`damaged`, or `gone` where
 * the version was overwritten and freed meanwhile, which is no damage).
 */
export type DamageReport = (entry: StoredEntry, what: string, cause: unknown) => Error;

interface Source {
  readonly file: Pick<DiskFile, 'read'>;
  /** Where the body begins in the file. */
  readonly start: number;
  readonly length: number;
  readonly checksums: readonly number[];
  readonly release: () => void;
}

export class BodyReader {
  readonly #files: SegmentFiles;
  readonly #blobs: BlobStore;
  readonly #report: DamageReport;

  constructor(files: SegmentFiles, blobs: BlobStore, report: DamageReport) {
    this.#files = files;
    this.#blobs = blobs;
    this.#report = report;
  }

  /** @throws OperatingError `damaged`, `gone` */
  async *read(entry: StoredEntry, range: ByteRange): AsyncGenerator<Buffer> {
    const end = Math.min(range.end, entry.body?.length ?? 0);
    if (!entry.hasBody) throw gone(entry);
    if (entry.body === undefined || range.start >= end) return;
    const source = await this.#open(entry, entry.body);
    let next: Promise<Buffer> | undefined;
    try {
      let at = range.start - (range.start % BLOCK_BYTES);
      next = this.#step(entry, source, at, end);
      while (at < end) {
        const bytes: Buffer = await next!;
        const from = at;
        at = Math.min(from + STEP_BYTES, end);
        next = at < end ? this.#step(entry, source, at, end) : undefined;
        next?.catch(() => undefined); // thrown where it is awaited
        const skip = Math.max(0, range.start - from);
        yield bytes.subarray(skip, Math.min(bytes.length, end - from));
      }
    } finally {
      await next?.catch(() => undefined); // the consumer has left
      source.release();
    }
  }

  /** @throws OperatingError `damaged`, `gone` */
  readSmall(entry: StoredEntry): Buffer | undefined {
    const { body } = entry;
    if (body === undefined) {
      if (entry.hasBody) return NOTHING;
      throw gone(entry);
    }
    if (body.kind !== 'inline' || body.length > SMALL_BYTES) return undefined;
    const file = this.#files.opened(body.record.segment);
    if (file === undefined) return undefined;
    const bytes = this.#readSync(entry, body, file);
    if (bytes.length !== body.length || crc32(bytes) !== body.checksums[0]) {
      throw this.#bad(entry, 'a record is damaged');
    }
    return bytes;
  }

  #readSync(entry: StoredEntry, body: InlineBody, file: DiskFile): Buffer {
    try {
      return file.readSync(body.start, body.length);
    } catch (error) {
      throw this.#bad(entry, 'a record cannot be read', error);
    }
  }

  async #open(entry: StoredEntry, body: BodyPlace): Promise<Source> {
    return body.kind === 'inline' ? this.#openRecord(entry, body) : this.#openBlob(entry, body);
  }

  async #openRecord(entry: StoredEntry, body: InlineBody): Promise<Source> {
    const { segment } = body.record;
    if (!this.#files.has(segment)) throw gone(entry);
    const { file, release } = await this.#files.retain(segment);
    return { file, start: body.start, length: body.length, checksums: body.checksums, release };
  }

  async #openBlob(entry: StoredEntry, body: BlobBody): Promise<Source> {
    try {
      const { blob, release } = await this.#blobs.retain(body);
      return { file: blob.file, start: 0, length: body.length, checksums: blob.checksums, release };
    } catch (error) {
      if (codeOf(error) !== 'damaged') throw error;
      throw this.#bad(entry, 'a blob is missing or its checksums are damaged', error);
    }
  }

  /** Verified bytes from block boundary `at` to the end of a step, or of the last block needed. */
  async #step(entry: StoredEntry, source: Source, at: number, end: number): Promise<Buffer> {
    const stop = Math.min(
      at + STEP_BYTES,
      Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES,
      source.length,
    );
    let bytes: Buffer;
    try {
      bytes = await source.file.read(source.start + at, stop - at);
    } catch (error) {
      throw this.#bad(entry, 'a body cannot be read', error);
    }
    const bad = firstBadBlock(bytes, at / BLOCK_BYTES, (block) => source.checksums[block]);
    if (bytes.length !== stop - at || bad !== undefined) {
      throw this.#bad(entry, `block ${bad ?? 'at the end'} of a body is damaged`);
    }
    return bytes;
  }

  #bad(entry: StoredEntry, what: string, cause?: unknown): Error {
    return this.#report(entry, what, cause);
  }
}

export function gone(entry: StoredEntry): OperatingError {
  return new OperatingError('gone', 'this version has no body here any more', { path: entry.path });
}
