/** Files through node:fs. Errors are passed on as they are. */
import {
  close,
  closeSync,
  constants,
  fsync,
  fsyncSync,
  mkdir,
  open,
  openSync,
  promises,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { codeOf } from '#base/errors.ts';
import type {
  Database,
  DatabaseOptions,
  Disk,
  DiskFile,
  FileStat,
  OpenMode,
  ScanFile,
  StreamFile,
} from '../env.ts';
import { AlignedBuffers } from './aligned-buffers.ts';
import type { Checkpointer } from './checkpointer.ts';
import { openNodeDatabase } from './database.ts';
import { NodeFile } from './file.ts';
import { NodeScanFile } from './scan-file.ts';
import { describeStat } from './stat.ts';
import { NodeStreamFile, type OpenFile } from './stream-file.ts';

const FLAGS: Readonly<Record<OpenMode, number>> = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
};
const REPLACE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;
const DEFAULT_PERMISSIONS = 0o644;

export class NodeDisk implements Disk {
  readonly #checkpointer: Checkpointer;
  readonly #aligned = new AlignedBuffers();
  #replacements = 0;

  constructor(checkpointer: Checkpointer) {
    this.#checkpointer = checkpointer;
  }

  async open(path: string, mode: OpenMode, synced?: 'synced'): Promise<DiskFile> {
    const flags = FLAGS[mode] | (synced === undefined ? 0 : constants.O_DSYNC);
    return new NodeFile(path, await openDescriptor(path, flags));
  }

  createStream(path: string): Promise<StreamFile> {
    return NodeStreamFile.create(opener(path), this.#aligned);
  }

  openScan(path: string): Promise<ScanFile> {
    return NodeScanFile.open(opener(path), this.#aligned);
  }

  async mkdir(path: string): Promise<void> {
    const first = await new Promise<string | undefined>((resolve, reject) =>
      mkdir(path, { recursive: true }, (error, made) => (error ? reject(error) : resolve(made))),
    );
    if (first === undefined) return;
    // Every folder that was made is a new name in the one above it.
    const top = dirname(first);
    for (let parent = dirname(path); ; parent = dirname(parent)) {
      await this.syncDirectory(parent);
      if (parent === top || parent === dirname(parent)) return;
    }
  }

  async list(path: string): Promise<string[]> {
    const names = await promises.readdir(path);
    return names.sort();
  }

  async stat(path: string): Promise<FileStat | undefined> {
    try {
      return describeStat(await promises.stat(path, { bigint: true }));
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  statSync(path: string): FileStat | undefined {
    try {
      const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
      return stats && describeStat(stats);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  read(path: string): Promise<Buffer> {
    return promises.readFile(path);
  }

  async replace(path: string, bytes: Uint8Array, permissions = DEFAULT_PERMISSIONS): Promise<void> {
    const temporary = this.#temporaryName(path);
    try {
      const handle = await promises.open(temporary, REPLACE_FLAGS, permissions);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await promises.rename(temporary, path);
    } catch (error) {
      await promises.rm(temporary, { force: true }).catch(() => undefined); // the first error counts
      throw error;
    }
    await this.syncDirectory(dirname(path));
  }

  replaceSync(path: string, bytes: Uint8Array, permissions = DEFAULT_PERMISSIONS): void {
    const temporary = this.#temporaryName(path);
    try {
      withDescriptorSync(openSync(temporary, REPLACE_FLAGS, permissions), (fd) => {
        for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
        fsyncSync(fd);
      });
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    withDescriptorSync(openSync(dirname(path), constants.O_RDONLY), fsyncSync);
  }

  rename(from: string, to: string): Promise<void> {
    return promises.rename(from, to);
  }

  unlink(path: string): Promise<void> {
    return promises.unlink(path);
  }

  removeTree(path: string): Promise<void> {
    return promises.rm(path, { recursive: true, force: true });
  }

  async syncDirectory(path: string): Promise<void> {
    const fd = await openDescriptor(path, constants.O_RDONLY | constants.O_DIRECTORY);
    await new Promise<void>((resolve, reject) => {
      fsync(fd, (syncError) => {
        close(fd, (closeError) => {
          const error = syncError ?? closeError;
          if (error) reject(error);
          else resolve();
        });
      });
    });
  }

  async space(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
    const { bsize, blocks, bfree, bavail } = await promises.statfs(path);
    // What the file system keeps for itself or for root is nobody's: so counts df, too.
    const usable = blocks - bfree + bavail;
    return { totalBytes: usable * bsize, freeBytes: bavail * bsize };
  }

  openDatabase(path: string, options: DatabaseOptions = {}): Database {
    return openNodeDatabase(path, options, this.#checkpointer);
  }

  /** Ends in `.tmp`: what a crash leaves behind can be told and swept. */
  #temporaryName(path: string): string {
    this.#replacements++;
    return `${path}.${process.pid}-${this.#replacements}.tmp`;
  }
}

function opener(path: string): OpenFile {
  return async (flags) => new NodeFile(path, await openDescriptor(path, flags));
}

function openDescriptor(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) =>
    open(path, flags, DEFAULT_PERMISSIONS, (error, fd) => (error ? reject(error) : resolve(fd))),
  );
}

function withDescriptorSync(fd: number, use: (fd: number) => void): void {
  try {
    use(fd);
  } finally {
    closeSync(fd);
  }
}

function isAbsent(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
