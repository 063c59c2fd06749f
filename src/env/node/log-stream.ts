/**
 * Where log lines go: a descriptor, written once for all lines of a turn.
 *
 * pino's own destination was tried and left: a process whose standard output is a pipe that nobody
 * reads any more (the supervisor was killed) hung for ever in its exit. Here a broken pipe ends the
 * log and nothing else; a reader that is slow costs memory up to a limit, then lines, and never time.
 */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf } from '#base/errors.ts';

const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const RETRY_MS = 20;
/** At exit a slow reader gets this many chances. */
const EXIT_ATTEMPTS = 50;

export class LogStream {
  readonly #fd: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #dropped = 0;
  #scheduled = false;
  #broken = false;

  /** A path (appended to, its folder is made) or an open descriptor. */
  constructor(destination: string | number) {
    this.#fd = typeof destination === 'number' ? destination : openLog(destination);
    process.once('exit', () => {
      for (let i = 0; i < EXIT_ATTEMPTS && this.#pending.length > 0; i++) this.#flush();
      if (typeof destination === 'string') closeSync(this.#fd);
    });
  }

  write(line: string): void {
    if (this.#broken) return;
    if (this.#pendingBytes > MAX_PENDING_BYTES) {
      this.#dropped++;
      return;
    }
    if (this.#dropped > 0) this.#noteDropped();
    this.#add(line);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn()).unref();
  }

  #add(line: string): void {
    const bytes = Buffer.from(line);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  #noteDropped(): void {
    const time = new Date().toISOString();
    this.#add(
      `${JSON.stringify({ level: 'warn', time, event: 'log.dropped', lines: this.#dropped })}\n`,
    );
    this.#dropped = 0;
  }

  #turn(): void {
    this.#flush();
    this.#scheduled = this.#pending.length > 0;
    if (this.#scheduled) setTimeout(() => this.#turn(), RETRY_MS).unref();
  }

  #flush(): void {
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EPIPE') this.#broken = true; // there is nobody left to say so to
      // A full disk loses these lines; the next ones may fit again.
      if (code !== 'EAGAIN') return;
      this.#pending.push(bytes.subarray(done));
      this.#pendingBytes = bytes.length - done;
    }
  }
}

function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  return openSync(path, 'a', 0o640);
}
