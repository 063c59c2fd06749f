/**
 * The auditor's way through blobs/: every block, checksum list and trailer of the blobs that entries name.
 *
 * A file that no entry names is an orphan: what an unlinking that failed has left, or a stage that lost
 * its owner. It is removed by the reaper's rules once it is a day old and nobody stages it: younger ones
 * may be on their way to become current.
 */
import { crc32 } from 'node:zlib';
import type { Env } from '#env/env.ts';
import { BLOB_TRAILER_BYTES, blobFileBytes, decodeBlobTrailer } from './blob-format.ts';
import { type BlobStore, keyOfBlob, type OpenBlob } from './blob-store.ts';
import { BLOCK_BYTES, blockCount, firstBadBlock } from './blocks.ts';
import type { EntryStore } from './entry-store.ts';
import { isExhaustion } from './errors.ts';
import type { BlobBody, StoredEntry } from './stored-entry.ts';

export interface BlobAuditParts {
  readonly env: Env;
  readonly store: EntryStore;
  readonly blobs: BlobStore;
  damaged(entry: StoredEntry, what: string, cause?: unknown): void;
  isStaged(name: string): boolean;
  condemn(name: string): void;
}

export const ORPHAN_AGE_MS = 24 * 3600 * 1000;
const READ_BYTES = 8 * BLOCK_BYTES;

/** A blob that one step did not get through. */
interface Reading {
  readonly name: string;
  at: number;
}

export class BlobAudit {
  readonly #parts: BlobAuditParts;
  #reading: Reading | undefined;
  orphans = 0;

  constructor(parts: BlobAuditParts) {
    this.#parts = parts;
  }

  /** Reads about `limit` bytes after the blob `after` ('' for all). `next` undefined: the end. */
  async step(
    after: string,
    limit: number,
  ): Promise<{ readonly bytes: number; readonly next: string | undefined }> {
    if (after === '') this.orphans = 0;
    let bytes = 0;
    let reached = after;
    for await (const name of this.#parts.blobs.names(after)) {
      const read = await this.#read(name, limit - bytes);
      bytes += read.bytes;
      if (!read.done) return { bytes, next: reached };
      reached = name;
      if (bytes >= limit) return { bytes, next: reached };
    }
    return { bytes, next: undefined };
  }

  async #read(name: string, limit: number): Promise<{ bytes: number; done: boolean }> {
    const key = keyOfBlob(name);
    const entry = key && this.#parts.store.get(key);
    const body = entry?.body;
    if (entry === undefined || body?.kind !== 'blob' || body.name !== name) {
      await this.#orphan(name);
      return { bytes: BLOCK_BYTES, done: true };
    }
    let held: Awaited<ReturnType<BlobStore['retain']>>;
    try {
      held = await this.#parts.blobs.retain(body);
    } catch (error) {
      if (isExhaustion(error)) throw error;
      const what = 'the auditor met a blob that is missing or without checksums';
      this.#parts.damaged(entry, what, error);
      return { bytes: BLOCK_BYTES, done: true };
    }
    try {
      return await this.#verify(entry, body, held.blob, limit);
    } catch (error) {
      // A sector that can't be read is damage too: thrown, it would be met by every step from now on.
      if (isExhaustion(error)) throw error;
      return this.#bad(entry, 'it cannot be read', error);
    } finally {
      held.release();
    }
  }

  async #verify(
    entry: StoredEntry,
    body: BlobBody,
    { file, checksums }: OpenBlob,
    limit: number,
  ): Promise<{ bytes: number; done: boolean }> {
    if (this.#reading?.name !== body.name) this.#reading = { name: body.name, at: 0 };
    const reading = this.#reading;
    let bytes = 0;
    while (reading.at < body.length && bytes < limit) {
      const part = await file.read(reading.at, Math.min(READ_BYTES, body.length - reading.at));
      const bad = firstBadBlock(part, reading.at / BLOCK_BYTES, (block) => checksums[block]);
      const isShort = part.length < Math.min(READ_BYTES, body.length - reading.at);
      if (isShort || bad !== undefined) return this.#bad(entry, `block ${bad ?? 'at the end'}`);
      reading.at += part.length;
      bytes += part.length;
    }
    if (reading.at < body.length) return { bytes, done: false };
    this.#reading = undefined;
    const tail = await file.read(body.length, blobFileBytes(body.length) - body.length);
    return this.#isTailGood(entry, body, tail)
      ? { bytes: bytes + tail.length, done: true }
      : this.#bad(entry, 'the end');
  }

  /** The list and the trailer as they are on disk: the open handle remembers them. */
  #isTailGood(entry: StoredEntry, body: BlobBody, tail: Buffer): boolean {
    const listBytes = 4 * blockCount(body.length);
    if (tail.length !== listBytes + BLOB_TRAILER_BYTES) return false;
    const trailer = decodeBlobTrailer(tail.subarray(listBytes));
    return (
      crc32(tail.subarray(0, listBytes)) === body.check &&
      trailer?.check === body.check &&
      trailer.length === body.length &&
      trailer.policy === entry.key.policy &&
      trailer.hash.equals(entry.key.hash)
    );
  }

  #bad(entry: StoredEntry, where: string, cause?: unknown): { bytes: number; done: boolean } {
    this.#reading = undefined;
    this.#parts.damaged(entry, `the auditor met a damaged blob: ${where}`, cause);
    return { bytes: BLOCK_BYTES, done: true };
  }

  async #orphan(name: string): Promise<void> {
    const { env, blobs, isStaged, condemn } = this.#parts;
    if (isStaged(name) || keyOfBlob(name) === undefined) return;
    const stat = await env.disk.stat(blobs.path(name));
    if (stat === undefined) return;
    this.orphans++;
    if (stat.modifiedMs > env.clock.wallMicros() / 1000 - ORPHAN_AGE_MS) return;
    env.log.info('device.orphan-removed', { name });
    condemn(name);
  }
}
