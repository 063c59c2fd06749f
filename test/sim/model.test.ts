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
