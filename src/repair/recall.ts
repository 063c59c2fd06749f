/**
 * Recall: what a device has forgotten, it must not know again. An index (or a row store) that was lost is made
 * anew from the log, and where a part of the log can't be read, what stood in it is not forgotten any more:
 * versions that were handed over, or whose deletion everybody has reclaimed. Nobody would contradict them: they
 * would be read, and spread. So such a device is kept from service, and from its peers, until it has asked them.
 *
 * For every partition of which it holds anything, it compares itself with N-W+1 complete primaries. Every
 * acknowledged write is on W, so one of these has it: what none of them knows, was forgotten (or never
 * acknowledged), and is forgotten again. What stand-ins alone were told, others of them hold until all primaries have
 * it. What one of them knows as dead, dies here in the same turn, or they might reclaim it before it is joined.
 *
 * Where some of the others are in doubt of the end of their logs, all of them are asked. Where too few are left, an operator decides (`acceptLoss`): then all of it is believed.
 * (consistency.md has damaged replicas serve: those whose index is whole do.)
 */
import { codeOf } from '#base/errors.ts';
import { isServing } from '#device/contract.ts';
import type { LogDevice } from '#device/log-device.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import {
  type BucketRange,
  byPeer,
  type OwnPartition,
  ownPartition,
  type Peer,
} from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import { isMember } from '#ring/ring-check.ts';
import type { RowStore } from '#rows/row-store.ts';
import type { Job, StepResult } from '#worker/job.ts';

export interface KeptDevice {
  readonly device: LogDevice;
  readonly rows: RowStore;
}

export interface Answer<Thing> {
  /** What is here and the peer knows nothing of, by key. */
  readonly unknown: ReadonlyMap<string, Thing>;
  /** Else it is but for the end of its log, which is in doubt. */
  readonly isComplete: boolean;
}

/** What a device holds of a ring: objects (object/held-objects.ts) or rows (rows/service/held-rows.ts). */
export interface Held<Thing> {
  hasAny(kept: KeptDevice, ring: Ring, range: BucketRange): boolean;
  /**
   * What the peer says of each partition; undefined: it knows too little of it to be asked. What it knows to be dead
   * is dead here when this resolves. @throws WireError
   */
  askedOf(
    peer: Peer,
    kept: KeptDevice,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<(Answer<Thing> | undefined)[]>;
  forget(kept: KeptDevice, ring: Ring, things: readonly Thing[]): Promise<void>;
}

export interface RecallOptions {
  readonly env: Env;
  readonly cluster: ClusterSource;
  /** Open, and kept from service. */
  readonly kept: () => ReadonlyMap<number, KeptDevice>;
  /** Into service, if it is still the one that is kept. */
  readonly admit: (device: LogDevice) => void;
  readonly heldOf: (ring: Ring) => Held<unknown>;
}

const BATCH = 64;
const RETRY_MS = 2_000;
const IDLE_MS = 60_000;

/** What nobody asked so far knows of a partition. */
interface Asked {
  answers: number;
  complete: number;
  alone: ReadonlyMap<string, unknown> | undefined;
}

export class Recall implements Job {
  readonly name = 'device.recall';
  readonly #options: RecallOptions;
  /** Partitions that are still to be asked for. */
  readonly #left = new WeakMap<LogDevice, Map<Ring, readonly OwnPartition[]>>();
  /** As they were opened: what a person decided of one is not said of who is opened in its place. */
  readonly #accepted = new WeakSet<LogDevice>();
  #forgotten = 0;

  constructor(options: RecallOptions) {
    this.#options = options;
  }

  facts(): Record<string, number> {
    return { kept: this.#options.kept().size, forgotten: this.#forgotten };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const { kept, cluster, env } = this.#options;
    for (const one of [...kept().values()]) {
      // A removed one is left as it is: nobody is told by it, and `anello device import` may want what it alone has.
      if (!isServing(one.device.status) || !isMember(cluster.current(), one.device.id)) continue;
      if (signal.aborted) return { kind: 'more' };
      try {
        await this.#recallAll(one, signal);
      } catch (error) {
        // It was closed meanwhile, or its disk fails: the others go on.
        env.log.warn('device.recall-failed', { device: one.device.id, error });
      }
    }
    return { kind: 'idle', waitMs: kept().size > 0 ? RETRY_MS : IDLE_MS };
  }

  async #recallAll(kept: KeptDevice, signal: AbortSignal): Promise<void> {
    let left = 0;
    for (const ring of this.#options.cluster.current().rings.values()) {
      if (signal.aborted) return;
      left += await this.#recall(kept, ring);
    }
    if (left === 0 || this.#accepted.has(kept.device)) await this.#admit(kept);
  }

  /** For a person who knows that the silent ones stay silent. */
  acceptLoss(device: number): void {
    const kept = this.#options.kept().get(device);
    if (kept !== undefined) this.#accepted.add(kept.device);
  }

  async #admit({ device }: KeptDevice): Promise<void> {
    await device.fillHole();
    const facts = { device: device.id, forgotten: this.#forgotten };
    this.#options.env.log.warn('device.recalled', facts);
    this.#options.admit(device);
  }

  /** How many partitions of the ring are left. */
  async #recall(kept: KeptDevice, ring: Ring): Promise<number> {
    const byRing = this.#left.get(kept.device) ?? new Map<Ring, readonly OwnPartition[]>();
    this.#left.set(kept.device, byRing);
    const due = byRing.get(ring) ?? this.#heldPartitions(kept, ring);
    const left: OwnPartition[] = [];
    for (let i = 0; i < due.length; i += BATCH) {
      left.push(...(await this.#settle(kept, ring, due.slice(i, i + BATCH))));
    }
    byRing.set(ring, left);
    return left.length;
  }

  /** All of which it holds anything, its own or not. */
  #heldPartitions(kept: KeptDevice, ring: Ring): OwnPartition[] {
    const held = this.#options.heldOf(ring);
    return Array.from({ length: ring.partitions }, (_, partition) =>
      ownPartition(ring, partition, kept.device.id),
    ).filter(({ buckets }) => held.hasAny(kept, ring, buckets));
  }

  /** Those of which too few complete primaries answered. */
  async #settle(
    kept: KeptDevice,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<OwnPartition[]> {
    const asked = new Map<OwnPartition, Asked>(
      partitions.map((partition) => [partition, { answers: 0, complete: 0, alone: undefined }]),
    );
    const isSettled = (one: OwnPartition): boolean => isEnough(one, asked.get(one)!);
    for (const [peer, theirs] of byPeer(partitions)) {
      const wanted = theirs.filter((one) => !isSettled(one));
      await this.#ask(peer, kept, ring, wanted, asked);
    }
    for (const partition of partitions.filter(isSettled)) {
      const alone = [...(asked.get(partition)!.alone?.values() ?? [])];
      await this.#options.heldOf(ring).forget(kept, ring, alone);
      this.#forgotten += alone.length;
    }
    return partitions.filter((one) => !isSettled(one));
  }

  async #ask(
    peer: Peer,
    kept: KeptDevice,
    ring: Ring,
    partitions: readonly OwnPartition[],
    asked: ReadonlyMap<OwnPartition, Asked>,
  ): Promise<void> {
    if (partitions.length === 0) return;
    try {
      const held = this.#options.heldOf(ring);
      const answers = await held.askedOf(peer, kept, ring, partitions);
      for (const [i, partition] of partitions.entries()) {
        const answer = answers[i];
        if (answer !== undefined) take(answer, asked.get(partition)!);
      }
    } catch (error) {
      const facts = { device: kept.device.id, peer: peer.node, error: codeOf(error) };
      this.#options.env.log.debug('device.recall-peer', facts);
    }
  }
}

function take({ unknown, isComplete }: Answer<unknown>, asked: Asked): void {
  asked.alone = new Map([...(asked.alone ?? unknown)].filter(([key]) => unknown.has(key)));
  asked.answers++;
  if (isComplete) asked.complete++;
}

/**
 * Or all others, some of which are in doubt of their last batch: those wait for this device in turn (object/tail.ts). A
 * batch that a power failure tore was never acknowledged; one that has gone bad since is damage on another device.
 */
function isEnough({ needed, others }: OwnPartition, { answers, complete }: Asked): boolean {
  return complete >= needed || answers === others.length;
}
