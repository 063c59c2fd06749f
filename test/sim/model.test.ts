/** The checker of one key: what a deletion's own answer says, once sent and sent again. */
import { describe, expect, it } from 'vitest';
import { makeTimestamp } from '#base/timestamp.ts';
import { KeyModel, type WriteRecord } from './model.ts';

const KEY = '/AUTH_sim/box/key';

function deletion(id: number, micros: readonly number[]): WriteRecord {
  return {
    id,
    key: KEY,
    kind: 'delete',
    startMs: id,
    endMs: undefined,
    outcome: 'pending',
    timestamps: micros.map((at) => makeTimestamp(at, 1)),
    renewed: new Set(),
    content: undefined,
    deleteAt: undefined,
    via: 'lngs',
  };
}

/** Of a deleted key. */
function deleted(): KeyModel {
  const model = new KeyModel(KEY, 'key', () => 'before');
  const first = deletion(1, [10]);
  model.begin(first);
  model.end(first, 'full', 2, model.floor);
  return model;
}

describe('"it is there", said of a deleted key', () => {
  it('breaks a promise, also where a deletion says so that was sent once', () => {
    const model = deleted();
    expect(() => model.sawSomething(model.floor, 'post 2')).toThrow('deleted stays deleted');
    const again = deletion(2, [20]);
    model.begin(again);
    expect(() => model.sawSomething(model.floor, 'delete 2', again)).toThrow('nothing lives');
  });

  it('breaks none where a replica of the deletion says that it can not tell (seed 905573)', () => {
    const model = deleted();
    const again = { ...deletion(2, [20]), isForgotten: true };
    model.begin(again);
    expect(() => model.sawSomething(model.floor, 'delete 2', again)).not.toThrow();
  });

  it('breaks none where a deletion was sent again, and may have found itself (seed 2047)', () => {
    const model = deleted();
    const again = deletion(2, [20, 30]);
    model.begin(again);
    expect(() => model.sawSomething(model.floor, 'delete 2', again)).not.toThrow();
  });
});

describe('a write that was told below what had been acknowledged', () => {
  /** Write 2, tried at 5 while 10 was acknowledged, settles write 3 at 30. */
  function settled(rival: Partial<WriteRecord>, at = 30): () => void {
    const model = deleted();
    const third = { ...deletion(3, [20]), writeId: 'third', ...rival };
    const second = deletion(2, [5]);
    const overwritten = { timestamp: makeTimestamp(at, 1), deletion: 'third' };
    for (const one of [third, { ...second, overwritten }]) model.begin(one);
    return () => model.end({ ...second, overwritten }, 'full', 9, model.floor);
  }

  it('breaks no promise where it counts as overwritten by one that came since (seed 11003006)', () => {
    expect(settled({})).not.toThrow();
    expect(settled({ outcome: 'full', endMs: 4 })).not.toThrow();
  });

  it('breaks one where that was there before it began, or is below as well', () => {
    expect(settled({ outcome: 'full', endMs: 2 })).toThrow('order');
    expect(settled({}, 8)).toThrow('order');
    expect(settled({ writeId: 'another' })).toThrow('order');
  });
});
