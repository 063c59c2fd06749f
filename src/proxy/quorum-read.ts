/**
 * Reads one key's state from R complete replicas, nearest first. One is asked for everything (state
 * and, when small, the body), the others in the same turn only for the short version text, which is
 * enough when they agree, as they nearly always do. Where they differ, their states are fetched and
 * joined: data from one replica and metadata from another may both be the newest.
 *
 * A replica that fails is replaced by the next one; one that is slow is not waited for alone: the
 * next is asked too (hedged). Answers of incomplete replicas and handoffs add what they know to the
 * join, and never count.
 */

import { EMPTY_STATE, type EntryState, join } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { Env, Timer } from '#env/env.ts';
import type { StatReply } from '#object/calls.ts';
import { versionKey } from '#object/version.ts';
import type { Peers } from './peers.ts';
import type { Place, Replica } from './placement.ts';
import { failureCode } from './replica-calls.ts';

export interface Answer {
  readonly replica: Replica;
  version: string;
  /** Of this version. Undefined: not fetched (it agrees), or nothing known (version ''). */
  state: EntryState | undefined;
  hasBody: boolean;
  inline?: Buffer;
  counts: boolean;
  certain: boolean;
}

export interface ReadRequest {
  readonly env: Env;
  readonly peers: Peers;
  readonly place: Place;
  readonly hedgeMs: number;
  /** `newest` hears W replicas, `nearest` one. */
  readonly read: 'quorum' | 'newest' | 'nearest';
  /** How many stand-ins to ask, one for each that fails (not in strict containers). */
  readonly handoffs: number;
  /** Asks for everything. */
  readonly full: (replica: Replica) => Promise<FullReply>;
  /** Asks for the version only. */
  readonly brief: (replica: Replica) => Promise<StatReply>;
  readonly onHedge?: () => void;
}

export interface FullReply extends StatReply {
  readonly inline?: Buffer | null;
}

export interface ReadResult {
  /** The join of all that was heard. */
  readonly state: EntryState;
  readonly version: string;
  readonly answers: readonly Answer[];
  /** False: too few complete replicas answered. */
  readonly quorum: boolean;
  readonly codes: readonly string[];
}

export function quorumRead(request: ReadRequest): Promise<ReadResult> {
  return new Promise((resolve) => {
    new QuorumRead(request, resolve).start();
  });
}

class QuorumRead {
  readonly #request: ReadRequest;
  readonly #resolve: (result: ReadResult) => void;
  /** Not asked yet, nearest first. */
  readonly #waiting: Replica[];
  readonly #answers: Answer[] = [];
  readonly #counted = new Set<number>();
  readonly #underWay = new Set<number>();
  readonly #codes: string[] = [];
  #handoffs: Replica[] | undefined;
  #pending = 0;
  #fullAsked = false;
  #settling = false;
  #done = false;
  #timer: Timer | undefined;

  constructor(request: ReadRequest, resolve: (result: ReadResult) => void) {
    this.#request = request;
    this.#resolve = resolve;
    this.#waiting = readOrder(request);
  }

  start(): void {
    this.#askMore();
    this.#hedgeLater();
  }

  /** Asks as many as the quorum still needs, counting those under way as if they would answer. */
  #askMore(): void {
    const { place, read } = this.#request;
    if (read === 'nearest') {
      if (this.#pending === 0) this.#askNext();
      return;
    }
    if (read === 'newest') {
      while (this.#waiting.length > 0) this.#askNext();
      return;
    }
    const expected = new Set(this.#counted);
    for (const device of this.#underWay) expected.add(device);
    for (let i = 0; i < this.#waiting.length; ) {
      const replica = this.#waiting[i]!;
      if (place.quorum.isRead(expected)) return;
      if (place.quorum.helpsRead(replica.member, expected)) {
        expected.add(replica.member);
        this.#waiting.splice(i, 1);
        this.#ask(replica, true);
      } else i++;
    }
  }

  #askNext(): boolean {
    const next = this.#waiting.shift();
    if (next !== undefined) this.#ask(next, true);
    return next !== undefined;
  }

  #ask(replica: Replica, primary: boolean): void {
    const { full, brief } = this.#request;
    this.#pending++;
    this.#underWay.add(replica.member);
    const wantsFull = !this.#fullAsked;
    this.#fullAsked = true;
    const asked: Promise<FullReply> = wantsFull ? full(replica) : brief(replica);
    // Decoded in the chain: a state that can't be read is a failure of that replica.
    asked.then(decoded).then(
      (reply) => this.#answered(replica, primary, reply),
      (error: unknown) => this.#failed(replica, wantsFull, failureCode(error)),
    );
  }

  #answered(replica: Replica, primary: boolean, reply: DecodedReply): void {
    this.#pending--;
    this.#underWay.delete(replica.member);
    const { place } = this.#request;
    const counts = primary && place.quorum.countsIn(replica.member, reply.complete);
    const { state, version, hasBody, certain, inline } = reply;
    this.#answers.push({
      replica,
      version,
      state,
      hasBody,
      counts,
      certain,
      ...(inline && { inline }),
    });
    if (counts) this.#counted.add(replica.member);
    else this.#codes.push('incomplete');
    this.#decide();
  }

  #failed(replica: Replica, wasFull: boolean, code: string): void {
    this.#pending--;
    this.#underWay.delete(replica.member);
    if (wasFull) this.#fullAsked = false;
    this.#codes.push(code);
    this.#askHandoff();
    this.#decide();
  }

  #askHandoff(): void {
    const { place, handoffs } = this.#request;
    if (handoffs === 0 || this.#done) return;
    this.#handoffs ??= place.handoffs(handoffs);
    const next = this.#handoffs.shift();
    if (next !== undefined) this.#ask(next, false);
  }

  #decide(): void {
    if (this.#done || this.#settling) return;
    if (this.#enough()) {
      void this.#settle();
    } else {
      this.#askMore();
      if (this.#pending === 0 && this.#waiting.length === 0) this.#finish(false);
    }
  }

  #enough(): boolean {
    const { read, place } = this.#request;
    if (read === 'nearest') return this.#answers.length > 0;
    if (read === 'newest') return place.quorum.isWrite(this.#counted);
    return place.quorum.isRead(this.#counted);
  }

  /** Enough have answered; where they differ, one state of each version is fetched. */
  async #settle(): Promise<void> {
    this.#settling = true;
    for (;;) {
      const unknown = this.#unknownVersions();
      if (unknown.length === 0) break;
      await Promise.all(unknown.map((answer) => this.#fetch(answer)));
    }
    this.#settling = false;
    if (this.#enough()) this.#finish(true);
    else this.#decide();
  }

  #unknownVersions(): Answer[] {
    const known = new Set(['']);
    for (const { version, state } of this.#answers) if (state !== undefined) known.add(version);
    const unknown: Answer[] = [];
    for (const answer of this.#answers) {
      if (known.has(answer.version)) continue;
      known.add(answer.version);
      unknown.push(answer);
    }
    return unknown;
  }

  /** All anew: what it told before, it may have overwritten since (rounds seed 1038). */
  async #fetch(answer: Answer): Promise<void> {
    const { full, place } = this.#request;
    const { member } = answer.replica;
    try {
      const { state, version, hasBody, certain, complete, inline } = decoded(
        await full(answer.replica),
      );
      Object.assign(answer, { state: state ?? EMPTY_STATE, version, hasBody, certain });
      if (inline) answer.inline = inline;
      if (place.quorum.countsIn(member, complete)) return;
      answer.counts = false;
      this.#counted.delete(member);
    } catch (error) {
      this.#codes.push(failureCode(error));
      this.#counted.delete(member);
      this.#answers.splice(this.#answers.indexOf(answer), 1);
    }
  }

  #hedgeLater(): void {
    const { env, peers, hedgeMs } = this.#request;
    let slowMs = hedgeMs;
    for (const device of this.#underWay) slowMs = Math.max(slowMs, 2 * peers.slowMs(device));
    this.#timer = env.clock.setTimer(slowMs, () => {
      if (this.#done) return;
      if (this.#askNext()) {
        this.#request.onHedge?.();
        this.#hedgeLater();
      }
    });
  }

  #finish(quorum: boolean): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer?.cancel();
    let state: EntryState | undefined;
    for (const answer of this.#answers) {
      if (answer.state === undefined) continue;
      state = state === undefined ? answer.state : join(state, answer.state);
    }
    const version = state === undefined ? '' : versionKey(state);
    const answers = this.#answers;
    this.#resolve({ state: state ?? EMPTY_STATE, version, answers, quorum, codes: this.#codes });
  }
}

interface DecodedReply extends Omit<FullReply, 'state'> {
  readonly state: EntryState | undefined;
}

function decoded(reply: FullReply): DecodedReply {
  return { ...reply, state: reply.state === null ? undefined : decodeState(reply.state) };
}

/** Nearest first; those that keep bodies before a witness, so that the full answer brings the body. */
function readOrder({ peers, place }: ReadRequest): Replica[] {
  const ordered = peers.nearestFirst(place.primaries);
  return [
    ...ordered.filter((replica) => replica.holdsBody),
    ...ordered.filter((replica) => !replica.holdsBody),
  ];
}
