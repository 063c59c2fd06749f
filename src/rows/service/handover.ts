/**
 * Handover of rows: containers that belong to others (left behind by a ring change) go to their primaries,
 * row by row, and are dropped when every primary has confirmed each of them as a complete replica.
 *
 * Mostly nothing is sent: who joined the partition took in its rows, so digests are compared first. What is
 * confirmed is dropped by compare-and-drop; a row that changed meanwhile stays for the next round.
 */

import { isDead } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { isServing } from '#device/contract.ts';
import { foreignRanges } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import { isMember } from '#ring/ring-check.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { Change, ContainerFacts } from '../answers.ts';
import type { RowStore } from '../row-store.ts';
import { BUCKET_BITS, firstHash, nextHash } from '../summary.ts';
import type { RowTarget } from './calls.ts';
import type { RowContext, RowDevice } from './context.ts';
import { parseContainersReply, parseOutcomes, parseOwnReply } from './replies.ts';

/** What a device held when nothing of it was others': as long as that is so, there is no need to look. */
interface Look {
  readonly rows: RowStore;
  readonly ring: Ring;
  readonly changes: number;
}

/** A container that is being handed over. */
interface Moving {
  readonly target: RowDevice;
  readonly ring: Ring;
  readonly facts: ContainerFacts;
  readonly primaries: readonly RowTarget[];
}

const BUCKETS = 2 ** BUCKET_BITS;
const CONTAINERS = 100;
const ROWS = 500;
const MAX_PAGE_BYTES = 512 * 1024;
/** Rows of one container that are handed over in one step. */
const MAX_ROWS = 10_000;
const IDLE_MS = 10_000;
const RETRY_MS = 5_000;
const DEADLINE_MS = 10_000;

export class RowHandover implements Job {
  readonly name: string;
  readonly #context: RowContext;
  readonly #looks = new Map<number, Look>();
  readonly #cleared = new Map<number, number>();
  /** Where to go on, by device. */
  readonly #cursors = new Map<number, Buffer>();
  /** All primaries had everything up to this sequence of a container of which a part is dropped by now. */
  readonly #confirmed = new Map<string, number>();
  #held = 0;
  #dropped = 0;

  constructor(context: RowContext) {
    this.name = `${context.prefix}.handover`;
    this.#context = context;
  }

  facts(): Record<string, number> {
    return { held: this.#held, dropped: this.#dropped };
  }

  /** When the device was last found to hold no rows of others, in monotonic time. */
  clearedAtMs(device: number): number | undefined {
    return this.#cleared.get(device);
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const { cluster, devices } = this.#context.options;
    const ring = this.#context.currentRing();
    let found = 0;
    let dropped = 0;
    for (const target of devices().values()) {
      if (ring === undefined || !mayHandOver(target)) continue;
      if (!isMember(cluster.current(), target.device.id)) continue;
      const containers = this.#foreign(target, ring);
      found += containers.length;
      for (const facts of containers) {
        if (signal.aborted) break;
        dropped += await this.#handOver(target, ring, facts);
        if (this.#isGone(target, facts)) found--;
      }
    }
    this.#held = found;
    this.#dropped += dropped;
    if (dropped > 0) return { kind: 'more' };
    return { kind: 'idle', waitMs: found > 0 ? RETRY_MS : IDLE_MS };
  }

  /** The next containers outside of the device's own partitions; after the last, the first again. */
  #foreign(target: RowDevice, ring: Ring): ContainerFacts[] {
    const { device, rows } = target;
    const nowMs = this.#context.options.env.clock.monotonicMs();
    const look = { rows, ring, changes: rows.summaryChanges };
    const last = this.#looks.get(device.id);
    const isSame = last?.rows === rows && last.ring === ring;
    const isClear = isSame && last.changes === look.changes;
    const start = this.#cursors.get(device.id);
    let page = isClear ? [] : this.#page(target, ring, start ?? firstHash(0));
    if (page.length === 0 && start !== undefined) page = this.#page(target, ring, firstHash(0));
    const end = page.at(-1);
    if (end === undefined) {
      this.#cursors.delete(device.id);
      this.#looks.set(device.id, look);
      this.#cleared.set(device.id, nowMs);
    } else this.#cursors.set(device.id, nextHash(end.hash) ?? firstHash(0));
    return page;
  }

  #page({ device, rows }: RowDevice, ring: Ring, start: Buffer): ContainerFacts[] {
    for (const { from, to } of foreignRanges(ring, device.id)) {
      const end = to === BUCKETS ? undefined : firstHash(to);
      if (end !== undefined && Buffer.compare(end, start) <= 0) continue;
      if (rows.summarise(this.#context.ring, from, to, 1)[0]!.total === 0) continue;
      const first = firstHash(from);
      const begin = Buffer.compare(first, start) > 0 ? first : start;
      const page = rows.containers(this.#context.ring, begin, end, CONTAINERS);
      if (page.length > 0) return page;
    }
    return [];
  }

  /** How many rows were dropped. */
  async #handOver(target: RowDevice, ring: Ring, facts: ContainerFacts): Promise<number> {
    const { primaries, former = [] } = ring.placement(ring.partitionOf(facts.hash));
    // While joint, both sets: either may be the one that counts in the end.
    const all = new Map([...primaries, ...former].map(({ id, node }) => [id, node]));
    const targets = [...all].map(([device, node]) => ({ device, node }));
    const moving: Moving = { target, ring, facts, primaries: targets };
    const key = `${target.device.id} ${facts.hash.toString('latin1')}`;
    try {
      const upTo = this.#confirmed.get(key) ?? ((await this.#isEqual(moving)) ? facts.sequence : 0);
      if (upTo > 0) this.#confirmed.set(key, upTo);
      const dropped = await this.#moveRows(moving, upTo);
      if (this.#isGone(target, facts)) this.#confirmed.delete(key);
      return dropped;
    } catch (error) {
      this.#confirmed.delete(key);
      const { path } = facts;
      const { log } = this.#context.options.env;
      log.debug(`${this.name}-failed`, { device: target.device.id, path, error: codeOf(error) });
      return 0;
    }
  }

  #isGone({ rows }: RowDevice, { hash }: ContainerFacts): boolean {
    return (rows.facts(this.#context.ring, hash)?.total ?? 0) === 0;
  }

  /** Every primary has all that is here, as a complete replica. */
  async #isEqual({ ring, facts, primaries }: Moving): Promise<boolean> {
    const { hash, digest } = facts;
    const to = nextHash(hash) ?? null;
    const args = { ringVersion: ring.version, from: hash, to, limit: 1 };
    const replies = await Promise.all(
      primaries.map((primary) => this.#context.call(primary, 'containers', args, this.#options())),
    );
    return replies.every((reply) => {
      const [theirs] = parseContainersReply(reply).containers;
      return theirs?.complete === true && theirs.digest.equals(digest);
    });
  }

  /** Rows up to the sequence `upTo` are known to be everywhere; others are given first. */
  async #moveRows(moving: Moving, upTo: number): Promise<number> {
    const { rows } = moving.target;
    const { hash } = moving.facts;
    const { ring } = this.#context;
    let own: Change | undefined;
    let dropped = 0;
    for (let after = 0, seen = 0; seen < MAX_ROWS; ) {
      const page = cut(rows.changes(ring, hash, after, ROWS));
      const last = page.at(-1);
      if (last === undefined) break;
      if (last.sequence > upTo && !(await this.#give(moving, page))) return dropped;
      own ??= page.find(({ name }) => name === '');
      dropped += await rows.forget(ring, hash, page);
      after = last.sequence;
      seen += page.length;
    }
    if (own === undefined) return dropped;
    // An old deletion of a container is taken in only by who has rows of it: given before them, it was refused.
    const isGivenAgain = isDead(own.state) && own.sequence > upTo;
    if (isGivenAgain && !(await this.#give(moving, [own]))) return dropped;
    // It goes last, so it was refused among the others.
    return dropped + (await rows.forget(ring, hash, [own]));
  }

  /** True: every primary has all of them, and is complete. */
  async #give(moving: Moving, page: readonly Change[]): Promise<boolean> {
    const given = await Promise.all(
      moving.primaries.map(async (primary) => {
        const rows = page.filter(({ name }) => name !== '');
        const own = page.find(({ name }) => name === '');
        if (own !== undefined && !(await this.#giveOwn(moving, primary, own))) return false;
        return rows.length === 0 || (await this.#giveRows(moving, primary, rows));
      }),
    );
    return given.every(Boolean);
  }

  async #giveRows(
    { target, ring, facts }: Moving,
    primary: RowTarget,
    page: readonly Change[],
  ): Promise<boolean> {
    const { hash, path } = facts;
    const rows = page.map(({ name, state }) => ({ hash, path, name, state: encodeState(state) }));
    const args = { ringVersion: ring.version, rows, intent: 'repair', from: target.device.id };
    const reply = await this.#context.call(primary, 'rows', args, this.#options());
    const { outcomes, complete } = parseOutcomes(reply, rows.length);
    return complete && outcomes.every(isJoined);
  }

  async #giveOwn(
    { target, ring, facts }: Moving,
    primary: RowTarget,
    { state }: Change,
  ): Promise<boolean> {
    const { hash, path } = facts;
    const address = { hash, path, ringVersion: ring.version };
    const args = {
      ...address,
      state: encodeState(state),
      intent: 'repair',
      from: target.device.id,
    };
    const reply = await this.#context.call(primary, 'write', args, this.#options());
    const { outcome, complete } = parseOwnReply(reply);
    return complete && isJoined(outcome);
  }

  #options() {
    return { txn: this.name, deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
  }
}

function isJoined(outcome: string): boolean {
  return outcome === 'stored' || outcome === 'superseded';
}

/** What fits into a message. */
function cut(changes: readonly Change[]): Change[] {
  let bytes = 0;
  const end = changes.findIndex(({ name, state }) => {
    bytes += name.length + encodeState(state).length;
    return bytes > MAX_PAGE_BYTES;
  });
  return end < 0 ? [...changes] : changes.slice(0, end + 1);
}

/** On a full one handover makes room. */
function mayHandOver({ device, rows }: RowDevice): boolean {
  return isServing(device.status) && rows.damage === undefined;
}
