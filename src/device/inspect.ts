/**
 * Looks at a device's folder without opening it: reads only, changes nothing, believes nothing but
 * checksums. For a person with a disk in hand; it works without index.db and rows.db.
 */
import { crc32 } from 'node:zlib';
import { codeOf } from '#base/errors.ts';
import type { Disk } from '#env/env.ts';
import { BLOB_TRAILER_BYTES, decodeBlobTrailer } from './blob-format.ts';
import { keyOfBlob } from './blob-store.ts';
import { BLOCK_BYTES, blockCount, firstBadBlock } from './blocks.ts';
import {
  decodeSegmentHeader,
  type LogOwner,
  readChecksums,
  SEGMENT_HEADER_BYTES,
} from './format.ts';
import { readIdentity, type StoredIdentity } from './identity.ts';
import { type ScannedBatch, scanSegment } from './log-scan.ts';
import { SegmentFiles } from './segment-files.ts';

export interface InspectedBlob {
  readonly name: string;
  readonly bytes: number;
  /** Undefined: every byte is good. */
  readonly problem: string | undefined;
}

export interface InspectedSegment {
  readonly segment: number;
  readonly bytes: number;
  readonly headerProblem: string | undefined;
}

const STEP_BYTES = 64 * BLOCK_BYTES;

export class DeviceInspector {
  readonly identity: StoredIdentity;
  readonly #disk: Disk;
  readonly #path: string;
  readonly #files: SegmentFiles;

  constructor(disk: Disk, path: string, identity: StoredIdentity, files: SegmentFiles) {
    this.#disk = disk;
    this.#path = path;
    this.identity = identity;
    this.#files = files;
  }

  /** @throws OperatingError `device-blank`, `damaged`, `newer-format` */
  static async open(disk: Disk, path: string): Promise<DeviceInspector> {
    const identity = await readIdentity(disk, path);
    const files = new SegmentFiles(disk, `${path}/log`);
    await files.load();
    return new DeviceInspector(disk, path, identity, files);
  }

  get owner(): LogOwner {
    return { device: this.identity.deviceId, incarnation: this.identity.incarnation };
  }

  async segments(): Promise<InspectedSegment[]> {
    const found: InspectedSegment[] = [];
    for (const segment of this.#files.numbers()) {
      const { file, release } = await this.#files.retain(segment);
      const header = decodeSegmentHeader(await file.read(0, SEGMENT_HEADER_BYTES).finally(release));
      const mine =
        header?.device === this.owner.device && header.incarnation === this.owner.incarnation;
      const problem =
        header === undefined ? 'the header is damaged' : mine ? undefined : 'of another device';
      found.push({ segment, bytes: this.#files.size(segment), headerProblem: problem });
    }
    return found;
  }

  /** Batches of a segment in order, with what could not be read. */
  async *batches(segment: number): AsyncGenerator<ScannedBatch> {
    const { file, release } = await this.#files.retain(segment);
    try {
      yield* scanSegment(file, this.owner, segment, SEGMENT_HEADER_BYTES);
    } finally {
      release();
    }
  }

  /** Every blob file with every byte verified. */
  async *blobs(): AsyncGenerator<InspectedBlob> {
    const folders = await this.#disk.list(`${this.#path}/blobs`);
    for (const folder of folders) {
      for (const name of await this.#disk.list(`${this.#path}/blobs/${folder}`)) {
        yield await this.#blob(name, `${this.#path}/blobs/${folder}/${name}`);
      }
    }
  }

  async close(): Promise<void> {
    await this.#files.close();
  }

  async #blob(name: string, path: string): Promise<InspectedBlob> {
    const size = (await this.#disk.stat(path))?.size ?? 0;
    try {
      return { name, bytes: size, problem: await this.#blobProblem(name, path, size) };
    } catch (error) {
      return { name, bytes: size, problem: `cannot be read: ${codeOf(error)}` };
    }
  }

  async #blobProblem(name: string, path: string, size: number): Promise<string | undefined> {
    const key = keyOfBlob(name);
    if (key === undefined) return 'not the name of a blob';
    const file = await this.#disk.open(path, 'read');
    try {
      const tail = await file.read(Math.max(0, size - BLOB_TRAILER_BYTES), BLOB_TRAILER_BYTES);
      const trailer = decodeBlobTrailer(tail);
      if (trailer === undefined) return 'unfinished, or its trailer is damaged';
      if (trailer.policy !== key.policy || !trailer.hash.equals(key.hash)) return 'of another key';
      const blocks = blockCount(trailer.length);
      if (size !== trailer.length + 4 * blocks + BLOB_TRAILER_BYTES)
        return 'not as long as it says';
      const list = await file.read(trailer.length, 4 * blocks);
      if (crc32(list) !== trailer.check) return 'its checksum list is damaged';
      const sums = readChecksums(list, 0, blocks);
      for (let at = 0; at < trailer.length; at += STEP_BYTES) {
        const bytes = await file.read(at, Math.min(STEP_BYTES, trailer.length - at));
        const bad = firstBadBlock(bytes, at / BLOCK_BYTES, (block) => sums[block]);
        if (bad !== undefined) return `block ${bad} is damaged`;
      }
      return undefined;
    } finally {
      await file.close();
    }
  }
}
