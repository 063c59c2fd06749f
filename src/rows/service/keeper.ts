/**
 * Keeps the cursors of busy containers moving, so that the first listing of a huge container does not
 * pull all of it. A container that was written lately and has come to rest is brought up to date as a
 * listing would do it: that is one comparison of digests. One that does not come to rest is brought up
 * to date whenever it has moved far, which is a bounded number of pages.
 */
import { codeOf } from '#base/errors.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { RowContext, RowDevice } from './context.ts';
import type { Freshness } from './freshness.ts';

const WAIT_MS = 1000;
/** Changed rows after which a container that does not come to rest is looked at. */
const LAG_ROWS = 50_000;
/** Small containers need no cursor: pulling all of them is cheap. */
const MIN_ROWS = 500;
const MAX_PER_STEP = 20;
/** Containers remembered; beyond it the oldest are looked at anew. */
const MAX_SEEN = 20_000;

interface Seen {
  /** Sequence when its cursors were last brought up to date. */
  kept: number;
  /** Sequence at the last step. */
  last: number;
}

export class CursorKeeper implements Job {
  readonly name: string;
  readonly #context: RowContext;
  readonly #freshness: Freshness;
  readonly #seen = new Map<string, Seen>();
  #kept = 0;

  constructor(context: RowContext, freshness: Freshness) {
    this.name = `${context.prefix}.cursors`;
    this.#context = context;
    this.#freshness = freshness;
  }

  facts(): Record<string, number> {
    return { kept: this.#kept, watched: this.#seen.size };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    let left = MAX_PER_STEP;
    for (const target of this.#context.options.devices().values()) {
      if (!isUsable(target)) continue;
      for (const { hash, path, sequence } of target.rows.recent(this.#context.ring, MIN_ROWS)) {
        const seen = this.#look(target, hash, sequence);
        if (!seen.isDue || left <= 0 || signal.aborted) continue;
        left--;
        if (await this.#keep(target, hash, path)) seen.entry.kept = sequence;
      }
    }
    return left > 0 ? { kind: 'idle', waitMs: WAIT_MS } : { kind: 'more' };
  }

  /** False: too few replicas answer; the next step tries again. */
  async #keep(target: RowDevice, hash: Buffer, path: string): Promise<boolean> {
    // Of one that is being handed over it would bring back what has gone already.
    if (!this.#isReplica(target, hash)) return true;
    try {
      await this.#freshness.bringUpToDate(target, { hash, path, txn: this.name });
      this.#kept++;
      return true;
    } catch (error) {
      if (codeOf(error) !== 'unavailable') throw error;
      return false;
    }
  }

  #isReplica({ device }: RowDevice, hash: Buffer): boolean {
    return this.#context.replicas(hash).members.some((member) => member.device === device.id);
  }

  /** Due: it moved since its cursors were kept, and rests now or has moved far. */
  #look(target: RowDevice, hash: Buffer, sequence: number): { entry: Seen; isDue: boolean } {
    const key = `${target.device.id} ${hash.toString('latin1')}`;
    const entry = this.#seen.get(key) ?? { kept: 0, last: -1 };
    const rests = entry.last === sequence;
    entry.last = sequence;
    if (this.#seen.size >= MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value!);
    this.#seen.set(key, entry);
    const isDue = entry.kept !== sequence && (rests || sequence - entry.kept >= LAG_ROWS);
    return { entry, isDue };
  }
}

export function isUsable({ device, rows }: RowDevice): boolean {
  return device.status === 'ok' && rows.damage === undefined;
}
