/** A simulated file that is written in order: what it did not sync, a crash takes. */
import type { DiskFile, StreamFile } from '../env.ts';

export class SimStreamFile implements StreamFile {
  readonly #file: DiskFile;
  #position = 0;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  async append(parts: readonly Uint8Array[]): Promise<void> {
    await this.#file.write(this.#position, parts);
    for (const part of parts) this.#position += part.length;
  }

  async flush(): Promise<void> {
    // Nothing is kept back.
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
