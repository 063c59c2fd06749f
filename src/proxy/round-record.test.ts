import { describe, expect, it } from 'vitest';
import type { DataPart, EntryState } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { type Timestamp, timestampFromBytes } from '#base/timestamp.ts';
import { effectOf, isOutdone, OwnWrite, recordOf, restamped } from './round-record.ts';

function at(n: number): Timestamp {
  const bytes = Buffer.alloc(10);
  bytes.writeUIntBE(n, 2, 6);
  return timestampFromBytes(bytes);
}

function written(n: number, writeId: string, more: Partial<DataPart> = {}): EntryState {
  const shown = { clientMicros: n, etag: `e${n}`, size: 0, contentType: 'text/plain' };
  return { data: { timestamp: at(n), kind: 'live', writeId, ...shown, ...more }, groups: {} };
}

function own(...sent: OwnWrite['sent']): OwnWrite {
  const write = new OwnWrite('aaaaaaaaaaaaaaaa');
  write.sent = sent;
  return write;
}

const RIVAL = 'bbbbbbbbbbbbbbbb';
const THIRD = 'cccccccccccccccc';

describe('a plain write that only some replicas took', () => {
  const low = own({ timestamp: at(10), above: at(20) });
  const high = own({ timestamp: at(10), above: at(10) });
  const unheard = own({ timestamp: at(10), above: undefined });

  it('is made anew where a plain write is newer that was told of, and counts as overwritten by one that came since', () => {
    expect(effectOf(low, written(20, RIVAL), false)).toBe('none');
    expect(effectOf(low, written(21, RIVAL), false)).toBe('effective');
    expect(effectOf(high, written(20, RIVAL), false)).toBe('effective');
  });

  it('is undecided where nobody can tell which was first: a reader may have told it before it was overwritten', () => {
    expect(effectOf(unheard, written(20, RIVAL), false)).toBe('undecided');
    expect(effectOf(unheard, restamped(written(20, RIVAL), at(30)), false)).toBe('undecided');
  });

  it('is told the same by a plain write that its writer or a reader had to finish by the rounds', () => {
    const finished = restamped(written(20, RIVAL), at(30));
    expect(finished.data).toMatchObject({ timestamp: at(30), base: at(20), unconditional: true });
    expect(effectOf(low, finished, false)).toBe('none');
    expect(effectOf(high, finished, false)).toBe('effective');
    const tried = own({ timestamp: at(10), above: at(20) }, { timestamp: at(25), above: at(25) });
    expect(effectOf(tried, finished, false)).toBe('none');
  });

  it('is undecided where a conditional write is newer and was built on something newer', () => {
    const lock = restamped(written(40, THIRD, { base: at(20) }), at(50));
    expect(lock.data?.unconditional).toBeUndefined();
    expect(effectOf(low, lock, false)).toBe('undecided');
    expect(effectOf(high, lock, false)).toBe('undecided');
  });

  it('never took effect where a write is newer that was built on something older', () => {
    expect(effectOf(high, written(40, THIRD, { base: at(5) }), false)).toBe('none');
    expect(effectOf(high, written(40, THIRD, { base: at(10) }), false)).toBe('effective');
  });
});

describe('a change of metadata that only some replicas took, and a reader settled', () => {
  const changed = (n: number): EntryState => ({
    ...written(5, RIVAL, { base: at(3), unconditional: true }),
    groups: { user: { timestamp: at(n), values: { tag: String(n) } } },
  });
  const first = own({ timestamp: at(10), above: at(10) });

  it('is known by what the record was built on', () => {
    expect(effectOf(first, restamped(changed(10), at(20)), false)).toBe('effective');
    expect(effectOf(first, restamped(restamped(changed(10), at(20)), at(30)), false)).toBe(
      'effective',
    );
    const plain = restamped({ ...changed(10), data: written(5, RIVAL).data! }, at(20));
    expect(effectOf(first, plain, false)).toBe('effective');
  });

  it('is undecided where another one came over it', () => {
    expect(effectOf(first, restamped(changed(12), at(20)), false)).toBe('undecided');
  });
});

describe('a conditional write that only some replicas took', () => {
  it('is undecided by any newer write that was not built on something older', () => {
    const mine = own({ timestamp: at(10), above: at(10) });
    expect(effectOf(mine, written(20, RIVAL), true)).toBe('undecided');
    expect(effectOf(mine, restamped(written(20, RIVAL), at(30)), true)).toBe('undecided');
  });
});

describe('a write whose condition does not hold in what a majority agrees on', () => {
  const mine = own({ timestamp: at(10), above: at(10) }, { timestamp: at(30), above: at(30) });
  const fresh = own();

  it('will never take effect where it has sent nothing, or only what is below', () => {
    expect(isOutdone(fresh, written(5, RIVAL), true)).toBe(true);
    expect(isOutdone(mine, written(40, RIVAL, { base: at(5) }), true)).toBe(true);
  });

  it('may surface where it has sent something above (rounds seed 1020)', () => {
    expect(effectOf(mine, written(5, RIVAL), true)).toBe('none');
    expect(isOutdone(mine, written(5, RIVAL), true)).toBe(false);
    expect(isOutdone(mine, written(20, RIVAL, { base: at(5) }), true)).toBe(false);
  });

  it('did take effect where that is its own', () => {
    const asserted = restamped(written(10, mine.writeId, { base: at(5) }), at(40));
    expect(isOutdone(mine, asserted, true)).toBe(false);
  });
});

describe('the record of a round', () => {
  const joined = restamped(written(20, RIVAL), at(30));
  const place = { ballot: at(40), first: at(40), writeId: THIRD };

  it('says what it was built on, and whether it asked for anything', () => {
    const asked = recordOf(written(40, THIRD), joined, { ...place, unconditional: false });
    expect(asked.data).toMatchObject({ base: at(30) });
    expect(asked.data?.unconditional).toBeUndefined();
    const always = recordOf(written(40, THIRD), joined, { ...place, unconditional: true });
    expect(decodeState(encodeState(always))).toEqual(always);
    expect(always.data?.unconditional).toBe(true);
  });

  it('of a change of metadata is a conditional one, whatever wrote the data', () => {
    const groups = { user: { timestamp: at(40), values: {} } };
    const changed = recordOf({ groups }, joined, { ...place, unconditional: false });
    expect(changed.data).toMatchObject({ writeId: THIRD, base: at(30), etag: 'e20' });
    expect(changed.data?.unconditional).toBeUndefined();
  });
});
