/**
 * Ring versions by range of hash buckets, for one ring: [from, to, version, from, to, version ...],
 * ascending, without overlap, neighbours of one version joined. Pure.
 */
export type VersionMarks = readonly number[];

/** More separate places than this are not kept apart, rather than grow without bound. */
export const MAX_MARKS = 16_384;
const FIELDS = 3;

interface Mark {
  readonly from: number;
  readonly to: number;
  readonly version: number;
}

export type Range = readonly [from: number, to: number];

/** With `version` in all of these ranges, where nothing higher is there. */
export function raised(
  marks: VersionMarks,
  ranges: readonly Range[],
  version: number,
): VersionMarks {
  const added = [...ranges]
    .sort((a, b) => a[0] - b[0])
    .map(([from, to]) => ({ from, to, version }));
  const bounds = [...listOf(marks), ...added].flatMap(({ from, to }) => [from, to]);
  const edges = [...new Set(bounds)].sort((a, b) => a - b);
  const before = new Cursor(listOf(marks));
  const after = new Cursor(merged(added));
  const pieces = edges.slice(0, -1).map((from, i) => {
    return { from, to: edges[i + 1]!, version: Math.max(before.at(from), after.at(from)) };
  });
  return flat(merged(pieces.filter((piece) => piece.version > 0)));
}

/** The version at a bucket, 0 for none. */
export function versionAt(marks: VersionMarks, bucket: number): number {
  let low = 0;
  let high = marks.length / FIELDS;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (marks[middle * FIELDS + 1]! <= bucket) low = middle + 1;
    else high = middle;
  }
  const at = low * FIELDS;
  return at < marks.length && marks[at]! <= bucket ? marks[at + 2]! : 0;
}

/** The highest version anywhere in the range; 0 where it has none. */
export function highestVersion(marks: VersionMarks, [from, to]: Range): number {
  const touched = listOf(marks).filter((mark) => mark.from < to && mark.to > from);
  return touched.reduce((most, { version }) => Math.max(most, version), 0);
}

/** The lowest version anywhere in the range; 0 where a part of it has none. */
export function leastVersion(marks: VersionMarks, [from, to]: Range): number {
  let least = Number.POSITIVE_INFINITY;
  let reached = from;
  for (const mark of listOf(marks)) {
    if (mark.to <= reached) continue;
    if (mark.from > reached) return 0;
    least = Math.min(least, mark.version);
    reached = mark.to;
    if (reached >= to) return least;
  }
  return 0;
}

/** Only what is still of use. */
export function kept(
  marks: VersionMarks,
  wanted: (range: Range, version: number) => boolean,
): VersionMarks {
  return flat(listOf(marks).filter(({ from, to, version }) => wanted([from, to], version)));
}

/** As it was stored. Undefined: not marks. */
export function parseMarks(value: unknown, buckets: number): VersionMarks | undefined {
  if (!Array.isArray(value) || value.length % FIELDS !== 0) return undefined;
  const numbers = value as unknown[];
  if (!numbers.every((item) => Number.isSafeInteger(item))) return undefined;
  let last = 0;
  for (const { from, to, version } of listOf(numbers as number[])) {
    if (from < last || to <= from || to > buckets || version < 0) return undefined;
    last = to;
  }
  return numbers as number[];
}

function listOf(marks: VersionMarks): Mark[] {
  const list: Mark[] = [];
  for (let i = 0; i < marks.length; i += FIELDS) {
    list.push({ from: marks[i]!, to: marks[i + 1]!, version: marks[i + 2]! });
  }
  return list;
}

function flat(list: readonly Mark[]): VersionMarks {
  return list.flatMap(({ from, to, version }) => [from, to, version]);
}

/** Neighbours, and what overlaps, of one version become one. */
function merged(list: readonly Mark[]): Mark[] {
  const result: Mark[] = [];
  for (const mark of list) {
    const last = result.at(-1);
    if (last !== undefined && last.to >= mark.from && last.version === mark.version) {
      result[result.length - 1] = { ...last, to: Math.max(last.to, mark.to) };
    } else result.push(mark);
  }
  return result;
}

/** Looks up buckets in ascending order. */
class Cursor {
  readonly #list: readonly Mark[];
  #next = 0;

  constructor(list: readonly Mark[]) {
    this.#list = list;
  }

  at(bucket: number): number {
    while (this.#next < this.#list.length && this.#list[this.#next]!.to <= bucket) this.#next++;
    const mark = this.#list[this.#next];
    return mark !== undefined && mark.from <= bucket ? mark.version : 0;
  }
}
