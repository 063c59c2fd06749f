/** A process's handle on a simulated file. */
import { crc32 } from 'node:zlib';
import type { DiskFile, FileStat, OpenMode } from '../env.ts';
import type { SimDisk } from './disk.ts';
import { type DiskOperation, diskError, type FaultAction, flipIfAsked, isLost } from './faults.ts';
import type { FileNode } from './tree.ts';
import { describeNode } from './volume.ts';

export class SimFile implements DiskFile {
  readonly #disk: SimDisk;
  readonly #path: string;
  readonly #node: FileNode;
  readonly #mode: OpenMode;
  readonly #synced: boolean;
  readonly #fileSystem: number;
  #closed = false;

  constructor(disk: SimDisk, path: string, node: FileNode, mode: OpenMode, synced: boolean) {
    this.#disk = disk;
    this.#path = path;
    this.#node = node;
    this.#mode = mode;
    this.#synced = synced;
    this.#fileSystem = disk.fileSystemOf(path);
  }

  read(position: number, length: number): Promise<Buffer> {
    return this.#run('read', length, (actions) => this.#readNow(position, length, actions));
  }

  readSync(position: number, length: number): Buffer {
    if (this.#closed) throw this.#badFile();
    return this.#disk.runSync('read', this.#path, (actions) =>
      this.#readNow(position, length, actions),
    );
  }

  /** The parts are read when the write happens: the caller must leave them alone until then. */
  async write(position: number, parts: readonly Uint8Array[]): Promise<void> {
    await this.#write(position, parts);
    if (this.#synced) await this.sync();
  }

  #write(position: number, parts: readonly Uint8Array[]): Promise<void> {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    return this.#run('write', length, (actions) => {
      if (this.#mode === 'read') throw this.#badFile();
      let at = position + misdirection(actions);
      for (const part of parts) {
        if (!isLost(actions)) this.#writePart(at, part);
        at += part.length;
      }
    });
  }

  /** Covers what was written before the call. */
  sync(): Promise<void> {
    if (this.#closed) return Promise.reject(this.#badFile());
    const { content } = this.#node;
    const number = content.beginSync();
    const done = this.#run('sync', 0, (actions) => {
      if (!isLost(actions)) content.endSync(number);
    });
    return done.catch((error: unknown) => {
      content.failSync(number);
      throw error;
    });
  }

  truncate(length: number): Promise<void> {
    return this.#run('truncate', 0, () => {
      if (this.#mode === 'read') throw this.#badFile();
      const { content } = this.#node;
      this.#disk.volume.usageChanged(length - content.length);
      content.truncate(length);
    });
  }

  size(): Promise<number> {
    return this.#run('stat', 0, () => this.#node.content.length);
  }

  stat(): Promise<FileStat> {
    return this.#run('stat', 0, () => describeNode(this.#node, this.#fileSystem));
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #run<Result>(
    operation: DiskOperation,
    bytes: number,
    effect: (actions: FaultAction[]) => Result,
  ): Promise<Result> {
    if (this.#closed) return Promise.reject(this.#badFile());
    return this.#disk.run(operation, this.#path, bytes, effect);
  }

  #readNow(position: number, length: number, actions: FaultAction[]): Buffer {
    return flipIfAsked(
      this.#node.content.read(position, length),
      actions,
      this.#disk.volume.random,
    );
  }

  /** A disk that fills up takes what fits, as the kernel does. */
  #writePart(position: number, part: Uint8Array): void {
    const { volume } = this.#disk;
    const { content } = this.#node;
    const growth = Math.max(0, position + part.length - content.length);
    const missing = Math.max(0, growth - volume.freeBytes);
    const fitting = part.subarray(0, Math.max(0, part.length - missing));
    const before = content.length;
    if (fitting.length > 0) content.write(position, fitting);
    volume.note(crc32(fitting));
    volume.usageChanged(content.length - before);
    this.#node.modifiedMs = volume.nowMs;
    if (missing > 0) throw diskError('ENOSPC', 'write', this.#path);
  }

  #badFile(): Error {
    return diskError('EBADF', 'use of a closed or read-only file', this.#path);
  }
}

function misdirection(actions: readonly FaultAction[]): number {
  let shift = 0;
  for (const action of actions) if (action.kind === 'misdirect') shift += action.shiftBytes;
  return shift;
}
