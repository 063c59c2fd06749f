/**
 * Keeps the cursors of busy containers moving, so that the first listing of a huge container does not
 * pull all of it. A container whose sequence here has moved far from where its cursors were last
 * looked at is brought up to date as a listing would do it, one per step: in a quiet moment that is
 * one comparison of digests, under load a bounded number of pages.
 */
import type { Job, StepResult } from '#worker/job.ts';
import type { RowContext, RowDevice } from './context.ts';
import type { Freshness } from './freshness.ts';

const SCAN = 256;
const SCAN_WAIT_MS = 1000;
/** Changed rows after which a container under load is looked at. */
const LAG_ROWS = 50_000;
/** Small containers need no cursor: pulling all of them is cheap. */
const MIN_ROWS = 2000;
/** Containers remembered; beyond it the oldest are looked at anew. */
const MAX_SEEN = 10_000;

interface Seen {
  /** Sequence when its cursors were last brought up to date. */
  kept: number;
  /** Sequence at the last scan. */
  last: number;
}

export class CursorKeeper implements Job {
  readonly name: string;
  readonly #context: RowContext;
  readonly #freshness: Freshness;
  readonly #seen = new Map<string, Seen>();
  #position: { device: number; after: Buffer } | undefined;
  #kept = 0;

  constructor(context: RowContext, freshness: Freshness) {
    this.name = `${context.prefix}.cursors`;
    this.#context = context;
    this.#freshness = freshness;
  }

  facts(): Record<string, number> {
    return { kept: this.#kept, watched: this.#seen.size };
  }

  /** Looks at the next containers of one device; a whole round over all devices, then waits. */
  async step(signal: AbortSignal): Promise<StepResult> {
    const target = this.#nextDevice();
    if (target === undefined) return { kind: 'idle', waitMs: SCAN_WAIT_MS };
    const from = this.#position?.after ?? Buffer.alloc(16);
    const page = target.rows.containers(this.#context.ring, from, undefined, SCAN);
    for (const { hash, path, sequence, total } of page) {
      if (signal.aborted) break;
      if (total < MIN_ROWS || !this.#isDue(target, hash, sequence)) continue;
      await this.#freshness.bringUpToDate(target, { hash, path, txn: this.name });
      this.#kept++;
      this.#seen.set(keyOf(target, hash), { kept: sequence, last: sequence });
    }
    return this.#advance(target, page.at(-1)?.hash, page.length === SCAN);
  }

  /** Quiet since the last scan, or too far ahead. */
  #isDue(target: RowDevice, hash: Buffer, sequence: number): boolean {
    const key = keyOf(target, hash);
    const seen = this.#seen.get(key);
    if (seen === undefined) {
      if (this.#seen.size >= MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value!);
      this.#seen.set(key, { kept: 0, last: sequence });
      return false;
    }
    const isQuiet = seen.last === sequence;
    seen.last = sequence;
    return seen.kept !== sequence && (isQuiet || sequence - seen.kept >= LAG_ROWS);
  }

  #nextDevice(): RowDevice | undefined {
    const devices = [...this.#context.options.devices().values()].filter(isUsable);
    const at = devices.findIndex(({ device }) => device.id === this.#position?.device);
    return devices[Math.max(0, at)];
  }

  #advance(target: RowDevice, last: Buffer | undefined, more: boolean): StepResult {
    if (more && last !== undefined) {
      this.#position = { device: target.device.id, after: Buffer.concat([last, Buffer.from([0])]) };
      return { kind: 'more' };
    }
    const devices = [...this.#context.options.devices().values()].filter(isUsable);
    const at = devices.findIndex(({ device }) => device.id === target.device.id);
    const next = devices[at + 1];
    this.#position = next && { device: next.device.id, after: Buffer.alloc(16) };
    return next === undefined ? { kind: 'idle', waitMs: SCAN_WAIT_MS } : { kind: 'more' };
  }
}

export function isUsable({ device, rows }: RowDevice): boolean {
  return device.status === 'ok' && rows.damage === undefined;
}

function keyOf(target: RowDevice, hash: Buffer): string {
  return `${target.device.id} ${hash.toString('latin1')}`;
}
