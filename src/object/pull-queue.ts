/**
 * Bodies that wait to be fetched, each once, first come first served; but what a stand-in hands over goes
 * before all that a refill lacks: it may be the only good copy, and the stand-in keeps it until then.
 */
import { BoundedQueue } from '#base/bounded-queue.ts';
import type { EntryKey } from '#device/contract.ts';
import type { Target } from './calls.ts';
import type { Incoming } from './incoming.ts';

export interface PullRequest extends EntryKey {
  readonly device: number;
  /** Replicas believed to have the body; else the primaries are asked in turn. */
  readonly sources?: readonly Target[];
  /** Of a state that is joined when its body is here; else that of the entry as it is. */
  readonly incoming?: Incoming;
  /** By a stand-in. */
  readonly isHanded?: boolean;
}

const MAX_WAITING = 20_000;

export class PullQueue {
  readonly #handed = new BoundedQueue<PullRequest>(MAX_WAITING);
  readonly #others = new BoundedQueue<PullRequest>(MAX_WAITING);
  /** Waiting, or taken and not yet done: many readers may report the same damage. */
  readonly #known = new Map<string, { readonly request: PullRequest; readonly isTaken: boolean }>();

  /** All that are not done. */
  get size(): number {
    return this.#known.size;
  }

  /** False: already known, or the queue is full. */
  push(request: PullRequest): boolean {
    const key = keyText(request);
    const known = this.#known.get(key);
    const isHanded = request.isHanded === true;
    const comesForward = isHanded && known?.isTaken === false && known.request.isHanded !== true;
    if (known !== undefined && !comesForward) return false;
    if (!(isHanded ? this.#handed : this.#others).push(request)) return false;
    this.#known.set(key, { request, isTaken: false });
    return true;
  }

  takeHanded(atMost: number): PullRequest[] {
    return this.#take(this.#handed, atMost);
  }

  takeOthers(atMost: number): PullRequest[] {
    return this.#take(this.#others, atMost);
  }

  done(request: PullRequest): void {
    this.#known.delete(keyText(request));
  }

  clear(): void {
    this.#handed.clear();
    this.#others.clear();
  }

  #take(queue: BoundedQueue<PullRequest>, atMost: number): PullRequest[] {
    const taken: PullRequest[] = [];
    while (taken.length < atMost) {
      const request = queue.shift();
      if (request === undefined) break;
      const key = keyText(request);
      // Else another request for the same has come forward.
      if (this.#known.get(key)?.request !== request) continue;
      this.#known.set(key, { request, isTaken: true });
      taken.push(request);
    }
    return taken;
  }
}

function keyText({ device, policy, hash }: PullRequest): string {
  return `${device}/${policy}/${hash.toString('hex')}`;
}
