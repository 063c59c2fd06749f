/** Which answers a round goes on with, where nobody has the bytes of what they add up to. */
import { expect, it } from 'vitest';
import type { EntryState, Kind } from '#base/entry.ts';
import { makeTimestamp, type Timestamp } from '#base/timestamp.ts';
import { SimWorld } from '#env/sim/world.ts';
import { backed } from './backed-round.ts';
import type { PromiseAnswer, PromiseRound } from './promise-round.ts';

const at = (micros: number): Timestamp => makeTimestamp(micros, 1);
const DELETE_AT = 1;

function version(micros: number, kind: Kind): EntryState {
  const data = {
    timestamp: at(micros),
    kind,
    writeId: `${micros}`,
    clientMicros: micros,
    etag: 'e',
    size: 7,
    contentType: 'text/plain',
    body: { length: 7 },
    ...(kind === 'expired' && { deleteAt: DELETE_AT, expiredSource: at(micros) }),
  };
  return { data, groups: {} };
}

/** A POST that takes the delete-at away. */
function posted(state: EntryState, micros: number): EntryState {
  return { ...state, groups: { ...state.groups, system: { timestamp: at(micros), values: {} } } };
}

/** All of them count, have promised and have what belongs to their states. */
function decide(...states: readonly EntryState[]): Promise<PromiseRound> {
  const answers = states.map((state, member) => ({
    replica: { member },
    state,
    hasBody: true,
    promised: true,
    counts: true,
  })) as unknown as PromiseAnswer[];
  const later = new Map(answers.map((answer, i) => [i, Promise.resolve(answer)]));
  const quorum = { isWrite: (members: ReadonlySet<number>) => members.size >= 2 };
  const joined = posted(version(20, 'expired'), 30);
  const round = { kind: 'promised', answers, joined, later, place: { quorum } };
  const world = new SimWorld({ seed: 1 });
  return world.run(backed(world.machine('n').env, round as unknown as PromiseRound, 100));
}

it('goes on without who has a change of expiry, and missed the version that it would revive', async () => {
  const freed = version(20, 'expired');
  const round = await decide(posted(version(10, 'live'), 30), freed, freed);
  expect(round).toMatchObject({ gaveUp: true, joined: freed });
  expect(round.answers.map(({ replica }) => replica.member)).toEqual([1, 2]);
});

it('is not decided where a majority knows of that change: it may have been acknowledged', async () => {
  const behind = posted(version(10, 'live'), 30);
  const round = await decide(behind, behind, version(20, 'expired'));
  expect(round).not.toHaveProperty('gaveUp');
});
