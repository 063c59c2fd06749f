/**
 * An open blob. What is read for the first time goes past the page cache; once as much was read as the
 * body is long, somebody is reading it again, and it may as well be kept in memory.
 */
import type { Disk, DiskFile, ScanFile } from '#env/env.ts';

export class BlobFile {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #scan: ScanFile;
  #left: number;
  #cached: Promise<DiskFile> | undefined;

  private constructor(disk: Disk, path: string, scan: ScanFile, length: number) {
    this.#disk = disk;
    this.#path = path;
    this.#scan = scan;
    this.#left = length;
  }

  static async open(disk: Disk, path: string, length: number): Promise<BlobFile> {
    return new BlobFile(disk, path, await disk.openScan(path), length);
  }

  /** Fewer bytes than asked for only at the end of the file. */
  async read(position: number, length: number): Promise<Buffer> {
    if (this.#left > 0) {
      this.#left -= length;
      return this.#scan.read(position, length);
    }
    this.#cached ??= this.#disk.open(this.#path, 'read').catch((error: unknown) => {
      this.#cached = undefined; // the next read tries again
      throw error;
    });
    return (await this.#cached).read(position, length);
  }

  async close(): Promise<void> {
    await this.#scan.close();
    const cached = await this.#cached?.catch(() => undefined); // its reader was told
    await cached?.close();
  }
}
