/** A bar on a terminal; where there is none, a line now and then. */
const WIDTH = 40;
const LINE_EVERY_MS = 10_000;

export class ProgressBar {
  readonly #out: NodeJS.WriteStream;
  readonly #startedAt = performance.now();
  /** What is done sooner than that needs no line. */
  #saidAt = this.#startedAt;

  /** `stderr` where standard output is the result. */
  constructor(out: 'stdout' | 'stderr' = 'stdout') {
    this.#out = process[out];
  }

  show(done: number, all: number, text: string): void {
    const share = all === 0 ? 0 : done / all;
    const filled = Math.round(share * WIDTH);
    const bar = `${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}`;
    const line = `[${bar}] ${done}/${all} ${text}${this.#remaining(share)}`;
    if (this.#out.isTTY) this.#out.write(`\r\u001b[K${line}`);
    else if (performance.now() - this.#saidAt > LINE_EVERY_MS) {
      this.#saidAt = performance.now();
      this.#out.write(`${line}\n`);
    }
  }

  clear(): void {
    if (this.#out.isTTY) this.#out.write('\r\u001b[K');
  }

  end(text: string): void {
    this.clear();
    console.log(text);
  }

  #remaining(share: number): string {
    if (share <= 0 || share >= 1) return '';
    const seconds = ((performance.now() - this.#startedAt) / 1000) * (1 / share - 1);
    return `, about ${Math.ceil(seconds)} s left`;
  }
}
