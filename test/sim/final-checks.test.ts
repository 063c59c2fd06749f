import { describe, expect, it } from 'vitest';
import { makeTimestamp } from '#base/timestamp.ts';
import { isRowOfLostWrite } from './final-checks.ts';
import { KeyModel, type Outcome, type WriteKind } from './model.ts';

const at = (micros: number) => makeTimestamp(micros, 1);
const OBJECT = { timestamp: at(10) };
const AVAILABLE = { mode: 'available' } as const;

/** An object of write 1, and write 2. */
function written(kind: WriteKind, outcome: Outcome, micros: number): KeyModel {
  const model = new KeyModel('/a/box/key', 'key', () => 'before');
  const common = { key: model.key, startMs: 0, endMs: 1, renewed: new Set<never>() };
  const unused = { content: undefined, deleteAt: undefined, via: 'node' };
  const put = { ...common, ...unused, id: 1, kind: 'put', outcome: 'partial' } as const;
  model.begin({ ...put, timestamps: [OBJECT.timestamp] });
  model.begin({ ...common, ...unused, id: 2, kind, outcome, timestamps: [at(micros)] });
  return model;
}

describe('a listing that shows another version than a read, where stand-ins take writes', () => {
  it('may hide the object after a deletion that nobody was told of (brief seed 1347)', () => {
    const model = written('delete', 'undecided', 11);
    expect(isRowOfLostWrite(AVAILABLE, model, OBJECT, 'nothing')).toBe(true);
    expect(isRowOfLostWrite({ mode: 'strict' }, model, OBJECT, 'nothing')).toBe(false);
  });

  it('may show a write that nobody was told of, above the one that is there (brief seed 1115)', () => {
    const model = written('put', 'undecided', 11);
    expect(isRowOfLostWrite(AVAILABLE, model, OBJECT, 'sim/2')).toBe(true);
    expect(isRowOfLostWrite(AVAILABLE, model, OBJECT, 'sim/1')).toBe(false);
    expect(isRowOfLostWrite(AVAILABLE, model, OBJECT, 'nothing')).toBe(false);
  });

  it('is wrong where that write was acknowledged, refused, or is older', () => {
    for (const outcome of ['full', 'partial', 'none'] as const) {
      const deleted = written('delete', outcome, 11);
      expect(isRowOfLostWrite(AVAILABLE, deleted, OBJECT, 'nothing')).toBe(false);
      const put = written('put', outcome, 11);
      expect(isRowOfLostWrite(AVAILABLE, put, OBJECT, 'sim/2')).toBe(false);
    }
    expect(isRowOfLostWrite(AVAILABLE, written('delete', 'undecided', 9), OBJECT, 'nothing')).toBe(
      false,
    );
  });
});
