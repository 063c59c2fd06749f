/**
 * Fetches bodies that this node's devices should have and don't: after read-repair of a large object,
 * after damage, after a rejoin. Small ones come many in one message, large ones as a stream that goes
 * on at the byte it had when its source breaks off (large-pull.ts).
 * Best effort: what is dropped here (full queue, nobody has it) the next scan finds again.
 */
import type { DataPart } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import {
  DEFAULT_INLINE_LIMIT,
  type Device,
  type Entry,
  type EntryKey,
  type StagedBody,
} from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Caller } from '#wire/contract.ts';
import { fetchBodies, MAX_BATCH_BODIES, MAX_BATCH_BYTES } from './body-batch.ts';
import { bringBody } from './bring-body.ts';
import type { RepairBudget } from './budget.ts';
import type { Target } from './calls.ts';
import type { Devices } from './guard.ts';
import { isBodiless, joinedEntry } from './incoming.ts';
import { LargePull } from './large-pull.ts';
import type { PeerBoard } from './peer-board.ts';
import { PullQueue, type PullRequest } from './pull-queue.ts';
import { objectTargets } from './targets.ts';

/** A body that is wanted, and who is still to be asked for it. */
export interface Pull {
  readonly request: PullRequest;
  readonly device: Device;
  readonly entry: Entry;
  readonly length: number;
  readonly sources: readonly Target[];
}

/** Bodies that one source is asked for at once. */
interface Batch {
  readonly source: Target;
  readonly pulls: readonly Pull[];
}

/** Requests that are sorted by their sources together, and looked up in one turn, while everybody else waits. */
const SORTED = 128;
const AT_ONCE = 16;
/** The whole queue is this far down: time to look for more. */
const LOW = 1_000;

export interface PullerParts {
  readonly env: Env;
  readonly caller: Caller;
  readonly cluster: ClusterSource;
  readonly devices: Devices;
  readonly board: PeerBoard;
  readonly budget: RepairBudget;
}

export class BodyPuller {
  readonly #parts: PullerParts;
  readonly #large: LargePull;
  readonly #queue = new PullQueue();
  /** Sorted, and next in turn. */
  readonly #ready: Batch[] = [];
  readonly #stopped = new AbortController();
  #active = 0;
  #isSorting = false;
  #pulled = 0;
  #pulledWhenLow = 0;
  #pulledBytes = 0;
  #resumed = 0;
  #low: () => void = () => undefined;

  constructor(parts: PullerParts) {
    this.#parts = parts;
    this.#large = new LargePull(parts, this.#stopped.signal, {
      resumed: () => this.#resumed++,
      parked: (isParked) => this.#parked(isParked),
    });
  }

  /** False: already known, or the queue is full. */
  enqueue(request: PullRequest): boolean {
    if (this.#stopped.signal.aborted || !this.#queue.push(request)) return false;
    this.#pump();
    return true;
  }

  /** The body of exactly this data part, while somebody waits for it: see bring-body.ts. */
  bring(
    device: Device,
    key: EntryKey,
    data: DataPart,
    sources: readonly Target[],
    budgeted?: AbortSignal,
  ): Promise<Buffer | StagedBody | undefined> {
    return bringBody(this.#parts, device, key, data, sources, budgeted);
  }

  get waiting(): number {
    return this.#queue.size;
  }

  facts(): Record<string, number> {
    return {
      waiting: this.waiting,
      pulled: this.#pulled,
      pulledBytes: this.#pulledBytes,
      resumed: this.#resumed,
    };
  }

  /** Called when bodies have come and few are left to fetch. */
  onLow(low: () => void): void {
    this.#low = low;
  }

  close(): void {
    this.#stopped.abort();
    this.#queue.clear();
    this.#ready.length = 0;
  }

  #pump(): void {
    while (this.#active < this.#parts.budget.limits.concurrency) {
      this.#ready.unshift(...batches(this.#prepareAll(this.#queue.takeHanded(SORTED))));
      const batch = this.#ready.shift();
      if (batch === undefined) {
        void this.#sort();
        return;
      }
      this.#active++;
      void this.#run(batch).finally(() => {
        this.#active--;
        this.#pump();
      });
    }
  }

  /**
   * One that waits for the hour of a line holds up nobody whose line is open. It goes on at once when that comes: for
   * as long as others take to end there may be more of them than the limit says.
   */
  #parked(isParked: boolean): void {
    this.#active += isParked ? -1 : 1;
    if (isParked) this.#pump();
  }

  /** Sorts what is next in turn, over several turns of the event loop, and begins with it. */
  async #sort(): Promise<void> {
    if (this.#isSorting) return;
    this.#isSorting = true;
    const pulls: Pull[] = [];
    let taken = this.#queue.takeOthers(AT_ONCE);
    const isEmpty = taken.length === 0;
    for (let i = AT_ONCE; taken.length > 0; i += AT_ONCE) {
      pulls.push(...this.#prepareAll(taken));
      if (taken.length < AT_ONCE || i >= SORTED) break;
      await this.#parts.env.clock.sleep(0);
      taken = this.#queue.takeOthers(AT_ONCE);
    }
    this.#isSorting = false;
    this.#ready.push(...batches(pulls));
    // What was taken may all have come otherwise; what waits behind it has nobody else to begin it.
    if (!isEmpty) this.#pump();
  }

  #prepareAll(requests: readonly PullRequest[]): Pull[] {
    const pulls: Pull[] = [];
    for (const request of requests) {
      const pull = this.#prepare(request);
      if (pull === undefined) this.#done(request);
      else pulls.push(pull);
    }
    return pulls;
  }

  #prepare(request: PullRequest): Pull | undefined {
    try {
      const device = this.#parts.devices().get(request.device);
      const { policy, hash, incoming } = request;
      const existing = device?.stat(request);
      const entry = incoming ? joinedEntry({ policy, hash }, existing, incoming) : existing;
      if (device === undefined || entry === undefined || !isBodiless(entry)) return undefined;
      const length = entry.state.data?.body?.length ?? 0;
      const sources = this.#sources(request);
      const open = sources.filter(({ node }) => this.#parts.budget.isOpen(node));
      // Those that may give it now; where nobody may, it is looked for again, and holds up nothing.
      if (open.length === 0 && sources.length > 0) return undefined;
      return { request, device, entry, length, sources: open };
    } catch {
      return undefined; // the device has just failed: whoever repairs it asks again
    }
  }

  /** Those named first; then this node's own site, then the others, turned so that all share the work. */
  #sources(request: PullRequest): Target[] {
    const { cluster, board, budget } = this.#parts;
    const named = request.sources ?? [];
    const places = objectTargets(cluster.current(), request).filter(
      ({ device }) => device !== request.device && !named.some((one) => one.device === device),
    );
    const turn = request.hash[request.hash.length - 1]! % Math.max(1, places.length);
    const turned = [...places.slice(turn), ...places.slice(0, turn)];
    const cost = ({ node, device }: Target): number => {
      const status = board.device(device)?.status ?? 'ok';
      return (status === 'ok' || status === 'full' ? 0 : 2) + (budget.isNear(node) ? 0 : 1);
    };
    return [...named, ...turned.sort((a, b) => cost(a) - cost(b))];
  }

  async #run({ source, pulls }: Batch): Promise<void> {
    const { env } = this.#parts;
    const rest = new Set(pulls);
    const got = (pull: Pull): void => {
      rest.delete(pull);
      this.#pulled++;
      this.#pulledBytes += pull.length;
      this.#done(pull.request);
    };
    const startMs = env.clock.monotonicMs();
    const isLarge = pulls[0]!.length > DEFAULT_INLINE_LIMIT;
    let workedMs: number | undefined;
    try {
      if (!isLarge) {
        workedMs = await fetchBodies(this.#parts, source, pulls, got, this.#stopped.signal);
      } else if (await this.#large.pull(pulls[0]!)) got(pulls[0]!);
    } catch (error) {
      const facts = { from: source.node, bodies: pulls.length, error: codeOf(error) };
      env.log.debug('object.pull-failed', facts);
    }
    this.#retry([...rest]);
    workedMs ??= env.clock.monotonicMs() - startMs;
    await this.#pause(workedMs, isLarge ? 1 : this.#parts.budget.limits.concurrency);
  }

  /** Asks the next source; a large body has asked all of them already. */
  #retry(rest: readonly Pull[]): void {
    const next: Pull[] = [];
    for (const pull of rest) {
      const sources = pull.length > DEFAULT_INLINE_LIMIT ? [] : pull.sources.slice(1);
      if (sources.length > 0 && !this.#stopped.signal.aborted) next.push({ ...pull, sources });
      else this.#giveUp(pull);
    }
    this.#ready.unshift(...batches(next));
  }

  #giveUp({ request, device, entry }: Pull): void {
    this.#done(request);
    const { budget } = this.#parts;
    const isClosed = this.#sources(request).some(({ node }) => !budget.isOpen(node));
    if (this.#stopped.signal.aborted || isClosed) return;
    this.#parts.env.log.warn('object.body-missing', { device: device.id, path: entry.path });
  }

  #done(request: PullRequest): void {
    this.#queue.done(request);
    const isLow = this.waiting === LOW || this.waiting === 0;
    // Not after mere failures: what nobody has would be looked for again at once, for ever.
    if (!isLow || this.#pulled === this.#pulledWhenLow) return;
    this.#pulledWhenLow = this.#pulled;
    this.#low();
  }

  /**
   * Leaves the rest of the time to others, as the share says. Small bodies cost CPU, here and where they come
   * from, so those that fetch them at once have the share together; large ones cost the disk only.
   */
  async #pause(workedMs: number, together: number): Promise<void> {
    const { env, budget } = this.#parts;
    const waitMs = Math.min(1_000, workedMs * (together / budget.limits.share - 1));
    if (waitMs < 1) return;
    // Ends early only because the puller was closed.
    await env.clock.sleep(waitMs, this.#stopped.signal).catch(() => undefined);
  }
}

function batches(pulls: readonly Pull[]): Batch[] {
  const open = new Map<string, { source: Target; pulls: Pull[]; bytes: number }>();
  const done: Batch[] = [];
  for (const pull of pulls) {
    const source = pull.sources[0] ?? NOBODY;
    if (pull.length > DEFAULT_INLINE_LIMIT) {
      done.push({ source, pulls: [pull] });
      continue;
    }
    const key = `${pull.device.id}/${pull.request.policy}/${source.device}`;
    let batch = open.get(key);
    const isFull =
      batch !== undefined &&
      (batch.pulls.length >= MAX_BATCH_BODIES || batch.bytes + pull.length > MAX_BATCH_BYTES);
    if (batch === undefined || isFull) {
      if (batch !== undefined) done.push(batch);
      open.set(key, (batch = { source, pulls: [], bytes: 0 }));
    }
    batch.pulls.push(pull);
    batch.bytes += pull.length;
  }
  return [...done, ...open.values()];
}

/** Nobody has it: asking fails, and it is reported as missing. */
const NOBODY: Target = { device: -1, node: '' };
