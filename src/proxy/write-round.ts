/**
 * One round of a write: sent to all primaries at once, answered as soon as the mode's promise holds.
 *
 *   strict     W primaries acknowledge (complete, stored), and W container replicas hold the row
 *   available  the same if it can be had; else W devices including handoffs, rows queued
 *   local      two devices of this site
 *
 * A primary that can't be reached gets a stand-in: the next handoff holds an extra copy, which never
 * counts in `strict`. What is still under way when the round is decided goes on by itself.
 *
 * `superseded` before any opening round means that the timestamp was too low: when W complete
 * replicas have told their newest, the round ends and the caller goes above it. After such a round it
 * counts as an acknowledgement: the newer write began before this one ended, and replaces all of it (`afterRound`
 * in #device/contract.ts).
 *
 * What was acknowledged counts for `roundMs`: then a device that lost it may count again (#ring/early-learning.ts).
 */

import { type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { RowOutcome } from '#container/calls.ts';
import type { Env, Timer } from '#env/env.ts';
import type { Previous } from '#object/calls.ts';
import { isHeld, isRefusal } from '#object/lister.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import type { Peers } from './peers.ts';
import type { Place, Replica } from './placement.ts';
import { writeQuorum } from './quorum.ts';
import { failureCode } from './replica-calls.ts';
import type { RowPlan } from './row-plan.ts';

export interface RoundReply {
  readonly outcome: string;
  readonly newest: Timestamp;
  readonly complete: boolean;
  readonly listedOn: readonly number[];
  readonly refused?: RowOutcome | null;
  readonly previous?: Previous | null;
}

export interface RoundOptions {
  readonly env: Env;
  readonly peers: Peers;
  readonly place: Place;
  readonly mode: ConsistencyMode;
  /** The proxy's own, for `local`. */
  readonly site: string;
  /** W replicas have told their newest before, and the timestamp is above it. */
  readonly afterRound: boolean;
  /** There is a body, which must be on enough devices, of any role (Place.hasBodies). */
  readonly hasBody: boolean;
  readonly rows?: RowPlan;
  readonly rowHedgeMs: number;
  /** Later, what has been acknowledged may be lost again: see ProxyLimits. */
  readonly roundMs: number;
  /** Whether stand-ins can be made (a body that has already passed by can't be sent again). */
  readonly standIns: boolean;
  /** Stand-ins that have the body already. */
  readonly extra?: readonly Replica[];
  /** Sends the write to one replica; `turn` counts up. */
  readonly send: (replica: Replica, turn: number) => Promise<RoundReply>;
  readonly onEvent?: (event: 'handoff' | 'row-sent') => void;
}

export type RoundResult =
  | (Found & { readonly kind: 'acknowledged'; readonly ack: Ack })
  /**
   * `use-rounds`: a conditional write came before. `heard`: W replicas have told their newest, and `newest` is that.
   * `mayBeStored`: somewhere, by now or later.
   */
  | (Found & {
      readonly kind: 'superseded' | 'use-rounds';
      readonly newest: Timestamp;
      readonly heard: boolean;
      readonly mayBeStored: boolean;
    })
  | (Found & { readonly kind: 'refused'; readonly refused: RowOutcome })
  | (Found & { readonly kind: 'failed'; readonly codes: readonly string[] });

interface Found {
  readonly previous: Previous;
  /**
   * W replicas have told what was there, so `previous` is that. One to which repair has brought the deletion itself
   * before can't tell any more (seed 908610). Only deletions ask.
   */
  readonly told: boolean;
}

/** Undefined: a full write. */
export type Ack = 'handoff' | 'unlisted' | 'local' | undefined;

export function runRound(options: RoundOptions): Promise<RoundResult> {
  return new Promise((resolve) => {
    new WriteRound(options, resolve).start();
  });
}

const NOTHING: Previous = { data: ZERO_TIMESTAMP, newest: ZERO_TIMESTAMP, live: false };

/** What was there, of two that replicas told. */
export function newerPrevious(a: Previous | undefined, b: Previous): Previous {
  return a !== undefined && isAbove(a, b) ? a : b;
}

/** The newer data part decides what was there, then the newer metadata (a moved expiry). */
function isAbove(a: Previous, b: Previous): boolean {
  return a.data === b.data ? a.newest >= b.newest : a.data > b.data;
}

class WriteRound {
  readonly #options: RoundOptions;
  readonly #resolve: (result: RoundResult) => void;
  #done = false;
  #pending = 0;
  #turn = 0;
  /** Acknowledged and counting. */
  readonly #counted = new Set<number>();
  /** Will not count any more. */
  readonly #lost = new Set<number>();
  /** Complete replicas that told their newest. */
  readonly #told = new Set<number>();
  /** Of those, the ones that also told what was there before. */
  readonly #foundBy = new Set<number>();
  /** Hold the write, counting or not. */
  readonly #stored: Replica[] = [];
  /** No device is asked twice: it would count as two. */
  readonly #asked = new Set<number>();
  readonly #listed = new Set<number>();
  readonly #codes: string[] = [];
  #skipped: Replica[] = [];
  #handoffs: Replica[] | undefined;
  #newest: Timestamp = ZERO_TIMESTAMP;
  #superseded = false;
  #useRounds = false;
  /** Calls that failed: nobody knows what became of them. */
  #unknown = false;
  /** Acknowledged as superseded by a concurrent write, whose body is there instead. */
  readonly #overtaken: Replica[] = [];
  #previous: Previous = NOTHING;
  #refused: RowOutcome | undefined;
  #rows: 'waiting' | 'sending' | 'sent' = 'waiting';
  #timer: Timer | undefined;
  readonly #startMs: number;
  #hurry = false;

  constructor(options: RoundOptions, resolve: (result: RoundResult) => void) {
    this.#options = options;
    this.#resolve = resolve;
    this.#startMs = options.env.clock.monotonicMs();
  }

  start(): void {
    const { env, place, rowHedgeMs } = this.#options;
    this.#skipped = this.#skippable();
    for (const replica of place.primaries) {
      if (!this.#skipped.includes(replica)) this.#send(replica, true);
    }
    for (const _ of this.#skipped) this.#sendStandIn();
    for (const replica of this.#options.extra ?? []) this.#send(replica, false);
    if (this.#options.mode === 'local' && this.#options.standIns) this.#fillLocal();
    this.#timer = env.clock.setTimer(rowHedgeMs, () => {
      this.#hurry = true;
      this.#decide();
    });
  }

  /** Limited primaries are left out as long as the others can make a majority. */
  #skippable(): Replica[] {
    const { peers, place, standIns } = this.#options;
    if (!standIns) return [];
    const limited = place.primaries.filter((replica) => peers.isLimited(replica.device));
    if (limited.length === 0) return limited;
    const lost = new Set(limited.map((replica) => replica.member));
    return place.quorum.canWrite(lost) ? limited : [];
  }

  #send(replica: Replica, primary: boolean): void {
    this.#pending++;
    this.#asked.add(replica.member);
    this.#options.send(replica, this.#turn++).then(
      (reply) => this.#answered(replica, primary, reply),
      (error: unknown) => this.#failed(replica, primary, failureCode(error)),
    );
  }

  #answered(replica: Replica, primary: boolean, reply: RoundReply): void {
    this.#pending--;
    const { place, afterRound } = this.#options;
    if (reply.newest > this.#newest) this.#newest = reply.newest;
    for (const device of reply.listedOn) this.#listed.add(device);
    if (reply.refused) this.#refused = reply.refused;
    const stored = reply.outcome === 'stored';
    const superseded = reply.outcome === 'superseded';
    if (superseded) this.#superseded = true;
    if (reply.outcome === 'use-rounds') this.#useRounds = true;
    if (!stored && !superseded) this.#codes.push(reply.outcome);
    if (stored) this.#stored.push(replica);
    if (primary && place.quorum.countsIn(replica.member, reply.complete)) {
      this.#told.add(replica.member);
      const { previous } = reply;
      if (previous) this.#foundBy.add(replica.member);
      if (previous && isAbove(previous, this.#previous)) this.#previous = previous;
      if (stored || (superseded && afterRound)) this.#counted.add(replica.member);
      else this.#lost.add(replica.member);
      if (superseded && afterRound) this.#overtaken.push(replica);
    } else if (primary) {
      this.#codes.push('incomplete');
      this.#lost.add(replica.member);
    }
    this.#decide();
  }

  #failed(replica: Replica, primary: boolean, code: string): void {
    this.#pending--;
    this.#unknown = true;
    this.#codes.push(code);
    if (primary) {
      this.#lost.add(replica.member);
      this.#askSkipped();
    }
    this.#sendStandIn();
    this.#decide();
  }

  /** Without those that were left out there is no majority any more: they are asked after all. */
  #askSkipped(): void {
    const lost = new Set([...this.#lost, ...this.#skipped.map((replica) => replica.member)]);
    if (this.#done || this.#options.place.quorum.canWrite(lost)) return;
    for (const replica of this.#skipped.splice(0)) this.#send(replica, true);
  }

  #sendStandIn(): void {
    const { place, standIns } = this.#options;
    if (!standIns) return;
    this.#handoffs ??= place.handoffs(place.primaries.length + LOCAL_COPIES);
    let next = this.#handoffs.shift();
    while (next !== undefined && this.#asked.has(next.member)) next = this.#handoffs.shift();
    if (next === undefined) return;
    this.#options.onEvent?.('handoff');
    this.#send(next, false);
  }

  /** `local` wants two devices of this site, whoever the primaries are. */
  #fillLocal(): void {
    const { place, site } = this.#options;
    const near = place.primaries.filter((replica) => replica.site === site).length;
    for (const standIn of place.handoffsAt(site, LOCAL_COPIES - near)) {
      if (!this.#asked.has(standIn.member)) this.#send(standIn, false);
    }
  }

  #decide(): void {
    if (this.#done) {
      this.#listAfterwards();
      return;
    }
    const { place, mode } = this.#options;
    const majority = place.quorum.isWrite(this.#counted) && this.#hasBodies() && !this.#isLate();
    const lost = !place.quorum.canWrite(this.#lost) && !this.#superseded;
    if (majority && this.#hasRows()) this.#finish(undefined);
    else if (mode === 'local' && hasLocalCopies(this.#stored, this.#options.site))
      this.#finish('local');
    else if (this.#useRounds && !place.quorum.canWrite(this.#lost)) this.#endUnstored('use-rounds');
    else if (this.#mustGoAbove()) this.#endUnstored('superseded');
    else if (majority) this.#wantRows();
    else if (this.#pending === 0) this.#exhausted();
    else if (mode === 'strict' && lost) this.#fail();
  }

  /** Who acknowledged first may have lost it, and count again. */
  #isLate(): boolean {
    const { env, roundMs } = this.#options;
    return env.clock.monotonicMs() - this.#startMs >= roundMs;
  }

  #hasBodies(): boolean {
    const { hasBody, place } = this.#options;
    return !hasBody || place.hasBodies([...this.#stored, ...this.#overtaken]);
  }

  #hasRows(): boolean {
    const { rows } = this.#options;
    return rows === undefined || rows.quorum.isWrite(this.#listed);
  }

  /** W have told their newest; who has not answered yet may still have taken the write, or will. */
  #mustGoAbove(): boolean {
    const { place, afterRound } = this.#options;
    if (afterRound || !this.#superseded || !place.quorum.isWrite(this.#told)) return false;
    return this.#hurry || this.#pending === 0;
  }

  /**
   * `use-rounds`: going above instead might undo what the conditional write has done since (an unlock,
   * retried).
   */
  #endUnstored(kind: 'superseded' | 'use-rounds'): void {
    const mayBeStored = this.#unknown || this.#pending > 0 || this.#stored.length > 0;
    const heard = this.#options.place.quorum.isWrite(this.#told);
    this.#end({ kind, newest: this.#newest, heard, mayBeStored, ...this.#found() });
  }

  #found(): Found {
    const told = this.#options.place.quorum.isWrite(this.#foundBy);
    return { previous: this.#previous, told };
  }

  /** The object is safe; its row is not on a majority yet. */
  #wantRows(): void {
    if (this.#rows === 'sent') this.#withoutRows();
    if (this.#rows !== 'waiting' || (this.#pending > 0 && !this.#hurry)) return;
    this.#rows = 'sending';
    void this.#sendRows(this.#options.rows!).then(() => {
      this.#rows = 'sent';
      this.#decide();
    });
  }

  /**
   * A `local` write is answered before its row is on a majority. Storage nodes take one container replica
   * for enough; were that one lost, no listing would show a write that was acknowledged.
   */
  #listAfterwards(): void {
    const { rows, mode } = this.#options;
    const isEarly = this.#pending > 0 || this.#stored.length === 0;
    if (mode !== 'local' || isEarly || this.#rows !== 'waiting') return;
    if (rows === undefined || this.#hasRows()) return;
    this.#rows = 'sending';
    void this.#sendRows(rows);
  }

  async #sendRows(rows: RowPlan): Promise<void> {
    const missing = rows.targets.filter((target) => !this.#listed.has(target.device));
    await Promise.all(
      missing.map(async (target) => {
        try {
          this.#options.onEvent?.('row-sent');
          const { outcome, complete } = await rows.deliver(target);
          if (isRefusal(outcome)) this.#refused = outcome;
          else if (!isHeld(outcome)) this.#codes.push(`row-${outcome}`);
          else if (rows.quorum.countsIn(target.device, complete)) this.#listed.add(target.device);
          this.#decide();
        } catch (error) {
          this.#codes.push(`row-${failureCode(error)}`);
        }
      }),
    );
  }

  #withoutRows(): void {
    const refused = this.#refused;
    if (refused !== undefined) {
      this.#end({ kind: 'refused', refused, ...this.#found() });
    } else if (this.#options.mode !== 'strict') this.#finish('unlisted');
    else if (this.#pending === 0) this.#fail();
  }

  /** All have answered, and there is no majority. */
  #exhausted(): void {
    const { place, mode } = this.#options;
    const wanted = writeQuorum(place.quorum.sets.at(-1)!.length);
    const held = this.#stored.filter((replica) => replica.holdsBody || !this.#options.hasBody);
    if (mode !== 'strict' && held.length >= wanted) this.#finish('handoff');
    else this.#fail();
  }

  #fail(): void {
    this.#end({ kind: 'failed', codes: this.#codes, ...this.#found() });
  }

  #finish(ack: Ack): void {
    this.#end({ kind: 'acknowledged', ack, ...this.#found() });
    this.#listAfterwards();
  }

  #end(result: RoundResult): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer?.cancel();
    this.#resolve(result);
  }
}

/** What `local` promises: these survive a device of the site, until the others have it. */
export const LOCAL_COPIES = 2;

export function hasLocalCopies(replicas: readonly Replica[], site: string): boolean {
  const near = replicas.filter((replica) => replica.site === site && replica.holdsBody);
  return near.length >= LOCAL_COPIES;
}
