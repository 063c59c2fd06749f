/** For which buckets a device is complete: its ranges, merged, for many questions at once. */
interface BucketRange {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/** Of lists that stay as they are: one that is asked about again and again is merged once. */
const WORKED_OUT = new WeakMap<readonly BucketRange[], Coverage>();

export function coverageOf(ranges: readonly BucketRange[]): Coverage {
  let coverage = WORKED_OUT.get(ranges);
  if (coverage === undefined) {
    coverage = new Coverage(ranges);
    WORKED_OUT.set(ranges, coverage);
  }
  return coverage;
}

export class Coverage {
  readonly #merged: { readonly from: number; to: number }[] = [];

  constructor(ranges: readonly BucketRange[]) {
    for (const { from, to } of [...ranges].sort((a, b) => a.from - b.from)) {
      const last = this.#merged.at(-1);
      if (last === undefined || from > last.to) this.#merged.push({ from, to });
      else last.to = Math.max(last.to, to);
    }
  }

  /** Whether all of [from, to) is in. */
  has(from: number, to: number): boolean {
    let low = 0;
    let high = this.#merged.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#merged[middle]!.from <= from) low = middle + 1;
      else high = middle;
    }
    const range = this.#merged[low - 1];
    return range !== undefined && range.to >= to;
  }
}
