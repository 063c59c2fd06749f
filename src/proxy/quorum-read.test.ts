import { describe, expect, it } from 'vitest';
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { makeTimestamp } from '#base/timestamp.ts';
import { SimWorld } from '#env/sim/world.ts';
import { versionKey } from '#object/version.ts';
import type { Peers } from './peers.ts';
import type { Place, Replica } from './placement.ts';
import { Quorum } from './quorum.ts';
import { type FullReply, quorumRead, type ReadRequest } from './quorum-read.ts';

const [FIRST, SLOW, THIRD] = [0, 1, 2];

function version(n: number): EntryState {
  const shown = { clientMicros: n, etag: `e${n}`, size: 0, contentType: 'text/plain' };
  const data = { timestamp: makeTimestamp(n, 1), kind: 'live', writeId: 'ab', ...shown } as const;
  return { data, groups: {} };
}

function told(state: EntryState, certain = true): FullReply {
  const known = { version: versionKey(state), hasBody: false, complete: true, certain };
  return { ...known, state: encodeState(state) };
}

const never = new Promise<never>(() => undefined);

/** The slow one is asked for everything and does not answer; the two others tell their versions. */
function request(full: ReadRequest['full']): ReadRequest {
  const replicas = [SLOW, FIRST, THIRD].map((member) => ({ member, holdsBody: true }) as Replica);
  const place = { primaries: replicas, quorum: new Quorum([[FIRST, SLOW, THIRD]]) };
  const peers = { nearestFirst: () => replicas, slowMs: () => 0 };
  return {
    env: new SimWorld({ seed: 1 }).machine('proxy').env,
    peers: peers as unknown as Peers,
    place: place as unknown as Place,
    hedgeMs: 50,
    read: 'newest',
    handoffs: 0,
    full: (replica) => (replica.member === SLOW ? never : full(replica)),
    brief: () => Promise.resolve({ ...told(version(1)), state: null as unknown as Buffer }),
  };
}

describe('a read of a replica that has moved on since it told its version', () => {
  it('takes all that it tells now: two that agreed do not vouch for what one has (rounds seed 1038)', async () => {
    const full = (): Promise<FullReply> => Promise.resolve(told(version(2), false));
    const { answers, state } = await quorumRead(request(full));
    const moved = answers.filter((answer) => answer.version === versionKey(version(2)));
    expect(moved).toMatchObject([{ state: version(2), certain: false }, { state: version(2) }]);
    expect(state).toEqual(version(2));
  });

  it('does not count where it is not complete any more', async () => {
    let asked = 0;
    const full = ({ member }: Replica): Promise<FullReply> => {
      const isFirst = asked++ === 0;
      const isComplete = member === THIRD && !isFirst;
      return Promise.resolve({ ...told(version(isFirst ? 2 : 1)), complete: isComplete });
    };
    const done = quorumRead(request(full)).then(() => 'done');
    expect(await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 50))])).toBe(
      undefined,
    );
  });
});
