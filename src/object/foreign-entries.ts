/**
 * What devices hold of partitions that are not their own: pages of entries, one after the other in a circle, by
 * device and ring. It remembers when a device was last found to hold nothing of others (the rounds that
 * reclaim rests on ask), and doesn't look again before its digests or the ring have changed.
 */
import { HASH_BYTES } from '#base/hash.ts';
import type { Device, Entry } from '#device/contract.ts';
import type { Clock } from '#env/env.ts';
import { foreignRanges } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import { bucketHash } from './exchange.ts';

interface Cleared {
  readonly device: Device;
  readonly ring: Ring;
  /** State of the digests in which there was nothing. */
  readonly changes: number;
  /** In monotonic time. */
  readonly atMs: number;
}

export interface ForeignPage {
  readonly entries: readonly Entry[];
  /** The pass before has seen everything; this is the first page of the next. */
  readonly isNewPass: boolean;
}

const PAGE = 256;
const FIRST_HASH = Buffer.alloc(HASH_BYTES);

export class ForeignEntries {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  /** Where to go on, by pass. */
  readonly #cursors = new Map<string, Buffer>();
  readonly #cleared = new Map<string, Cleared>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  /** When the device was last found to hold nothing of others in this ring, in monotonic time. */
  clearedAtMs(device: number, ring: Ring): number | undefined {
    return this.#cleared.get(passOf({ id: device }, ring))?.atMs;
  }

  /** The next page; after the last, the first again. */
  next(device: Device, ring: Ring): ForeignPage {
    const atMs = this.#clock.monotonicMs();
    if (this.#isStillClear(device, ring, atMs)) return { entries: [], isNewPass: false };
    const pass = passOf(device, ring);
    const start = this.#cursors.get(pass);
    let entries = pageOf(device, ring, start ?? FIRST_HASH);
    const isNewPass = entries.length === 0;
    if (isNewPass && start !== undefined) entries = pageOf(device, ring, FIRST_HASH);
    const last = entries.at(-1);
    if (last === undefined) {
      this.#cursors.delete(pass);
      this.#cleared.set(pass, { device, ring, changes: device.digests.changes, atMs });
    } else this.#cursors.set(pass, after(last.key.hash));
    return { entries, isNewPass };
  }

  /** Nothing has changed since it was: no look at thousands of gaps. */
  #isStillClear(device: Device, ring: Ring, nowMs: number): boolean {
    const last = this.#cleared.get(passOf(device, ring));
    const isSame = last?.device === device && last.ring === ring;
    if (!isSame || last.changes !== device.digests.changes) return false;
    this.#cleared.set(passOf(device, ring), { ...last, atMs: nowMs });
    return true;
  }
}

/** A walk over what one device holds of others in one ring. */
export function passOf({ id }: Pick<Device, 'id'>, { policy }: Ring): string {
  return `${id}/${policy}`;
}

function pageOf(device: Device, ring: Ring, start: Buffer): Entry[] {
  const page: Entry[] = [];
  for (const range of foreignRanges(ring, device.id)) {
    const [from, to] = [bucketHash(range.from)!, bucketHash(range.to) ?? undefined];
    if (to !== undefined && Buffer.compare(to, start) <= 0) continue;
    const [sum] = device.digests.summarise(ring.policy, range.from, range.to, 1);
    if (sum!.total === 0) continue;
    const begin = Buffer.compare(from, start) > 0 ? from : start;
    page.push(...device.entries(ring.policy, begin, to, PAGE - page.length));
    if (page.length >= PAGE) break;
  }
  return page;
}

/** The next hash: the cursor goes past what was seen, also when that could not be dropped. */
function after(hash: Buffer): Buffer {
  const next = Buffer.from(hash);
  for (let i = HASH_BYTES - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) break;
  }
  return next;
}
