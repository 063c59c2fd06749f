/**
 * The first half of a conditional round: asks all primaries to promise a ballot and gathers what they
 * know. Only complete replicas count, W of each set; stand-ins are not asked. It ends as soon as a majority has
 * promised, or can't any more; answers that come later can be had by `later`.
 */
import { EMPTY_STATE, type EntryState, join } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { PromiseArgs } from '#object/calls.ts';
import { versionKey } from '#object/version.ts';
import type { ProxyContext } from './context.ts';
import { addressOf, type Place, type Replica } from './placement.ts';
import { failureCode } from './replica-calls.ts';
import { asPromiseReply } from './replies.ts';
import type { Trace } from './trace.ts';

export interface PromiseAnswer {
  readonly replica: Replica;
  readonly promised: boolean;
  readonly newest: Timestamp;
  readonly state: EntryState;
  readonly hasBody: boolean;
  readonly certain: boolean;
  /** Of a complete replica (or one that is joining). */
  readonly counts: boolean;
}

export interface PromiseRound {
  /** `refused`: a rival's ballot is higher, `failed`: no majority answered. */
  readonly kind: 'promised' | 'refused' | 'failed';
  readonly ballot: Timestamp;
  readonly place: Place;
  /** Those that count and are in: all that promised (kind `promised`), or a majority of any answer. */
  readonly answers: readonly PromiseAnswer[];
  readonly joined: EntryState;
  /** Somebody knows more, which was given up (backed-round.ts) and has to be overwritten. */
  readonly gaveUp?: true;
  /** The highest number heard of. */
  readonly newest: Timestamp;
  readonly codes: readonly string[];
  /** By member, also those that are still under way. */
  readonly later: ReadonlyMap<number, Promise<PromiseAnswer>>;
}

export function promiseRound(
  context: ProxyContext,
  { trace, place }: { readonly trace: Trace; readonly place: Place },
  ballot: Timestamp,
): Promise<PromiseRound> {
  const { promise, resolve } = Promise.withResolvers<PromiseRound>();
  new Round(place, ballot, resolve).start((replica) =>
    askPromise(context, trace, place, replica, ballot),
  );
  return promise;
}

/** A majority tells the same, and nothing can surface over it: that is what the key is. */
export function isSettled({ place, answers, gaveUp }: PromiseRound): boolean {
  const [first, ...others] = answers;
  if (gaveUp || first === undefined || !answers.every(({ certain }) => certain)) return false;
  const version = versionKey(first.state);
  if (others.some(({ state }) => versionKey(state) !== version)) return false;
  return place.quorum.isWrite(new Set(answers.map(({ replica }) => replica.member)));
}

class Round {
  readonly #place: Place;
  readonly #ballot: Timestamp;
  readonly #resolve: (round: PromiseRound) => void;
  readonly #later = new Map<number, Promise<PromiseAnswer>>();
  readonly #counted: PromiseAnswer[] = [];
  readonly #told = new Set<number>();
  readonly #promised = new Set<number>();
  readonly #lost = new Set<number>();
  readonly #codes: string[] = [];
  #newest: Timestamp = ZERO_TIMESTAMP;
  #pending = 0;

  constructor(place: Place, ballot: Timestamp, resolve: (round: PromiseRound) => void) {
    this.#place = place;
    this.#ballot = ballot;
    this.#resolve = resolve;
  }

  start(ask: (replica: Replica) => Promise<PromiseAnswer>): void {
    for (const replica of this.#place.primaries) {
      this.#pending++;
      const asked = ask(replica);
      this.#later.set(replica.member, asked);
      asked.then(
        (answer) => this.#answered(answer),
        (error: unknown) => this.#failed(replica, failureCode(error)),
      );
    }
  }

  #answered(answer: PromiseAnswer): void {
    this.#pending--;
    const { member } = answer.replica;
    this.#newest = maxTimestamp(this.#newest, answer.newest);
    if (answer.counts) {
      this.#counted.push(answer);
      this.#told.add(member);
    } else this.#codes.push('incomplete');
    if (answer.counts && answer.promised) this.#promised.add(member);
    else this.#lost.add(member);
    this.#decide();
  }

  #failed({ member }: Replica, code: string): void {
    this.#pending--;
    this.#codes.push(code);
    this.#lost.add(member);
    this.#decide();
  }

  #decide(): void {
    const { quorum } = this.#place;
    if (quorum.isWrite(this.#promised)) {
      this.#end(
        'promised',
        this.#counted.filter(({ promised }) => promised),
      );
    } else if (quorum.canWrite(this.#lost)) return;
    else if (quorum.isWrite(this.#told)) this.#end('refused', this.#counted);
    else if (this.#pending === 0) this.#end('failed', this.#counted);
  }

  /** Only the first call counts: a promise settles once. */
  #end(kind: PromiseRound['kind'], counted: readonly PromiseAnswer[]): void {
    const answers = [...counted];
    this.#resolve({
      kind,
      ballot: this.#ballot,
      place: this.#place,
      answers,
      joined: answers.reduce((joined, { state }) => join(joined, state), EMPTY_STATE),
      newest: this.#newest,
      codes: [...this.#codes],
      later: this.#later,
    });
  }
}

async function askPromise(
  context: ProxyContext,
  trace: Trace,
  place: Place,
  replica: Replica,
  ballot: Timestamp,
): Promise<PromiseAnswer> {
  const { ringVersion } = replica;
  const args: PromiseArgs = { ...addressOf(place, replica), path: place.path, ballot };
  const { result } = await context.calls.call(trace, replica, 'object.promise', args, {
    ringVersion,
    deadlineMs: context.limits.readDeadlineMs,
  });
  const { outcome, state, complete, ...told } = asPromiseReply(result);
  return {
    replica,
    promised: outcome === 'promised',
    newest: told.newest,
    state: state === null ? EMPTY_STATE : decodeState(state),
    hasBody: told.hasBody,
    certain: told.certain,
    counts: place.quorum.countsIn(replica.member, complete),
  };
}
