/**
 * One open file, on a bare descriptor: cheaper than a FileHandle by a promise and an object each call.
 *
 * Invariant: a descriptor is closed only when no operation is under way on it, and never used after.
 * The kernel gives a freed number to the next file that is opened, so a late write through a stale
 * number would land in somebody else's file.
 */
import { close, fdatasync, fstat, ftruncate, read, readSync, type Stats, writev } from 'node:fs';
import type { DiskFile, FileStat } from '../env.ts';
import { describeStat } from './stat.ts';

export class NodeFile implements DiskFile {
  readonly #path: string;
  readonly #fd: number;
  #running = 0;
  #closing: PromiseWithResolvers<void> | undefined;

  constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  async read(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const count = await this.readInto(buffer.subarray(filled), position + filled);
      if (count === 0) return buffer.subarray(0, filled);
      filled += count;
    }
    return buffer;
  }

  /** One system call; 0: the end of the file. */
  readInto(buffer: Buffer, position: number): Promise<number> {
    return this.#run((done) => read(this.#fd, buffer, 0, buffer.length, position, done));
  }

  readSync(position: number, length: number): Buffer {
    if (this.#closing !== undefined) throw this.#closed();
    const buffer = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const count = readSync(this.#fd, buffer, filled, length - filled, position + filled);
      if (count === 0) return buffer.subarray(0, filled);
      filled += count;
    }
    return buffer;
  }

  async write(position: number, parts: readonly Uint8Array[]): Promise<void> {
    let rest = parts.filter((part) => part.length > 0);
    let at = position;
    while (rest.length > 0) {
      const count = await this.#run<number>((done) => writev(this.#fd, rest, at, done));
      at += count;
      rest = dropWritten(rest, count);
    }
  }

  sync(): Promise<void> {
    return this.#run((done) => fdatasync(this.#fd, done));
  }

  truncate(length: number): Promise<void> {
    return this.#run((done) => ftruncate(this.#fd, length, done));
  }

  async size(): Promise<number> {
    const stats = await this.#run<Stats>((done) => fstat(this.#fd, done));
    return stats.size;
  }

  async stat(): Promise<FileStat> {
    return describeStat(await this.#run((done) => fstat(this.#fd, { bigint: true }, done)));
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = Promise.withResolvers();
      this.#closeWhenIdle();
    }
    return this.#closing.promise;
  }

  #closeWhenIdle(): void {
    const closing = this.#closing;
    if (closing === undefined || this.#running > 0) return;
    close(this.#fd, (error) => (error ? closing.reject(error) : closing.resolve()));
  }

  #run<Result = void>(start: (done: Callback<Result>) => void): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#closing !== undefined) return reject(this.#closed());
      this.#running++;
      start((error, result) => {
        this.#running--;
        if (error) reject(error);
        else resolve(result as Result);
        if (this.#closing !== undefined) this.#closeWhenIdle();
      });
    });
  }

  #closed(): Error {
    return Object.assign(new Error(`EBADF: file is closed, '${this.#path}'`), {
      code: 'EBADF',
      path: this.#path,
    });
  }
}

type Callback<Result> = (error: NodeJS.ErrnoException | null, result?: Result) => void;

/** The kernel may take fewer bytes than offered (a signal, a nearly full disk): what is left of them. */
export function dropWritten(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  let index = 0;
  let left = count;
  while (index < parts.length && left >= parts[index]!.length) left -= parts[index++]!.length;
  const rest = parts.slice(index);
  if (left > 0) rest[0] = rest[0]!.subarray(left);
  return rest;
}
