/**
 * Reclaim of rows: one device's walk over its tombstones and expired rows, the oldest first. When they may go is decided for
 * objects and rows alike (reclaim.ts); a container's own tombstone goes after all of its rows.
 */
import type { Device } from '#device/contract.ts';
import type { Ring } from '#ring/ring.ts';
import type { Tombstone } from '#rows/answers.ts';
import type { RowStore } from '#rows/row-store.ts';

interface Pass {
  readonly beforeMs: number;
  readonly after: Tombstone['place'] | undefined;
  readonly isOver: boolean;
}

export interface WalkStep {
  readonly forgotten: number;
  readonly more: boolean;
}

/** Tombstones in one step. */
const PAGE = 256;
const NOTHING: WalkStep = { forgotten: 0, more: false };

export class RowReclaim {
  readonly #passes = new Map<number, Pass>();

  /** Forgets some of what died on this device before then. */
  async step(
    device: Device,
    rows: RowStore,
    rings: readonly Ring[],
    beforeMs: number,
  ): Promise<WalkStep> {
    if (rows.damage !== undefined) return NOTHING;
    const last = this.#passes.get(device.id);
    const isNew = last === undefined || beforeMs > last.beforeMs;
    if (!isNew && last.isOver) return NOTHING;
    const pass = isNew ? { beforeMs, after: undefined } : last;
    const page = rows.tombstones(pass.beforeMs, pass.after, PAGE);
    const own = page.filter((row) => isOwn(device, rings, row));
    let forgotten = 0;
    for (const [first, some] of byContainer(own))
      forgotten += await rows.forget(first.ring, first.hash, some);
    const more = page.length === PAGE;
    this.#passes.set(device.id, { ...pass, after: page.at(-1)?.place, isOver: !more });
    return { forgotten, more };
  }
}

/** What belongs to others is handed over, not reclaimed. */
function isOwn({ id }: Device, rings: readonly Ring[], { ring, hash }: Tombstone): boolean {
  const placed = rings.find(({ policy }) => policy === ring);
  if (placed === undefined) return false;
  const { primaries, former = [] } = placed.placement(placed.partitionOf(hash));
  return [...primaries, ...former].some((device) => device.id === id);
}

function byContainer(page: readonly Tombstone[]): Map<Tombstone, Tombstone[]> {
  const containers = new Map<number, Tombstone[]>();
  for (const row of page) {
    const some = containers.get(row.place.container);
    if (some === undefined) containers.set(row.place.container, [row]);
    else some.push(row);
  }
  // An own state is refused while there are others, so it must not be asked about together with them.
  const ordered = [...containers.values()].flatMap((some) => {
    const rows = some.filter(({ name }) => name !== '');
    const states = some.filter(({ name }) => name === '');
    return [rows, states].filter((list) => list.length > 0);
  });
  return new Map(ordered.map((list) => [list[0]!, list]));
}
