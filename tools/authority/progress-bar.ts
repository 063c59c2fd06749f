/** A bar on a terminal; where there is none, a line now and then. */
const WIDTH = 40;
const LINE_EVERY_MS = 10_000;

export class ProgressBar {
  readonly #startedAt = performance.now();
  #saidAt = Number.NEGATIVE_INFINITY;

  show(done: number, all: number, text: string): void {
    const share = all === 0 ? 0 : done / all;
    const filled = Math.round(share * WIDTH);
    const bar = `${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}`;
    const line = `[${bar}] ${done}/${all} ${text}${this.#remaining(share)}`;
    if (process.stdout.isTTY) process.stdout.write(`\r\u001b[K${line}`);
    else if (performance.now() - this.#saidAt > LINE_EVERY_MS) {
      this.#saidAt = performance.now();
      console.log(line);
    }
  }

  end(text: string): void {
    if (process.stdout.isTTY) process.stdout.write('\r\u001b[K');
    console.log(text);
  }

  #remaining(share: number): string {
    if (share <= 0 || share >= 1) return '';
    const seconds = ((performance.now() - this.#startedAt) / 1000) * (1 / share - 1);
    return `, about ${Math.ceil(seconds)} s left`;
  }
}
