/**
 * A body on its way in. It stays in memory while it may still become a record of the log and the
 * device's memory for stages allows, and is a blob file from then on.
 *
 * Bytes go to the file in pieces of up to `WRITE_BYTES`, one write under way while the next piece gathers.
 * Among many bodies each gathers in a tray instead, and waits while it is written: they get by with less.
 * A chunk belongs to the stage once it was passed in.
 */
import { codeOf, OperatingError } from '#base/errors.ts';
import type { StreamFile } from '#env/env.ts';
import { encodeBlobTrailer, encodeChecksumList } from './blob-format.ts';
import { readBlob } from './blob-reader.ts';
import type { BlobStore } from './blob-store.ts';
import { BlockSummer } from './blocks.ts';
import type { EntryKey, StagedBody } from './contract.ts';
import type { LogOwner } from './format.ts';
import type { BlobReference } from './record-extra.ts';
import { syncOnce } from './sync-once.ts';
import { Tray } from './tray.ts';

export const WRITE_BYTES = 1024 * 1024;
export const MAX_BODY_BYTES = 2 ** 46;

/** What a stage needs of its device. */
export interface StageHost {
  readonly blobs: BlobStore;
  readonly owner: LogOwner;
  readonly inlineLimit: number;
  /** How much to gather for one write: less while many bodies are on their way. */
  readonly pieceBytes: number;
  /** Takes or (negative) gives back memory; false: there is not enough. */
  takeMemory(bytes: number): boolean;
  /** Every error of the disk passes here; returns what the caller gets. */
  failed(error: unknown): Error;
  /** The stage needs no slot any more. */
  ended(stage: Stage): void;
  countSync(): void;
}

type StageStatus = 'open' | 'finished' | 'committed' | 'abandoned';

export class Stage implements StagedBody {
  readonly key: EntryKey;
  readonly #host: StageHost;
  #status: StageStatus = 'open';
  #length = 0;
  /** Bytes not yet given to the file. */
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  /** What came after it. */
  readonly #tray = new Tray();
  #memory = 0;
  #name: string | undefined;
  #file: StreamFile | undefined;
  #summer = new BlockSummer();
  #check = 0;
  /** The write that is under way. */
  #writing: Promise<void> = Promise.resolve();
  /** The last writes and syncs, once begun. */
  #finishing: Promise<void> | undefined;
  #error: Error | undefined;

  constructor(key: EntryKey, host: StageHost) {
    this.key = key;
    this.#host = host;
  }

  get length(): number {
    return this.#length;
  }

  get finished(): boolean {
    return this.#status === 'finished';
  }

  /** The body, where it stayed in memory; then it goes into the log. */
  get inline(): Buffer | undefined {
    if (this.#name !== undefined) return undefined;
    const [only] = this.#gathered;
    if (this.#gathered.length === 1)
      return Buffer.from(only!.buffer, only!.byteOffset, only!.length);
    return Buffer.concat(this.#gathered);
  }

  get reference(): BlobReference | undefined {
    if (this.#name === undefined) return undefined;
    return { name: this.#name, length: this.#length, check: this.#check };
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#expect('open');
    if (chunk.length === 0) return;
    if (this.#length + chunk.length > MAX_BODY_BYTES) {
      throw new OperatingError('too-large', 'a body cannot be this large');
    }
    this.#length += chunk.length;
    if (this.#name === undefined && this.#keepInMemory(chunk.length)) {
      this.#gather([chunk]);
    } else if (this.#host.pieceBytes < WRITE_BYTES) {
      if (!this.#tray.take(chunk)) await this.#sendTray(chunk);
    } else {
      this.#gather([...this.#tray.empty(), chunk]);
      this.#tray.drop();
      if (this.#gatheredBytes >= this.#host.pieceBytes) await this.#send();
    }
  }

  async finish(): Promise<void> {
    this.#expect('open');
    if (this.#name !== undefined) {
      this.#finishing = this.#finishFile();
      await this.#finishing;
    }
    this.#expect('open'); // an abandon may have come meanwhile
    this.#status = 'finished';
  }

  async *read(): AsyncGenerator<Buffer> {
    this.#expect('finished');
    const { reference } = this;
    if (reference === undefined) {
      yield this.inline!;
      return;
    }
    try {
      yield* readBlob(this.#host.blobs, reference);
    } catch (error) {
      throw codeOf(error) === 'damaged' ? error : this.#host.failed(error);
    }
  }

  async abandon(): Promise<void> {
    if (this.#status === 'committed' || this.#status === 'abandoned') return;
    this.#status = 'abandoned';
    this.#release();
    const name = this.#name;
    await this.#settle();
    if (name !== undefined) await this.#host.blobs.unlink(name);
  }

  /** The body is current now: the file, or the record, belongs to the log. */
  committed(): void {
    this.#status = 'committed';
    this.#release();
  }

  /** True: still a candidate for a record of the log. */
  #keepInMemory(added: number): boolean {
    if (this.#length <= this.#host.inlineLimit && this.#host.takeMemory(added)) {
      this.#memory += added;
      return true;
    }
    this.#name = this.#host.blobs.newName(this.key);
    this.#host.takeMemory(-this.#memory);
    this.#memory = 0;
    return false;
  }

  #gather(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#gathered.push(part);
      this.#gatheredBytes += part.length;
    }
  }

  /** With the chunk that found no room; the tray is free again when it resolves. */
  async #sendTray(chunk: Uint8Array): Promise<void> {
    this.#gather([...this.#tray.empty(), chunk]);
    await this.#send();
    await this.#writing;
  }

  /** Hands what is gathered to the file, after the write before it; so two pieces are in memory. */
  async #send(): Promise<void> {
    const parts = this.#gathered;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const before = this.#writing;
    this.#writing = before.then(() => this.#writeParts(parts));
    this.#writing.catch(() => undefined); // thrown by whoever waits for it next
    await before;
  }

  async #writeParts(parts: readonly Uint8Array[]): Promise<void> {
    await this.#guard(async () => {
      this.#file ??= await this.#host.blobs.create(this.#name!);
      for (const part of parts) this.#summer.add(part);
      await this.#file.append(parts);
    });
  }

  async #finishFile(): Promise<void> {
    const { blobs, owner } = this.#host;
    this.#gather(this.#tray.empty());
    if (this.#gatheredBytes > 0) await this.#send();
    await this.#writing;
    await this.#guard(async () => {
      const list = encodeChecksumList(this.#summer.finish());
      const trailer = encodeBlobTrailer(this.key, this.#length, list, owner);
      this.#check = trailer.check;
      await this.#file!.append([list, trailer.bytes]);
      await this.#file!.flush();
      this.#host.countSync();
      await Promise.all([syncOnce(this.#file!), blobs.syncFolder(this.#name!)]);
      await this.#file!.close();
      this.#file = undefined;
    });
  }

  async #guard(step: () => Promise<void>): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    try {
      await step();
    } catch (error) {
      throw (this.#error ??= this.#host.failed(error));
    }
  }

  /** Nothing is under way on the file any more. */
  async #settle(): Promise<void> {
    await this.#writing.catch(() => undefined); // the bytes are thrown away
    await this.#finishing?.catch(() => undefined); // its caller has the error
    await this.#file?.close();
    this.#file = undefined;
  }

  #release(): void {
    this.#host.takeMemory(-this.#memory);
    this.#memory = 0;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#tray.drop();
    this.#host.ended(this);
  }

  #expect(status: StageStatus): void {
    if (this.#error !== undefined) throw this.#error;
    if (this.#status === status) return;
    if (this.#status === 'abandoned')
      throw new OperatingError('abandoned', 'the stage was abandoned');
    throw new OperatingError('bad-stage', `the stage is ${this.#status}`);
  }
}
