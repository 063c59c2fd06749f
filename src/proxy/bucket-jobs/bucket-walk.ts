/**
 * The containers of this node's devices that have something for a job to do, by a look at their own rows,
 * a page at a time: the configuration itself is the index, there is no second truth beside it.
 *
 * Where a whole walk found nothing, the next looks at nothing either until some row or the ring has changed.
 *
 * Every primary of a container finds it. `rank` is the primary's place among them: the first does the
 * work, the others wait for so many leases, so that the first healthy one does it.
 */
import type { EntryState } from '#base/entry.ts';
import { CONTAINER_RING, type ContainerName } from '#base/names.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { OwnState } from '#rows/answers.ts';
import type { RowStore } from '#rows/row-store.ts';
import { headersOf } from '../own-state.ts';

export interface FoundBucket extends ContainerName {
  readonly rank: number;
  /** The primary. */
  readonly device: number;
}

export interface BucketPage {
  readonly found: readonly FoundBucket[];
  /** All devices have been gone through; the next page begins anew. */
  readonly done: boolean;
}

type BucketRows = Pick<RowStore, 'ownStates' | 'summaryChanges'>;

export interface BucketWalkOptions {
  readonly cluster: ClusterSource;
  /** By device id. */
  readonly rows: () => ReadonlyMap<number, BucketRows>;
  /** By its headers, how many objects it has, and all of its own state; by nothing else. */
  readonly isWanted: (
    headers: Readonly<Record<string, string>>,
    objects: number,
    state: EntryState,
  ) => boolean;
}

const PAGE = 200;
const START = Buffer.alloc(16);

export class BucketWalk {
  readonly #options: BucketWalkOptions;
  /** Devices that are still to be gone through, the present one first. */
  #devices: number[] | undefined;
  #from: Buffer = START;
  /** What the present walk rests on, and the last one that found nothing. */
  #basis: readonly unknown[] = [];
  #barren: readonly unknown[] | undefined;
  #hasFound = false;

  constructor(options: BucketWalkOptions) {
    this.#options = options;
  }

  next(): BucketPage {
    const devices = this.#options.rows();
    if (this.#devices === undefined && !this.#begin(devices)) return { found: [], done: true };
    this.#devices ??= [...devices.keys()];
    const [id] = this.#devices;
    const rows = id === undefined ? undefined : devices.get(id);
    const page = rows?.ownStates(CONTAINER_RING, this.#from, PAGE) ?? [];
    if (page.length < PAGE) {
      this.#devices.shift();
      this.#from = START;
    } else {
      this.#from = after(page.at(-1)!.hash);
    }
    const done = this.#devices.length === 0;
    const found = id === undefined ? [] : this.#wanted(id, page);
    this.#hasFound ||= found.length > 0;
    if (done) {
      this.#devices = undefined;
      this.#barren = this.#hasFound ? undefined : this.#basis;
    }
    return { found, done };
  }

  /** False: there is still nothing to find. */
  #begin(devices: ReadonlyMap<number, BucketRows>): boolean {
    const rows = [...devices].flatMap(([id, store]) => [id, store, store.summaryChanges]);
    this.#basis = [this.#options.cluster.current().rings.get(CONTAINER_RING), ...rows];
    this.#hasFound = false;
    const { length } = this.#basis;
    return length !== this.#barren?.length || this.#basis.some((v, i) => v !== this.#barren![i]);
  }

  #wanted(device: number, page: readonly OwnState[]): FoundBucket[] {
    const ring = this.#options.cluster.current().rings.get(CONTAINER_RING);
    if (ring === undefined) return [];
    return page.flatMap(({ hash, path, state, rows }) => {
      // Of one that is deleted the headers are kept for a row that comes late.
      const isGone = state?.data?.kind === 'deleted' && rows === 0;
      if (state === undefined || isGone) return [];
      if (!this.#options.isWanted(headersOf(state), rows, state)) return [];
      const { primaries } = ring.placement(ring.partitionOf(hash));
      const rank = primaries.findIndex(({ id }) => id === device);
      const name = nameOf(path);
      return rank < 0 || name === undefined ? [] : [{ ...name, rank, device }];
    });
  }
}

function nameOf(path: string): ContainerName | undefined {
  const slash = path.indexOf('/', 1);
  if (slash < 0) return undefined;
  return { account: path.slice(1, slash), container: path.slice(slash + 1) };
}

/** The next hash of the same length. */
function after(hash: Buffer): Buffer {
  const next = Buffer.from(hash);
  for (let i = next.length - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) return next;
  }
  return Buffer.alloc(hash.length + 1, 0xff); // There is none above.
}
