/**
 * What a round is decided on must have its bytes. Where those that promised first know a version whose
 * body none of them has, the others are heard too. If one of them has it, the round goes on with all
 * that promised. If nobody has it, but a majority has promised and never heard of that version, then it
 * was not acknowledged and never will be: the round is that majority's, just as if who knows the empty
 * version had been away. So a write that nobody was told of and that lost its only body does not hide
 * an older, acknowledged version for ever. Nor does a change of its expiry that was told nobody revive a version whose
 * bytes all have freed.
 */
import {
  bodyLength,
  dataTimestamp,
  EMPTY_STATE,
  type EntryState,
  expirySource,
  hasBytesOf,
  isFreed,
  join,
} from '#base/entry.ts';
import type { Env } from '#env/env.ts';
import type { PromiseAnswer, PromiseRound } from './promise-round.ts';

/** Somebody who has part in the round has the body of what it is decided on. */
export function isBacked({ joined, answers }: PromiseRound): boolean {
  return hasBytes(joined, answers);
}

/** `waitMs`: for answers that are still under way. */
export async function backed(env: Env, round: PromiseRound, waitMs: number): Promise<PromiseRound> {
  if (round.kind !== 'promised' || isBacked(round)) return round;
  const answers = await everyAnswer(env, round, waitMs);
  const joined = joinOf(answers);
  if (hasBytes(joined, answers)) return { ...round, answers, joined };
  return withoutEmpty(round, answers) ?? round;
}

/** The largest majority that agrees on something whole; undefined: there is none. */
function withoutEmpty(
  round: PromiseRound,
  all: readonly PromiseAnswer[],
): PromiseRound | undefined {
  let answers = all;
  for (;;) {
    const joined = joinOf(answers);
    if (hasBytes(joined, answers)) return { ...round, answers, joined, gaveUp: true };
    // Only who has never known that version: one that has overwritten it may have acknowledged it.
    answers = answers.filter(({ state }) => !hasKnown(state, joined));
    const devices = new Set(answers.map(({ replica }) => replica.member));
    if (!round.place.quorum.isWrite(devices)) return undefined;
  }
}

/**
 * The version; or, where it expired and its bytes were freed, the change of its expiry that would revive it, also
 * who has that and missed the version. So of those who told of what is joined at least one always has.
 */
function hasKnown(state: EntryState, joined: EntryState): boolean {
  const isRevived = joined.data?.kind === 'expired';
  if (isRevived && expirySource(state).timestamp >= expirySource(joined).timestamp) return true;
  return dataTimestamp(state) >= dataTimestamp(joined) && !isFreed(state);
}

/** Of those that count and have promised. */
async function everyAnswer(
  env: Env,
  { later }: PromiseRound,
  waitMs: number,
): Promise<PromiseAnswer[]> {
  const late = env.clock.sleep(waitMs).then(() => undefined);
  const answers = await Promise.all(
    [...later.values()].map((asked) => Promise.race([asked.catch(() => undefined), late])),
  );
  return answers.filter((answer) => answer?.counts === true && answer.promised) as PromiseAnswer[];
}

function joinOf(answers: readonly PromiseAnswer[]): EntryState {
  return answers.reduce((joined, { state }) => join(joined, state), EMPTY_STATE);
}

function hasBytes(joined: EntryState, answers: readonly PromiseAnswer[]): boolean {
  if (bodyLength(joined) === 0) return true;
  return answers.some((answer) => hasBytesOf(answer, joined));
}
