/**
 * The lifecycle job: deletes objects whose time is over by their bucket's rules, and aborts uploads that
 * nobody completed. Each bucket has one round a day, and one whenever its rules change; a step is one
 * page of one bucket (round.ts).
 *
 * All primaries of a container find it (bucket-walk.ts); the first healthy one has the lease
 * (job-record.ts) and goes on where the last one was.
 */
import { hash } from 'node:crypto';
import { type ContainerName, containerPath } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { BucketPage, FoundBucket } from '../bucket-jobs/bucket-walk.ts';
import { type Held, JobRecords, LEASE_MS } from '../bucket-jobs/job-record.ts';
import type { Operation } from '../contract.ts';
import type { VersionedStore } from '../versions/contract.ts';
import { LifecycleRound } from './round.ts';
import { DAY_MS, decodeLifecycle, LIFECYCLE_HEADER } from './rules.ts';

export interface LifecycleOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly store: VersionedStore;
  /** Containers of this node that have rules (BucketWalk). */
  readonly walk: { next(): BucketPage };
  /** Who holds leases, for people who look at them. */
  readonly node: string;
  /** A day, or less where somebody wants to see rules at work. */
  readonly dayMs?: number;
  /** Least rest between two walks over this node's containers. */
  readonly restMs?: number;
  /** Names that one step looks at. */
  readonly pageItems?: number;
}

interface Seen {
  readonly goal: string;
  readonly sinceMs: number;
  readonly done: boolean;
}

const REST_MS = 15_000;
/** A walk over very many containers rests this many times as long as it took. */
const REST_SHARE = 20;
const MAX_SEEN = 100_000;

export class LifecycleJob implements Job {
  readonly name = 's3.lifecycle';
  readonly #options: LifecycleOptions;
  readonly #records: JobRecords;
  readonly #round: LifecycleRound;
  readonly #dayMs: number;
  /** What is known of a container's present round, least lately learnt first. */
  readonly #seen = new Map<string, Seen>();
  #found: FoundBucket[] = [];
  #held: Held | undefined;
  /** All of this node's containers have been looked at; what was found is worked off first. */
  #walkDone = false;
  #walkMs = 0;
  #rounds = 0;

  constructor(options: LifecycleOptions) {
    const { env, store, node: holder } = options;
    this.#options = options;
    this.#dayMs = options.dayMs ?? DAY_MS;
    this.#records = new JobRecords({ env, store, job: 'lifecycle', holder });
    this.#round = new LifecycleRound(env, store, this.#dayMs, options.pageItems);
  }

  facts(): Readonly<Record<string, string | number | boolean>> {
    return { rounds: this.#rounds, ...this.#round.counts };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const operation: Operation = { txn: this.name, signal, read: 'quorum' };
    if (this.#held !== undefined) return await this.#work(operation, this.#held);
    const next = this.#found.shift();
    if (next !== undefined) {
      this.#held = await this.#claim(operation, next);
      return { kind: 'more' };
    }
    return this.#walkDone ? this.#rest() : this.#look();
  }

  #look(): StepResult {
    const startMs = this.#nowMs();
    const { found, done } = this.#options.walk.next();
    this.#found = [...found];
    this.#walkMs += this.#nowMs() - startMs;
    this.#walkDone = done;
    return done && found.length === 0 ? this.#rest() : { kind: 'more' };
  }

  #rest(): StepResult {
    this.#walkDone = false;
    const waitMs = Math.max(this.#options.restMs ?? REST_MS, REST_SHARE * this.#walkMs);
    this.#walkMs = 0;
    return { kind: 'idle', waitMs };
  }

  /** The lease, if this bucket has a round to be done and nobody before this node does it. */
  async #claim(operation: Operation, found: FoundBucket): Promise<Held | undefined> {
    const { account, container, rank } = found;
    const bucket = { account, container };
    const goal = await this.#goalOf(operation, bucket);
    const path = containerPath(bucket);
    const known = this.#seen.get(path);
    if (goal === undefined || (known?.goal === goal && known.done)) return undefined;
    const sinceMs = known?.goal === goal ? known.sinceMs : this.#nowMs();
    this.#remember(path, { goal, sinceMs, done: false });
    const patienceMs = rank * LEASE_MS;
    if (this.#nowMs() - sinceMs < patienceMs) return undefined;
    const claim = await this.#records.claim(operation, bucket, goal, patienceMs);
    if (claim.kind === 'done') this.#remember(path, { goal, sinceMs, done: true });
    return claim.kind === 'held' ? claim.held : undefined;
  }

  /** The day and the rules; undefined: there are none (any more). */
  async #goalOf(operation: Operation, bucket: ContainerName): Promise<string | undefined> {
    const info = await this.#options.store.containerInfo(operation, bucket, true);
    const text = info?.headers[LIFECYCLE_HEADER];
    if (text === undefined) return undefined;
    return `${this.#today()} ${hash('md5', text)}`;
  }

  /** One page. What fails is tried again, by this node or, when it stays away, by the next. */
  async #work(operation: Operation, held: Held): Promise<StepResult> {
    const { bucket } = held;
    const info = await this.#options.store.containerInfo(operation, bucket, true);
    const text = info?.headers[LIFECYCLE_HEADER];
    this.#held = undefined;
    if (text === undefined) return { kind: 'more' };
    const next = await this.#round.page(operation, bucket, decodeLifecycle(text), held.place);
    if (next !== undefined) {
      this.#held = await this.#records.advance(operation, held, next);
      return { kind: 'more' };
    }
    await this.#records.finish(operation, held);
    const sinceMs = this.#nowMs();
    this.#remember(containerPath(bucket), { goal: held.goal, sinceMs, done: true });
    this.#rounds += 1;
    return { kind: 'more' };
  }

  #remember(path: string, seen: Seen): void {
    this.#seen.delete(path);
    this.#seen.set(path, seen);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value!);
  }

  #today(): number {
    return Math.floor(this.#options.env.clock.wallMicros() / 1000 / this.#dayMs);
  }

  #nowMs(): number {
    return this.#options.env.clock.monotonicMs();
  }
}
