/**
 * Conditional rounds: writes whose condition is decided by a majority of complete replicas, one after the
 * other in one order for the key. A ballot is the write's timestamp.
 *
 *   promise   W replicas say what they know, and take nothing below the ballot any more
 *   evaluate  the condition, on their joined state
 *   accept    the record; done when W of those that promised have it (and its row is listed)
 *   settle    an accept of what is there already, at the ballot: before a condition is called false on a
 *             state that not all had or that something undecided might still replace
 *
 * Once an accept was sent, the writer only finishes: it learns from the next promise what became of it
 * (round-record.ts), and never starts anew as if it had done nothing; also when the ring has changed
 * between (`own` outlives the attempts). A round is bound to one ring version: `ring-old` ends it.
 */
import {
  bodyLength,
  type EntryState,
  hasBytesOf,
  isLive,
  join,
  newestTimestamp,
} from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import { justAbove, maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import { versionKey } from '#object/version.ts';
import { backed, isBacked } from './backed-round.ts';
import { ALWAYS, type Condition } from './condition.ts';
import { newWriteId, nowSeconds, type ProxyContext, unavailable } from './context.ts';
import { failure, objectRound, type SentBody } from './object-round.ts';
import type { Replica } from './placement.ts';
import { moveName, type NameMove } from './policy-move/move-name.ts';
import { isSettled, type PromiseAnswer, type PromiseRound, promiseRound } from './promise-round.ts';
import {
  effectOf,
  isOutdone,
  nothingAt,
  OwnWrite,
  recordOf,
  restamped,
  withoutBase,
} from './round-record.ts';
import {
  type ObjectWrite,
  ownBody,
  previousOf,
  type Refused,
  type Written,
} from './write-object.ts';
import type { Ack, RoundResult } from './write-round.ts';

/**
 * @throws OperatingError `unavailable`, `undecided`, `container-mismatch`, `no-container`, `clock-drift`
 */
export function writeByRounds(
  context: ProxyContext,
  write: ObjectWrite,
  condition: Condition,
): Promise<Written | Refused> {
  const { turns, limits } = context;
  return turns.take(write.place.path, limits.turnMs, () =>
    moved(context, write, () => new Rounds(context, write, condition).run()),
  );
}

/**
 * What the key is, after whatever was undecided has been settled: for `newest` reads. `anew`: written
 * again in any case, over a version that somebody knows and nobody has; `unavailable` if that can't be.
 */
export function settledState(
  context: ProxyContext,
  key: Pick<ObjectWrite, 'trace' | 'place' | 'container'>,
  anew = false,
): Promise<EntryState> {
  return settle(context, key, { anew });
}

/**
 * Writes what the key is anew, above a row that tells of a write which nobody knows (container/README.md): the
 * row of what is there wins then, and the lost write will never take effect.
 *
 * In a container that is not strict stand-ins take writes, and no round asks them. So it is tried once, and just above that
 * row: whatever anybody has written since is above it, and stays.
 */
export async function reassert(
  context: ProxyContext,
  key: Pick<ObjectWrite, 'trace' | 'place' | 'container'>,
  above: Timestamp,
): Promise<void> {
  await settle(context, key, { anew: true, above });
}

async function settle(
  context: ProxyContext,
  key: Pick<ObjectWrite, 'trace' | 'place' | 'container'>,
  settling: Settling,
): Promise<EntryState> {
  const stateAt = (): EntryState => {
    throw new Error('a read writes nothing of its own');
  };
  const write = { ...key, own: new OwnWrite(newWriteId(context.env)), stateAt };
  const { turns, limits } = context;
  const { state } = await turns.take(key.place.path, limits.turnMs, () =>
    moved(context, write, () => new Rounds(context, write, { holds: () => false }, settling).run()),
  );
  return state;
}

/**
 * A record that keeps the body of what was there counts only where that body is: a name of a container that
 * moves is moved first. Where that fails for want of a body, the rounds may go on without it.
 */
async function moved<Result>(
  context: ProxyContext,
  move: NameMove,
  rounds: () => Promise<Result>,
): Promise<Result> {
  if (move.place.isMoving) {
    await moveName(context, move).catch((error: unknown) => {
      context.env.log.debug('object.not-moved', { path: move.place.path, error: codeOf(error) });
    });
  }
  return await rounds();
}

interface Settling {
  /** Written again in any case. */
  readonly anew?: boolean;
  /** And above this, of which no replica may know. */
  readonly above?: Timestamp;
}

/** Undefined: another try. */
type Step = Written | Refused | undefined;

class Rounds {
  readonly #context: ProxyContext;
  readonly #write: ObjectWrite;
  readonly #condition: Condition;
  readonly #anew: boolean;
  readonly #isStrict: boolean;
  /** Not above what stand-ins may have acknowledged meanwhile. */
  readonly #isGentle: boolean;
  /** Above everything heard of. */
  #above: Timestamp;
  #roundMs = 0;
  #codes: readonly string[] = [];

  constructor(
    context: ProxyContext,
    write: ObjectWrite,
    condition: Condition,
    { anew = false, above }: Settling = {},
  ) {
    this.#context = context;
    this.#write = write;
    this.#condition = condition;
    this.#anew = anew;
    this.#isStrict = write.container.mode === 'strict';
    this.#isGentle = above !== undefined && !this.#isStrict;
    this.#above = above ?? ZERO_TIMESTAMP;
  }

  async run(): Promise<Written | Refused> {
    const { env, limits, metrics } = this.#context;
    const endMs = env.clock.monotonicMs() + limits.roundsMs;
    const attempts = this.#isGentle ? 1 : limits.rounds;
    for (let attempt = 0; attempt < attempts; attempt++) {
      const done = await this.#attempt();
      if (done !== undefined) return done;
      metrics.count('write-round');
      const waitMs = this.#backOffMs(attempt);
      if (env.clock.monotonicMs() + waitMs > endMs) break;
      await env.clock.sleep(waitMs);
    }
    throw this.#givenUp();
  }

  async #attempt(): Promise<Step> {
    const { clock, env, limits } = this.#context;
    const { place, trace } = this.#write;
    const startMs = env.clock.monotonicMs();
    const ballot = this.#isGentle
      ? justAbove(this.#above, clock.workerId)
      : clock.above(this.#above);
    const first = await promiseRound(this.#context, { trace, place }, ballot);
    this.#roundMs = env.clock.monotonicMs() - startMs;
    const round = await backed(env, first, limits.stallMs);
    this.#above = maxTimestamp(this.#above, round.newest);
    this.#codes = round.codes;
    switch (round.kind) {
      case 'promised':
        return this.#promised(round);
      case 'refused':
        return this.#refused(round);
      case 'failed':
        throw this.#givenUp();
    }
  }

  async #promised(round: PromiseRound): Promise<Step> {
    const { own, condition } = this.#write;
    const effect = effectOf(own, round.joined, condition !== undefined);
    if (effect === 'effective') return this.#finish(round);
    if (effect === 'undecided') throw undecided();
    if (this.#holds(round.joined)) return this.#accept(round);
    if (this.#isOver(round)) return { kind: 'refused', state: round.joined };
    if (this.#anew && !isBacked(round)) throw unavailable('body', this.#codes);
    const settled = await this.#settle(round);
    return settled && { kind: 'refused', state: settled.state };
  }

  /** A rival is ahead. What a majority agrees on can refuse the write without a ballot of its own. */
  #refused(round: PromiseRound): Step {
    if (!this.#isOver(round) || this.#holds(round.joined)) return undefined;
    return { kind: 'refused', state: round.joined };
  }

  /** A majority agrees, and nothing that this write has sent can come over what it agrees on. */
  #isOver(round: PromiseRound): boolean {
    const { own, condition } = this.#write;
    if (this.#anew || !isSettled(round)) return false;
    return isOutdone(own, round.joined, condition !== undefined);
  }

  #holds(joined: EntryState): boolean {
    const live = isLive(joined, nowSeconds(this.#context.env));
    return this.#condition.holds(live ? joined : undefined, joined);
  }

  async #accept(round: PromiseRound): Promise<Step> {
    const { ballot, joined } = round;
    const { own, stateAt } = this.#write;
    own.first ??= ballot;
    own.wasLive = isLive(joined, nowSeconds(this.#context.env));
    const added = stateAt(ballot, joined);
    const { first, writeId } = own;
    const unconditional = this.#condition === ALWAYS;
    const state = recordOf(added, joined, { ballot, first, writeId, unconditional });
    own.sent = [...own.sent, { timestamp: ballot, above: ballot }];
    const keepsBody = added.data === undefined;
    const ack = await this.#store(round, state, (answer) =>
      keepsBody ? bodyOf(round, answer) : ownBody(this.#write, answer.replica),
    );
    return ack && { ...this.#written(state), ack: ack.ack };
  }

  async #finish(round: PromiseRound): Promise<Step> {
    const settled = await this.#settle(round);
    return settled && { ...this.#written(settled.state), ack: settled.ack };
  }

  #written(state: EntryState): Written {
    const previous = previousOf(state, newestTimestamp(state), this.#write.own.wasLive);
    return { kind: 'written', state, ack: undefined, previous };
  }

  /** Undefined: a rival came between. */
  async #settle(round: PromiseRound): Promise<{ state: EntryState; ack: Ack } | undefined> {
    const { joined, ballot } = round;
    const state =
      joined.data === undefined
        ? nothingAt(ballot, newestTimestamp(joined), newWriteId(this.#context.env))
        : restamped(joined, ballot);
    const isOwn = joined.data?.writeId === this.#write.own.writeId;
    const stored = await this.#store(round, state, (answer) => {
      if (!isOwn || hasBytesOf(answer, joined)) return bodyOf(round, answer);
      return ownBody(this.#write, answer.replica);
    });
    return stored && { state, ack: stored.ack };
  }

  /** Sends a record to those that promised. Undefined: no majority took it. */
  async #store(
    round: PromiseRound,
    state: EntryState,
    bodyFor: (answer: PromiseAnswer) => Promise<SentBody>,
  ): Promise<{ ack: Ack } | undefined> {
    const { trace, container } = this.#write;
    // Where stand-ins take writes, later ones must not have to come through rounds for ever.
    const record = this.#isStrict ? state : withoutBase(state);
    const result = await objectRound(this.#context, {
      trace,
      place: round.place,
      container,
      // Its majority is always one of the primaries; only the row may wait where the container allows it.
      mode: this.#isStrict ? 'strict' : 'available',
      state: record,
      shown: record,
      afterRound: false,
      standIns: false,
      call: 'object.accept',
      bodyFor: async (replica) => bodyFor(await this.#voter(round, replica)),
    });
    return this.#stored(result);
  }

  /**
   * Who may vote for the record of a round: who has promised its ballot, and told nothing that the round
   * has not seen (a promise that came after the evaluation may have shown a write that it should have
   * known). Those who have not answered yet are waited for a little: a third copy, or one that is away.
   */
  async #voter(round: PromiseRound, replica: Replica): Promise<PromiseAnswer> {
    const inTime = round.answers.find(({ replica: { member } }) => member === replica.member);
    const answer = inTime ?? (await this.#lateAnswer(round, replica));
    if (answer?.promised === true && isSeen(round.joined, answer.state)) return answer;
    throw new OperatingError('not-promised', 'the replica has no part in this round');
  }

  #lateAnswer(round: PromiseRound, replica: Replica): Promise<PromiseAnswer | undefined> {
    const { env, limits } = this.#context;
    const waitMs = Math.max(limits.hedgeMs, 2 * this.#roundMs);
    const tooLate = env.clock.sleep(waitMs).then(() => undefined);
    return Promise.race([round.later.get(replica.member), tooLate]);
  }

  #stored(result: RoundResult): { ack: Ack } | undefined {
    switch (result.kind) {
      case 'acknowledged':
        return { ack: result.ack };
      case 'superseded':
        this.#above = maxTimestamp(this.#above, result.newest);
        return undefined;
      case 'failed':
        this.#codes = result.codes;
        return undefined;
      case 'refused':
        throw failure(result);
      case 'use-rounds':
        throw new OperatingError('internal', 'an accept was sent through the rounds again');
    }
  }

  #givenUp(): OperatingError {
    const isRivals = this.#codes.every((code) => code === 'superseded' || code === 'not-promised');
    return isRivals ? undecided() : unavailable('conditional write', this.#codes);
  }

  /** Twice as long with every attempt, and never in step with the rivals. */
  #backOffMs(attempt: number): number {
    const { env, limits } = this.#context;
    const longest = Math.min(limits.roundBackOffMs, Math.max(1, this.#roundMs) * 2 ** attempt);
    return env.random.float() * longest;
  }
}

/** A record that keeps the body of what was there: who lacks it is told who has it. */
async function bodyOf(
  { answers, joined, place }: PromiseRound,
  answer: PromiseAnswer,
): Promise<SentBody> {
  const length = bodyLength(joined);
  if (length === 0 || !answer.replica.holdsBody || hasBytesOf(answer, joined)) return {};
  const holders = answers
    .filter((other) => hasBytesOf(other, joined))
    .map(({ replica }) => replica);
  // Bodies are fetched within a policy.
  const sources = (holders.length > 0 ? holders : place.primaries).filter(
    ({ policy }) => policy === answer.replica.policy,
  );
  return { sources: sources.map(({ device, node }) => ({ device, node })) };
}

function isSeen(joined: EntryState, state: EntryState): boolean {
  return versionKey(join(joined, state)) === versionKey(joined);
}

function undecided(): OperatingError {
  return new OperatingError('undecided', 'others write the same object; the outcome is not known');
}
