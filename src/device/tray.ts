/**
 * Where a body among many gathers what it writes next. Chunks come as views of the network's buffers; to
 * keep a hundred bodies' worth of those for a fifth of a second lets them grow old, and what is old and
 * dead stays until V8 looks through its whole heap. Copied to one place they are free at once.
 */
/** At this size glibc gives the memory back when it is free. */
const TRAY_BYTES = 128 * 1024;

export class Tray {
  #buffer: Buffer | undefined;
  #used = 0;

  get usedBytes(): number {
    return this.#used;
  }

  /** False: there is no room for all of it. */
  take(chunk: Uint8Array): boolean {
    if (this.#used + chunk.length > TRAY_BYTES) return false;
    this.#buffer ??= Buffer.allocUnsafeSlow(TRAY_BYTES);
    this.#buffer.set(chunk, this.#used);
    this.#used += chunk.length;
    return true;
  }

  /** What is there; it must have been used before anything is taken again. */
  empty(): Uint8Array[] {
    if (this.#used === 0) return [];
    const bytes = this.#buffer!.subarray(0, this.#used);
    this.#used = 0;
    return [bytes];
  }

  drop(): void {
    this.#buffer = undefined;
    this.#used = 0;
  }
}
