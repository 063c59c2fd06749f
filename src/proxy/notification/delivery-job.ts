/**
 * Sends the events that wait, each until its receiver has taken it (2xx), and forgets it then: a receiver
 * may be told twice, and knows an event by its `x-anello-event`. A queue is worked off by the first
 * healthy primary of its container, under a lease; a step is one page of one queue.
 *
 * A receiver that fails is left alone for a while, which grows; the others of the queue go on.
 */
import { codeOf, messageOf } from '#base/errors.ts';
import { type ContainerName, containerPath } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { BucketPage, FoundBucket } from '../bucket-jobs/bucket-walk.ts';
import { type Held, JobRecords, LEASE_MS } from '../bucket-jobs/job-record.ts';
import type { Operation, Store } from '../contract.ts';
import { EventQueue, receiverOf } from './event-queue.ts';

/** Sends one event; the status that came back. @throws for what could not be sent, or may not be */
export type SendEvent = (
  url: string,
  request: { readonly headers: Readonly<Record<string, string>>; readonly body: string },
  signal: AbortSignal,
) => Promise<number>;

export interface DeliveryOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly store: Store;
  /** Queues of this node that have events (BucketWalk). */
  readonly walk: { next(): BucketPage };
  readonly node: string;
  readonly send: SendEvent;
  /** Least rest between two walks over this node's containers. */
  readonly restMs?: number;
}

interface Present {
  readonly queue: ContainerName;
  readonly marker: string;
}

interface Lease {
  readonly held: Held;
  readonly atMs: number;
}

interface BackOff {
  readonly failures: number;
  readonly untilMs: number;
}

const REST_MS = 1_000;
const REST_SHARE = 20;
const PAGE = 100;
const CONCURRENCY = 8;
const FIRST_BACK_OFF_MS = 1_000;
const MAX_BACK_OFF_MS = 300_000;
const MAX_KNOWN = 10_000;
const GOAL = 'deliver';

export class DeliveryJob implements Job {
  readonly name = 's3.events';
  readonly #options: DeliveryOptions;
  readonly #records: JobRecords;
  readonly #queue: EventQueue;
  #found: FoundBucket[] = [];
  #present: Present | undefined;
  /** All of this node's containers have been looked at; what was found is worked off first. */
  #walkDone = false;
  readonly #leases = new Map<string, Lease>();
  /** By receiver, as the names of events tell it. */
  readonly #backOffs = new Map<string, BackOff>();
  /** Since when a queue has had events without a break, and in this walk still has. */
  #waiting = new Map<string, number>();
  #stillWaiting = new Map<string, number>();
  #walkMs = 0;
  #sent = 0;
  #failed = 0;

  constructor(options: DeliveryOptions) {
    const { env, store, node: holder } = options;
    this.#options = options;
    this.#records = new JobRecords({ env, store, job: 'events', holder });
    this.#queue = new EventQueue(env, store);
  }

  facts(): Readonly<Record<string, string | number | boolean>> {
    const { size: failingReceivers } = this.#backOffs;
    return { sent: this.#sent, failed: this.#failed, failingReceivers };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const operation: Operation = { txn: this.name, signal, read: 'quorum' };
    if (this.#present !== undefined) {
      const { queue, marker } = this.#present;
      this.#present = undefined;
      this.#present = await this.#page(operation, queue, marker);
      return { kind: 'more' };
    }
    const next = this.#found.shift();
    if (next === undefined) return this.#walkDone ? this.#rest() : this.#look();
    const queue = { account: next.account, container: next.container };
    if (await this.#leads(operation, queue, next.rank)) this.#present = { queue, marker: '' };
    return { kind: 'more' };
  }

  #look(): StepResult {
    const startMs = this.#nowMs();
    const { found, done } = this.#options.walk.next();
    this.#found = [...found];
    for (const queue of found) {
      const path = containerPath(queue);
      this.#stillWaiting.set(path, this.#waiting.get(path) ?? startMs);
    }
    this.#walkMs += this.#nowMs() - startMs;
    this.#walkDone = done;
    return done && found.length === 0 ? this.#rest() : { kind: 'more' };
  }

  #rest(): StepResult {
    this.#walkDone = false;
    this.#waiting = this.#stillWaiting;
    this.#stillWaiting = new Map();
    const waitMs = Math.max(this.#options.restMs ?? REST_MS, REST_SHARE * this.#walkMs);
    this.#walkMs = 0;
    return { kind: 'idle', waitMs };
  }

  /** The lease is written anew only when half of it is over: events come by the thousand. */
  async #leads(operation: Operation, queue: ContainerName, rank: number): Promise<boolean> {
    const path = containerPath(queue);
    const now = this.#nowMs();
    const lease = this.#leases.get(path);
    if (lease !== undefined && now - lease.atMs < LEASE_MS / 2) return true;
    this.#leases.delete(path);
    const since = this.#stillWaiting.get(path) ?? this.#waiting.get(path) ?? now;
    const patienceMs = rank * LEASE_MS;
    if (now - since < patienceMs) return false;
    const claim = await this.#records.claim(operation, queue, GOAL, patienceMs);
    if (claim.kind !== 'held') return false;
    if (this.#leases.size >= MAX_KNOWN) this.#leases.clear();
    this.#leases.set(path, { held: claim.held, atMs: now });
    return true;
  }

  /** Where to go on in this queue; undefined: its end. */
  async #page(
    operation: Operation,
    queue: ContainerName,
    marker: string,
  ): Promise<Present | undefined> {
    const query = { limit: PAGE, ...(marker !== '' && { marker }) };
    const page = await this.#options.store.listObjects(operation, queue, query);
    const names = (page?.items ?? []).flatMap((item) => ('prefix' in item ? [] : [item.name]));
    for (let at = 0; at < names.length; at += CONCURRENCY) {
      const batch = names.slice(at, at + CONCURRENCY);
      await Promise.all(batch.map((name) => this.#deliver(operation, queue, name)));
    }
    const last = names.at(-1);
    return page?.truncated === true && last !== undefined ? { queue, marker: last } : undefined;
  }

  async #deliver(operation: Operation, queue: ContainerName, object: string): Promise<void> {
    const receiver = receiverOf(object);
    if ((this.#backOffs.get(receiver)?.untilMs ?? 0) > this.#nowMs()) return;
    const event = await this.#queue.read(operation, queue, object);
    if (event === undefined || operation.signal.aborted) return;
    const { url, body } = event;
    const why = await this.#send(url, object, JSON.stringify(body), operation.signal);
    if (why !== undefined) return this.#failedAt(receiver, { ...queue, url, why });
    this.#backOffs.delete(receiver);
    this.#sent += 1;
    await this.#options.store.deleteObject(operation, { ...queue, object });
  }

  /** Undefined: taken. */
  async #send(
    url: string,
    id: string,
    body: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const headers = { 'content-type': 'application/json', 'x-anello-event': id };
    try {
      const status = await this.#options.send(url, { headers, body }, signal);
      return status >= 200 && status < 300 ? undefined : `status ${status}`;
    } catch (error) {
      return `${codeOf(error)}: ${messageOf(error)}`;
    }
  }

  #failedAt(receiver: string, facts: ContainerName & { url: string; why: string }): void {
    this.#failed += 1;
    const known = this.#backOffs.get(receiver);
    const now = this.#nowMs();
    // What was under way together is one failure.
    if (known !== undefined && known.untilMs > now) return;
    const failures = (known?.failures ?? 0) + 1;
    const waitMs = Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** Math.min(failures - 1, 16));
    const jittered = waitMs * (0.75 + this.#options.env.random.float() / 2);
    if (this.#backOffs.size >= MAX_KNOWN) this.#backOffs.clear();
    this.#backOffs.set(receiver, { failures, untilMs: now + jittered });
    this.#options.env.log.warn('s3.event-unsent', { ...facts, failures });
  }

  #nowMs(): number {
    return this.#options.env.clock.monotonicMs();
  }
}
