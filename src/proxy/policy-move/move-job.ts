/**
 * The job behind a container's change of policy (README): copies every name, settles, removes what is left
 * in the old policy. It walks the container's rows at this node's own device, deleted ones too, after
 * that has heard a majority. All primaries of a container find it; the first healthy one has the lease
 * (bucket-jobs/job-record.ts) and goes on where the last one was. Every step may be done twice.
 */
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, containerPath } from '#base/names.ts';
import type { RowPlace } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { RowStore } from '#rows/row-store.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { BucketPage, FoundBucket } from '../bucket-jobs/bucket-walk.ts';
import { type Held, JobRecords, LEASE_MS } from '../bucket-jobs/job-record.ts';
import type { ContainerInfo, Operation, Store } from '../contract.ts';
import type { PolicyMoves } from './policy-moves.ts';
import {
  decodeProgress,
  encodeProgress,
  MOVE_JOB,
  NO_PROGRESS,
  type Progress,
} from './progress.ts';

export interface MoveJobOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly cluster: ClusterSource;
  readonly store: Store;
  readonly moves: PolicyMoves;
  /** By device id. */
  readonly rows: () => ReadonlyMap<number, Pick<RowStore, 'rowsOf'>>;
  /** Containers of this node that are moving (BucketWalk). */
  readonly walk: { next(): BucketPage };
  readonly node: string;
  /** Longer than anybody goes on with what he has heard of a container (twice `containerStaleMs`). */
  readonly settleMs?: number;
  readonly restMs?: number;
  readonly pageItems?: number;
}

const REST_MS = 5_000;
const SETTLE_MS = 120_000;
const PAGE = 100;
const CONCURRENCY = 8;
const MAX_SEEN = 10_000;

interface Work {
  readonly held: Held;
  readonly device: number;
}

export class MoveJob implements Job {
  readonly name = 'container.policy';
  readonly #options: MoveJobOptions;
  readonly #records: JobRecords;
  #found: FoundBucket[] = [];
  #work: Work | undefined;
  #isThrough = false;
  #copied = 0;
  #retired = 0;
  #failed = 0;
  #moves = 0;
  /** When this node first saw a container move, by path: the next in line waits from then. */
  readonly #seenMs = new Map<string, number>();
  /**
   * When this process first knew that all replicas have the settings, by path and settings. By its own clock:
   * the wall clocks of two nodes may be hours apart, and who takes over must not take that for a wait.
   */
  readonly #confirmedMs = new Map<string, number>();

  constructor(options: MoveJobOptions) {
    this.#options = options;
    const { env, store, node: holder } = options;
    this.#records = new JobRecords({ env, store, job: MOVE_JOB, holder });
  }

  facts(): Record<string, number> {
    const counts = { copied: this.#copied, retired: this.#retired, failed: this.#failed };
    return { ...counts, moves: this.#moves };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const operation: Operation = { txn: this.name, signal, read: 'quorum' };
    const work = this.#work;
    if (work !== undefined) {
      this.#work = undefined; // what throws is begun again by the next walk
      this.#work = await this.#goOn(operation, work);
      return { kind: 'more' };
    }
    const next = this.#found.shift();
    if (next !== undefined) {
      this.#work = await this.#claim(operation, next);
      return { kind: 'more' };
    }
    return this.#look();
  }

  /** The next of those that are moving; a rest after each walk over all containers. */
  #look(): StepResult {
    if (this.#isThrough) {
      this.#isThrough = false;
      return { kind: 'idle', waitMs: this.#options.restMs ?? REST_MS };
    }
    const { found, done } = this.#options.walk.next();
    this.#found = [...found];
    this.#isThrough = done;
    return { kind: 'more' };
  }

  async #claim(operation: Operation, found: FoundBucket): Promise<Work | undefined> {
    const { account, container, rank, device } = found;
    const bucket = { account, container };
    const patienceMs = rank * LEASE_MS;
    if (this.#waited(this.#seenMs, containerPath(bucket)) < patienceMs) return undefined;
    const info = await this.#options.store.containerInfo(operation, bucket, true);
    if (info?.former === undefined && info?.left === undefined) return undefined;
    const claim = await this.#records.claim(operation, bucket, info.since, patienceMs);
    if (claim.kind !== 'held') return undefined;
    await this.#options.moves.refreshRows(operation, bucket, device);
    return { held: claim.held, device };
  }

  /** One page, or one step of the whole. Undefined: nothing more can be done now. */
  async #goOn(operation: Operation, work: Work): Promise<Work | undefined> {
    const { held } = work;
    const info = await this.#options.store.containerInfo(operation, held.bucket, true);
    if (info === undefined || info.since !== held.goal) return undefined;
    const progress = decodeProgress(held.place);
    if (progress.confirmedMs === 0) return await this.#confirm(operation, work, info);
    const confirmed = `${containerPath(info.name)} ${info.since}`;
    const waitedMs = this.#waited(this.#confirmedMs, confirmed);
    const isEarly = waitedMs < (this.#options.settleMs ?? SETTLE_MS);
    // Names may be removed only when nobody looks for them there any more.
    if (info.former === undefined && isEarly) return undefined;
    if (!progress.isWalked) return await this.#page(operation, work, info, progress);
    if (progress.failed > 0) {
      const again = { ...NO_PROGRESS, confirmedMs: progress.confirmedMs };
      await this.#advance(operation, work, again);
      return undefined;
    }
    if (isEarly) return undefined;
    return await this.#next(operation, work, info);
  }

  async #confirm(operation: Operation, work: Work, info: ContainerInfo): Promise<Work | undefined> {
    if (!(await this.#options.moves.confirm(operation, info.name))) return undefined;
    // The rows of all writes that were acknowledged by older settings are there by now.
    await this.#options.moves.refreshRows(operation, info.name, work.device);
    return await this.#advance(operation, work, { ...NO_PROGRESS, confirmedMs: this.#nowMs() });
  }

  async #next(operation: Operation, { held }: Work, info: ContainerInfo): Promise<undefined> {
    const { moves, env } = this.#options;
    const isLast = info.former === undefined;
    const done = await (isLast ? moves.finish(operation, info) : moves.settle(operation, info));
    if (!done) return;
    await this.#records.finish(operation, held);
    const event = isLast ? 'container.policy-changed' : 'container.policy-settled';
    env.log.info(event, { path: containerPath(info.name), policy: info.policy.name });
    if (isLast) this.#moves += 1;
  }

  async #page(
    operation: Operation,
    work: Work,
    info: ContainerInfo,
    progress: Progress,
  ): Promise<Work | undefined> {
    const { rows, cluster, pageItems = PAGE } = this.#options;
    const store = rows().get(work.device);
    if (store === undefined) return undefined;
    const { hashPrefix, hashSuffix } = cluster.current();
    const hash = hashPath(hashPrefix, containerPath(info.name), hashSuffix);
    const page = store.rowsOf(CONTAINER_RING, hash, progress.after, pageItems);
    const names = page.rows.map(({ name }) => name).filter((name) => name !== '');
    const failed = await this.#each(names, (name) => this.#one(operation, info, name));
    return await this.#advance(operation, work, {
      ...progress,
      after: page.next && afterOf(page.next),
      isWalked: page.next === undefined,
      names: progress.names + names.length,
      failed: progress.failed + failed,
    });
  }

  async #one(operation: Operation, info: ContainerInfo, object: string): Promise<boolean> {
    const { moves, env } = this.#options;
    const name = { ...info.name, object };
    try {
      if (info.former !== undefined) {
        if ((await moves.copy(operation, info, name)) === 'copied') this.#copied += 1;
      } else if (info.left !== undefined) {
        // A replica that is away is for the auditor, when it is back (object/retirer.ts).
        if (await moves.retire(operation, name, info.left.index)) this.#retired += 1;
      }
      return true;
    } catch (error) {
      const facts = { path: `${containerPath(info.name)}/${object}`, error: codeOf(error) };
      env.log.info('object.not-moved', facts);
      this.#failed += 1;
      // What is left where nobody looks does not hold the move up.
      return info.former === undefined;
    }
  }

  /** How many failed. */
  async #each(names: readonly string[], work: (name: string) => Promise<boolean>): Promise<number> {
    let next = 0;
    let failed = 0;
    const lane = async (): Promise<void> => {
      for (let at = next++; at < names.length; at = next++) {
        if (!(await work(names[at]!))) failed += 1;
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, lane));
    return failed;
  }

  async #advance(operation: Operation, work: Work, place: Progress): Promise<Work | undefined> {
    const held = await this.#records.advance(operation, work.held, encodeProgress(place));
    return held && { ...work, held };
  }

  /** Milliseconds since this was asked first. */
  #waited(since: Map<string, number>, what: string): number {
    const nowMs = this.#options.env.clock.monotonicMs();
    const sinceMs = since.get(what) ?? nowMs;
    if (since.size >= MAX_SEEN) since.clear();
    since.set(what, sinceMs);
    return nowMs - sinceMs;
  }

  #nowMs(): number {
    return Math.floor(this.#options.env.clock.wallMicros() / 1000);
  }
}

/** Of the containers that a walk finds: those that are moving. */
export function isMoving(
  settings: { readonly from?: number; readonly left?: number } | undefined,
): boolean {
  return settings?.from !== undefined || settings?.left !== undefined;
}

function afterOf({ hidden, name }: RowPlace): Pick<RowPlace, 'hidden' | 'name'> {
  return { hidden, name };
}
