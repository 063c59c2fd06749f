import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type DataPart,
  deadSinceMicros,
  EMPTY_STATE,
  type EntryState,
  isDead,
  join,
  newestTimestamp,
} from './entry.ts';
import { decodeState, encodeState } from './entry-codec.ts';
import { anyState, at, live } from './testing/states.ts';
import { maxTimestamp, microsOf } from './timestamp.ts';

const bytesOf = (state: EntryState): string => encodeState(state).toString('hex');
const same = (a: EntryState, b: EntryState): boolean => bytesOf(a) === bytesOf(b);
/** As stored: groups below the data part are gone. */
const states = anyState.map((state) => join(state, EMPTY_STATE));

describe('join', () => {
  it('does not depend on the order in which states meet', () => {
    fc.assert(fc.property(states, states, (a, b) => same(join(a, b), join(b, a))));
    fc.assert(
      fc.property(states, states, states, (a, b, c) =>
        same(join(join(a, b), c), join(a, join(b, c))),
      ),
      { numRuns: 500 },
    );
  });

  it('changes nothing when a state meets itself, an older part of itself, or nothing', () => {
    fc.assert(
      fc.property(states, states, (a, b) => {
        const both = join(a, b);
        return same(join(a, a), a) && same(join(both, a), both) && same(join(a, EMPTY_STATE), a);
      }),
    );
  });

  it('never goes back: the newest timestamp of the join is that of the newer one', () => {
    fc.assert(
      fc.property(states, states, (a, b) => {
        const [x, y] = [newestTimestamp(a), newestTimestamp(b)];
        expect(newestTimestamp(join(a, b))).toBe(maxTimestamp(x, y));
      }),
    );
  });

  it('a newer tombstone hides older data and its metadata; newer metadata of the dead stays', () => {
    const old = {
      data: live(10),
      groups: { user: { timestamp: at(12), values: { color: 'red' } } },
    };
    const tombstone: EntryState = { data: { ...live(20), kind: 'deleted' }, groups: {} };
    expect(join(old, tombstone)).toEqual(tombstone);
    const posted = { groups: { user: { timestamp: at(21), values: { color: 'blue' } } } };
    expect(join(join(old, posted), tombstone).groups).toEqual(posted.groups);
  });

  it('at equal timestamps live < expired < gone < deleted', () => {
    const kinds = ['live', 'expired', 'gone', 'deleted'] as const;
    for (const [i, low] of kinds.entries()) {
      for (const high of kinds.slice(i + 1)) {
        const a: EntryState = { data: { ...live(5), kind: low }, groups: {} };
        const b: EntryState = { data: { ...live(5), kind: high }, groups: {} };
        expect(join(a, b).data?.kind).toBe(high);
        expect(join(b, a).data?.kind).toBe(high);
      }
    }
  });

  it('an overwrite or a post that a replica missed beats its own expiry', () => {
    const expired: DataPart = { ...live(10), kind: 'expired', expiredSource: at(10) };
    const overwritten = join({ data: expired, groups: {} }, { data: live(11), groups: {} });
    expect(overwritten.data?.kind).toBe('live');
    const post = { groups: { system: { timestamp: at(15), values: {} } } };
    expect(join({ data: expired, groups: {} }, post).groups).toEqual(post.groups);
  });

  it('a group counts from the timestamp of the data part on', () => {
    const group = (micros: number) => ({ user: { timestamp: at(micros), values: { a: 'b' } } });
    expect(join({ data: live(10), groups: {} }, { groups: group(9) }).groups).toEqual({});
    expect(join({ data: live(10), groups: {} }, { groups: group(10) }).groups).toEqual(group(10));
  });

  it('a cleared group wins over older values', () => {
    const old = { groups: { user: { timestamp: at(1), values: { a: 'b' } } } };
    const cleared = { groups: { user: { timestamp: at(2), values: {} } } };
    expect(join(old, cleared)).toEqual(cleared);
  });
});

describe('what is dead', () => {
  const deleteAt = Math.ceil(microsOf(at(0)) / 1e6) + 20;
  const expired: EntryState = {
    data: { ...live(10), kind: 'expired', expiredSource: at(10), deleteAt },
    groups: {},
  };

  it('is a deletion, or a version that was freed; not one that is only past its delete-at', () => {
    expect(isDead({ data: { ...live(10), kind: 'deleted' }, groups: {} })).toBe(true);
    expect(isDead(expired)).toBe(true);
    expect(isDead({ data: { ...live(10), deleteAt: 1 }, groups: {} })).toBe(false);
    expect(isDead({ groups: { user: { timestamp: at(1), values: {} } } })).toBe(false);
  });

  it('lives again by a POST that moved its expiry', () => {
    const post = { groups: { system: { timestamp: at(15), values: { 'delete-at': '9' } } } };
    expect(isDead(join(expired, post))).toBe(false);
  });

  it('has been so since it was written, or since its delete-at', () => {
    const deleted: EntryState = { data: { ...live(10), kind: 'deleted' }, groups: {} };
    const posted = { groups: { user: { timestamp: at(30_000_000), values: {} } } };
    const micros = (state: EntryState) => microsOf(newestTimestamp(state));
    expect(deadSinceMicros(deleted)).toBe(micros(deleted));
    expect(deadSinceMicros(expired)).toBe(deleteAt * 1e6);
    expect(deadSinceMicros(join(expired, posted))).toBe(micros(posted));
  });
});

describe('the bytes of a state', () => {
  it('hold everything', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        expect(decodeState(encodeState(state))).toEqual(state);
      }),
    );
  });

  it('are the same for equal states, however their objects were built', () => {
    const reversed = (value: Record<string, unknown>) =>
      Object.fromEntries(Object.entries(value).reverse());
    fc.assert(
      fc.property(anyState, (state) => {
        const groups: Record<string, EntryState['groups'][string]> = {};
        for (const name of Object.keys(state.groups).reverse()) {
          const { timestamp, values } = state.groups[name]!;
          groups[name] = { values: reversed(values) as Record<string, string>, timestamp };
        }
        const data = state.data && (reversed({ ...state.data }) as unknown as DataPart);
        return same(state, data === undefined ? { groups } : { data, groups });
      }),
    );
  });

  it('are the same again after a decode', () => {
    fc.assert(fc.property(anyState, (state) => same(decodeState(encodeState(state)), state)));
  });
});
