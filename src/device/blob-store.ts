/**
 * The files under blobs/, in up to 256 folders by the first byte of the hash.
 *
 * A name is `policy-hash-run-counter` (hex): it says whose body it is, so that an orphan can be told by
 * one look at the index, and which run of the process wrote it, so that the sweep of what a crash left
 * behind never touches what is being written now.
 */
import { crc32 } from 'node:zlib';
import { codeOf } from '#base/errors.ts';
import type { Disk, StreamFile } from '#env/env.ts';
import { BlobFile } from './blob-file.ts';
import { blobFileBytes } from './blob-format.ts';
import { blockCount } from './blocks.ts';
import type { EntryKey } from './contract.ts';
import { damaged, statusError } from './errors.ts';
import { readChecksums } from './format.ts';
import type { BlobReference } from './record-extra.ts';

const MAX_OPEN_BLOBS = 64;

export interface OpenBlob {
  readonly file: BlobFile;
  readonly checksums: readonly number[];
}

interface HeldBlob {
  readonly blob: Promise<OpenBlob>;
  readers: number;
}

export class BlobStore {
  readonly folder: string;
  readonly #disk: Disk;
  readonly #run: string;
  #counter = 0;
  readonly #folders = new Map<string, Promise<void>>();
  readonly #open = new Map<string, HeldBlob>();

  constructor(disk: Disk, folder: string, run: string) {
    this.#disk = disk;
    this.folder = folder;
    this.#run = run;
  }

  newName(key: EntryKey): string {
    this.#counter++;
    const policy = key.policy.toString(16).padStart(4, '0');
    return `${policy}-${key.hash.toString('hex')}-${this.#run}-${this.#counter.toString(16)}`;
  }

  path(name: string): string {
    return `${this.folderOf(name)}/${name}`;
  }

  folderOf(name: string): string {
    return `${this.folder}/${name.slice(5, 7)}`;
  }

  async create(name: string): Promise<StreamFile> {
    const folder = this.folderOf(name);
    let made = this.#folders.get(folder);
    if (made === undefined) {
      made = this.#makeFolder(folder);
      this.#folders.set(folder, made);
      made.catch(() => this.#folders.delete(folder));
    }
    await made;
    return this.#disk.createStream(this.path(name));
  }

  /**
   * `mkdir` makes what is missing above too: under a device that was wiped it would leave something
   * behind, and the next start would take the folder for one that a person must look at.
   */
  async #makeFolder(folder: string): Promise<void> {
    if ((await this.#disk.stat(this.folder)) === undefined) throw statusError('missing');
    await this.#disk.mkdir(folder);
  }

  syncFolder(name: string): Promise<void> {
    return this.#disk.syncDirectory(this.folderOf(name));
  }

  /** Opens a blob for reading and verifies its checksum list. @throws OperatingError `damaged`, `gone` */
  async retain(blob: BlobReference): Promise<{ blob: OpenBlob; release: () => void }> {
    let held = this.#open.get(blob.name);
    if (held === undefined) {
      held = { blob: this.#openNow(blob), readers: 0 };
      this.#open.set(blob.name, held);
      held.blob.catch(() => this.#open.delete(blob.name));
      if (this.#open.size > MAX_OPEN_BLOBS) this.#closeIdle(blob.name);
    }
    const mine = held;
    mine.readers++;
    let released = false;
    const release = (): void => {
      if (!released) mine.readers--;
      released = true;
    };
    try {
      return { blob: await mine.blob, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  busy(name: string): boolean {
    return (this.#open.get(name)?.readers ?? 0) > 0;
  }

  /** True: a file of the right size is there. */
  async exists(blob: BlobReference): Promise<boolean> {
    const stat = await this.#disk.stat(this.path(blob.name));
    return stat?.size === blobFileBytes(blob.length);
  }

  async unlink(name: string): Promise<void> {
    await this.forget(name);
    try {
      await this.#disk.unlink(this.path(name));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error; // gone already is what we want
    }
  }

  /** Closes the cached handle of a blob that is about to be moved or unlinked. */
  async forget(name: string): Promise<void> {
    const held = this.#open.get(name);
    if (held === undefined) return;
    this.#open.delete(name);
    const blob = await held.blob.catch(() => undefined);
    await blob?.file.close();
  }

  /** Names of all files, by folder and name, after the one given ('': from the first). */
  async *names(after: string): AsyncGenerator<string> {
    const first = after.slice(5, 7);
    for (const folder of await this.#disk.list(this.folder)) {
      if (!/^[0-9a-f]{2}$/.test(folder) || folder < first) continue;
      for (const name of await this.#disk.list(`${this.folder}/${folder}`)) {
        if (folder > first || name > after) yield name;
      }
    }
  }

  /** Names of all blobs that earlier runs wrote, folder by folder. */
  async *earlier(): AsyncGenerator<string[]> {
    for (const folder of await this.#disk.list(this.folder)) {
      if (!/^[0-9a-f]{2}$/.test(folder)) continue;
      const names = await this.#disk.list(`${this.folder}/${folder}`);
      yield names.filter((name) => runOf(name) !== this.#run);
    }
  }

  async close(): Promise<void> {
    const names = [...this.#open.keys()];
    for (const name of names) await this.forget(name);
  }

  async #openNow(blob: BlobReference): Promise<OpenBlob> {
    const file = await this.#openFile(blob);
    try {
      const blocks = blockCount(blob.length);
      const list = await file.read(blob.length, 4 * blocks);
      if (list.length !== 4 * blocks || crc32(list) !== blob.check) {
        throw damaged('the checksums of a blob are damaged', { blob: blob.name });
      }
      return { file, checksums: readChecksums(list, 0, blocks) };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #openFile(blob: BlobReference): Promise<BlobFile> {
    try {
      return await BlobFile.open(this.#disk, this.path(blob.name), blob.length);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      throw damaged('a blob is missing', { blob: blob.name }, error);
    }
  }

  #closeIdle(except: string): void {
    for (const [name, held] of this.#open) {
      if (held.readers > 0 || name === except) continue;
      this.forget(name).catch(() => undefined); // only read from: nothing can be lost
      return;
    }
  }
}

/** The key that a blob's name speaks of; undefined: not a name of ours. */
export function keyOfBlob(name: string): EntryKey | undefined {
  const match = /^([0-9a-f]{4})-([0-9a-f]{32})-[0-9a-f]+-[0-9a-f]+$/.exec(name);
  if (match === null) return undefined;
  return { policy: Number.parseInt(match[1]!, 16), hash: Buffer.from(match[2]!, 'hex') };
}

function runOf(name: string): string | undefined {
  return name.split('-')[2];
}
